"""A step is carried out whole, or changes nothing: whatever the user may not do, whatever a key holds.

For every step, every command that its script names is taken from its user, one at a time; and every key that
there is is damaged, one at a time: another type, junk, half a record.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit, urlunsplit

import pytest
import redis

from support.contents import everything
from support.ledger_bench import LedgerBench
from transfer_tasks.errors import LedgerUnavailable
from transfer_tasks.ledger.operator_commands import OperatorCommands
from transfer_tasks.ledger.script import load_script
from transfer_tasks.ledger.verdicts import Claim, Ended
from transfer_tasks.outcome import Reason, State
from transfer_tasks.redis.connection import connect

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

OPERATOR = OperatorCommands(retention_seconds=1000)

CALL = "call-1"
Values = dict[str, Any]

OF_THE_OUTBOX = {"XINFO", "XLEN", "XPENDING", "XRANGE", "XTRIM", "XACK"}
"""What the sweep runs when it is done with the transfers."""


HOUR_MS = 3_600_000


class Scene:
    """One transfer at each point of its way, and some history; made once, and put back before each step."""

    def __init__(self, bench: LedgerBench) -> None:
        bench.heartbeat("w1", lease_ms=HOUR_MS)
        self._bench = bench
        past = self._accept(CALL, destination="sales")
        bench.cancel(past)
        self.waiting = self._accept("call-2", key="key-1", reply_to="listener")
        self.claim = self._claim("call-3")
        self.sending = self._claim("call-4")
        bench.begin(self.sending)
        self.unknown = self._claim("call-5")
        bench.begin(self.unknown)
        bench.lose_answer(self.unknown)
        bench.limit(call="5/600", all="1000/3600", destination__support="1000/60")
        bench.run(OPERATOR.pause("nobody", operator="ana", reason="a test", limit=10))
        self.ringing = self._claim("call-6")
        bench.begin(self.ringing)
        bench.end(self.ringing, answer_json='{"request_id": "r-6"}')
        bench.report("ringing", "call-6", "r-6")
        bench.report("connected", "call-6", "r-of-others")
        self.quarantine(bench)
        self.entry: Any = bench.client.lindex(bench.keys.quarantine, 0)
        self._raw = redis.Redis(connection_pool=redis.ConnectionPool(**self._options()))
        self.at_first = self.look()
        with self._raw.pipeline(transaction=False) as pipe:
            for key in self.at_first:
                pipe.dump(key)
            self._dump: dict[str, Any] = dict(zip(self.at_first, pipe.execute(), strict=True))

    def _options(self) -> dict[str, Any]:
        return {**self._bench.client.connection_pool.connection_kwargs, "decode_responses": False}

    def _accept(self, call_id: str, **asked: Any) -> str:
        return self._bench.accept(call_id=call_id, remaining_ms=HOUR_MS, **asked).transfer_id

    def _claim(self, call_id: str) -> Claim:
        claim = self._bench.claim(self._accept(call_id))
        assert isinstance(claim, Claim)
        return claim

    @property
    def claims(self) -> tuple[Claim, ...]:
        return self.claim, self.sending, self.unknown

    @property
    def keys(self) -> list[str]:
        return sorted(self._dump)

    def put_back(self) -> None:
        with self._raw.pipeline(transaction=False) as pipe:
            pipe.flushdb()
            for key, held in self._dump.items():
                pipe.restore(key, HOUR_MS, held)
            pipe.execute()

    def look(self) -> Values:
        """Return what every key holds; not for how long, because `put_back` puts that off."""
        return {key: held.value for key, held in everything(self._bench.client).items()}

    def close(self) -> None:
        self._raw.close()
        self._raw.connection_pool.disconnect()

    def quarantine(self, bench: LedgerBench) -> Any:
        command = bench.commands.quarantine(
            transfer_id="",
            why="test",
            element="x",
            size_bytes=1,
            max_entries=10,
            audit_group="",
            audit_entry="",
        )
        return bench.run(command)


STEPS: dict[str, Callable[[LedgerBench, Scene], Any]] = {
    "accept": lambda bench, of: bench.accept(call_id=CALL, destination="billing", transfer_id="new"),
    "accept (a key)": lambda bench, of: bench.accept(call_id=CALL, key="key-2", transfer_id="new"),
    "accept (repeat)": lambda bench, of: bench.accept(call_id="call-2", reply_to="x", transfer_id="new"),
    "claim": lambda bench, of: bench.claim(of.waiting, claim_id="c"),
    "claim (begin)": lambda bench, of: bench.claim_and_begin(of.waiting, claim_id="c"),
    "begin_attempt": lambda bench, of: bench.begin(of.claim),
    "end_attempt": lambda bench, of: bench.end(of.sending),
    "end_attempt (retry)": lambda bench, of: bench.retry(of.sending),
    "end_attempt (unknown)": lambda bench, of: bench.lose_answer(of.sending),
    "end_attempt (late)": lambda bench, of: bench.end(of.unknown),
    "end_attempt (409)": lambda bench, of: bench.end(
        of.sending, State.REJECTED, Reason.TRANSFER_IN_PROGRESS, http_status=409
    ),
    "cancel": lambda bench, of: bench.cancel(of.waiting),
    "expire": lambda bench, of: bench.expire(of.waiting),
    "resolve": lambda bench, of: bench.resolve(of.unknown.transfer_id, transferred=True),
    "report_connection": lambda bench, of: bench.report("connected", "call-5", "r-1"),
    "report_connection (ringing)": lambda bench, of: bench.report("ringing", "call-4", "r-1"),
    "report_connection (final)": lambda bench, of: bench.report("connected", "call-6", "r-6"),
    "report_connection (unmatched)": lambda bench, of: bench.report("ringing", "call-9", "r-1"),
    "refuse": lambda bench, of: bench.refuse("new"),
    "heartbeat": lambda bench, of: bench.heartbeat("w1"),
    "set_limits": lambda bench, of: bench.limit(call="4/600"),
    "retire": lambda bench, of: bench.run(bench.commands.retire(worker="w1")),
    "recover": lambda bench, of: bench.recover(),
    "pause": lambda bench, of: bench.run(OPERATOR.pause("*", operator="a", reason="b", limit=10)),
    "resume": lambda bench, of: bench.run(OPERATOR.resume("nobody", operator="a", reason="b")),
    "quarantine": lambda bench, of: of.quarantine(bench),
    "drop_quarantined": lambda bench, of: bench.run(
        OPERATOR.drop_quarantined(of.entry, operator="a", reason="b")
    ),
}


def without_counts(of: Values) -> Values:
    """Leave out the counters: they stop nothing, and nothing stops for them."""
    return {key: held for key, held in of.items() if ":statistics" not in key}


@pytest.fixture
def app(bench: LedgerBench, redis_url: str) -> Iterator[LedgerBench]:
    """The same steps by a user whose permissions a test may take away."""
    permit(bench.client)
    url = urlsplit(redis_url)
    address = urlunsplit(url._replace(netloc=f"app:app-password@{url.hostname}:{url.port}"))
    with connect(address, timeout_seconds=10) as client:
        yield LedgerBench(client)
    bench.client.acl_deluser("app")
    bench.client.flushall()


def failure_of(step: str, bench: LedgerBench, scene: Scene) -> str:
    """Take a step; return why it failed, or nothing."""
    try:
        STEPS[step](bench, scene)
    except LedgerUnavailable as error:
        return error.cause
    return ""


def permit(client: redis.Redis, *rules: str) -> None:
    client.execute_command("ACL", "SETUSER", "app", "on", ">app-password", "~*", "&*", "+@all", *rules)


def tells_beforehand(client: redis.Redis) -> bool:
    """Say whether this server lets a script ask what its user may do."""
    return bool(client.eval("return redis.acl_check_cmd and 1 or 0", 0))


def commands_of(step: str) -> set[str]:
    text = load_script(step.partition(" ")[0]).source
    named = set(re.findall(r"(?:call|write)\(\s*'([A-Z]+)'", text)) - {"CHANGE"}  # spelt out as HSET and HDEL
    return named | {"HSET", "HDEL", "PUBLISH", "HINCRBY", "RENAME"}


@pytest.fixture
def scene(bench: LedgerBench) -> Iterator[Scene]:
    scene = Scene(bench)
    yield scene
    scene.close()


@pytest.mark.parametrize("step", STEPS)
def test_without_a_permission_a_step_changes_nothing_or_is_whole(step, bench, app, scene):
    met = 0
    for command in sorted(commands_of(step)):
        scene.put_back()
        permit(bench.client, f"-{command.lower()}")
        cause = failure_of(step, app, scene)
        changed = scene.look() != scene.at_first
        permit(bench.client)
        if cause:
            met += 1
            assert "does not permit" in cause, command
            if tells_beforehand(bench.client) and not (step == "recover" and command in OF_THE_OUTBOX):
                assert not changed, command
        STEPS[step](app, scene)  # with the permission it goes on, whatever happened before
    assert met


def damages(client: redis.Redis, key: str) -> Iterator[tuple[str, Callable[[], Any]]]:
    """Yield ways to damage what a key holds."""
    kind: Any = client.type(key)

    def replace_by_another_type() -> None:
        client.delete(key)
        client.set(key, "junk") if kind != "string" else client.rpush(key, "junk")
        client.expire(key, 1000)

    yield "another type", replace_by_another_type
    if kind == "hash":
        fields: Any = client.hkeys(key)
        for field in fields:
            yield f"{field} is gone", lambda field=field: client.hdel(key, field)
            yield f"{field} is junk", lambda field=field: client.hset(key, field, "\x00junk")
    if kind == "string":
        yield "junk", lambda: client.set(key, "\x00junk", keepttl=True)
    if kind == "list":
        yield "junk", lambda: client.lset(key, 0, "\x00junk")
    if kind == "zset":
        yield "junk", lambda: client.zadd(key, {"\x00junk": 1})


@pytest.mark.parametrize("step", STEPS)
def test_with_a_damaged_key_a_step_changes_nothing_or_is_whole(step, bench, app, scene):
    """A step that fails has changed nothing. Damaged records and counters are no reason to fail."""
    cases = [(key, name) for key in scene.keys for name, _ in damages(bench.client, key)]
    for key, name in cases:
        scene.put_back()
        dict(damages(bench.client, key))[name]()
        before = scene.look()
        said = f"{key}: {name}"
        cause = failure_of(step, app, scene)
        if cause:
            # The outbox is trimmed behind all else.
            if (step, key) != ("recover", bench.keys.audit):
                assert without_counts(scene.look()) == without_counts(before), (said, cause)
            assert ":record:" not in key, (said, cause)
            assert ":statistics" not in key, (said, cause)
        for transfer_id in (scene.waiting, *(of.transfer_id for of in scene.claims)):
            if bench.client.exists(bench.keys.damaged(transfer_id)):
                record = bench.record(transfer_id)
                assert not record.is_damaged, said
                assert record.state is not State.WAITING, said


UNMET = {("waiting", "token"), ("sending", "expires_ms"), ("sending", "accepted_ms"), ("sending", "token")}


DAMAGES = ["another type", "state", "expires_ms", "accepted_ms", "token", "everything"]


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("point", ["waiting", "claimed", "sending"])
def test_one_damaged_record_is_set_aside_and_the_sweep_goes_on(point, damage, bench):
    def bring(call_id: str) -> str:
        transfer_id = bench.accept(call_id=call_id).transfer_id
        if point != "waiting":
            claim = bench.claim(transfer_id)
            assert isinstance(claim, Claim)
            if point == "sending":
                bench.begin(claim)
        return transfer_id

    bench.heartbeat("w1")
    damaged, other = bring("call-1"), bring("call-2")
    key = bench.keys.record(damaged)
    if damage == "another type":
        bench.client.set(key, "junk", ex=100)
    elif damage == "everything":
        bench.client.delete(key)
        bench.client.hset(key, "half", "a record")
        bench.client.expire(key, 100)
    else:
        bench.client.hset(key, damage, "junk")
    bench.bury("w1")
    bench.client.delete(bench.queue)
    if point == "waiting":
        bench.client.hset(bench.keys.record(other), "expires_ms", 1)

    bench.recover()
    swept = bench.recover()

    expected = {"waiting": State.EXPIRED, "claimed": State.WAITING, "sending": State.UNKNOWN}[point]
    assert bench.record(other).state is expected
    assert swept.gone_workers == 0
    if not bench.client.exists(bench.keys.damaged(damaged)):
        # The sweep did not need what is damaged. Whoever does sets it aside.
        assert (point, damage) in UNMET
        assert point == "waiting" or bench.record(damaged).state is State.UNKNOWN
    else:
        record = bench.record(damaged)
        assert (record.state, record.reason) == (State.UNKNOWN, Reason.RECORD_DAMAGED)
        assert bench.events(damaged)[-2:] == ["record.set_aside", "finished"]
        assert bench.counted("records_set_aside") == 1
        assert bench.client.exists(bench.keys.damaged(damaged))
        assert damaged not in bench.index("waiting") | bench.index("in_flight")
        assert damaged in bench.index("unknown")


def test_a_transfer_whose_record_was_set_aside_is_never_sent_and_takes_the_late_answer(bench):
    claim = bench.begin_first("call-1")
    bench.client.hdel(bench.keys.record(claim.transfer_id), "hop")
    bench.client.hset(bench.keys.record(claim.transfer_id), "expires_ms", "junk")

    again = bench.claim(claim.transfer_id)
    assert isinstance(again, Ended)
    assert again.outcome.reason is Reason.RECORD_DAMAGED

    assert isinstance(bench.end(claim), Ended)
    assert bench.record(claim.transfer_id).state is State.SUBMITTED


def test_a_pause_that_nobody_can_read_is_a_pause(bench):
    bench.run(OPERATOR.pause("support", operator="ana", reason="flood", limit=10))
    bench.client.hset(bench.keys.paused, "support", "\x00junk")

    accepted = bench.accept()

    assert accepted.state is State.REJECTED
    assert bench.record(accepted.transfer_id).reason is Reason.DESTINATION_PAUSED
