"""Attempts to stop, slow down or redirect workers by Celery's remote control."""

from __future__ import annotations

import json
import uuid
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest
from celery import Celery
from celery.worker.control import Panel

from support import wait_until
from support.attackers import Attacker, log_in
from support.cluster import make_intent
from support.own_cluster import open_cluster
from support.signing import REGISTRY, SignedCluster
from transfer_tasks.outcome import Reason, State
from transfer_tasks.publisher.message import TASK_NAME
from transfer_worker.operations.status import read_overview
from transfer_worker.queue.remote_control import CHANGING, LOOKING
from transfer_worker.queue.transport import CONTROL_EXCHANGE

if TYPE_CHECKING:
    from collections.abc import Iterator

    from transfer_worker.roles import Role

WORKER = "w1@test"
CHANNEL = f"/0.{CONTROL_EXCHANGE}.pidbox"
REPLIES = f"reply.{CONTROL_EXCHANGE}.pidbox"


class Remote:
    """A real client of Celery's, and whoever may PUBLISH, by the password of one role or of anybody."""

    def __init__(self, attacker: Attacker) -> None:
        self.attacker, self.signed = attacker, attacker.signed
        self.app = Celery("stranger", broker=attacker.redis_url, set_as_current=False)
        self.app.conf.update(control_exchange=CONTROL_EXCHANGE)

    def ask(self, command: str, **arguments: Any) -> Any:
        """Return the worker's answer."""
        with self.attacker.trying("speak to workers"):
            replies = self.app.control.broadcast(
                command, arguments=arguments, reply=True, timeout=10, limit=1, destination=[WORKER]
            )
        assert replies, f"no answer to {command}"
        return replies[0][WORKER]

    def say(self, word: Any) -> None:
        """Publish a word as it stands to all workers."""
        with self.attacker.trying("speak to workers"), self.attacker.bench() as bench:
            assert bench.client.publish(CHANNEL, word) == 1

    def publish(self, **message: Any) -> None:
        """Send a command as it stands, without a client of Celery's."""
        envelope = {
            "body": json.dumps(message),
            "content-type": "application/json",
            "content-encoding": "utf-8",
            "headers": {"clock": 1},
            "properties": {
                "delivery_tag": str(uuid.uuid4()),
                "delivery_info": {"exchange": f"{CONTROL_EXCHANGE}.pidbox", "routing_key": ""},
            },
        }
        self.say(json.dumps(envelope))

    def lines(self, **fields: str) -> list[dict[str, Any]]:
        """Return the audit lines that have these fields."""
        with self.signed.bench() as bench:
            return [line for line in bench.audit() if fields.items() <= line.items()]


@contextmanager
def open_remote(attacker: Attacker) -> Iterator[Remote]:
    remote = Remote(attacker)
    try:
        yield remote
    finally:
        remote.app.close()


@pytest.fixture(scope="module")
def looking(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SignedCluster]:
    """One worker as it is by itself, for the whole module."""
    with open_cluster(tmp_path_factory.mktemp("looking"), registry=REGISTRY) as cluster:
        yield SignedCluster(cluster, cluster.start_worker())


@pytest.fixture
def honest(looking: SignedCluster) -> Iterator[Remote]:
    """Who may do everything, to look."""
    with open_remote(log_in(looking, None)) as remote:
        yield remote


@pytest.fixture
def stranger(looking: SignedCluster, role: Role | None) -> Iterator[Remote]:
    """Who has the password of a role."""
    with open_remote(log_in(looking, role)) as remote:
        yield remote


@pytest.fixture
def operating(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Remote]:
    """A worker that obeys operators, for one test."""
    directory = tmp_path_factory.mktemp("operating")
    with open_cluster(directory, registry=REGISTRY, TRANSFER_REMOTE_CONTROL="operator") as cluster:
        signed = SignedCluster(cluster, cluster.start_worker())
        with open_remote(log_in(signed, None)) as remote:
            yield remote


def assert_serves(signed: SignedCluster) -> None:
    """Assert that the worker carries out what is asked, once."""
    intent = make_intent("support")
    record = signed.ending(signed.submit(None, intent))
    assert record.state is State.SUBMITTED
    assert signed.posts(intent.call_id) == 1


ATTEMPTS: dict[str, dict[str, Any]] = {
    "add_consumer": {"queue": "elsewhere"},
    "autoscale": {"max": 1, "min": 1},
    "cancel_consumer": {"queue": "transfers"},
    "disable_events": {},
    "election": {"id": "x", "topic": "y"},
    "heartbeat": {},
    "hello": {"from_node": "w2@test", "revoked": [str(uuid.uuid4())]},
    "memdump": {},
    "memsample": {},
    "objgraph": {},
    "pool_grow": {"n": 100},
    "pool_restart": {"modules": ["os"], "reload": True},
    "pool_shrink": {"n": 4},
    "rate_limit": {"task_name": TASK_NAME, "rate_limit": "1/h"},
    "revoke": {"task_id": str(uuid.uuid4()), "terminate": True},
    "revoke_by_stamped_headers": {"headers": {"a": ["b"]}},
    "shutdown": {},
    "terminate": {"task_id": str(uuid.uuid4()), "signal": "KILL"},
    "time_limit": {"task_name": TASK_NAME, "hard": 0.001, "soft": 0.001},
    "no such command": {},
}


@pytest.mark.parametrize("command", ATTEMPTS)
def test_what_changes_something_is_refused_and_audited(
    honest: Remote, stranger: Remote, command: str
) -> None:
    before = honest.ask("stats")
    assert "TRANSFER_REMOTE_CONTROL=operator" in stranger.ask(command, **ATTEMPTS[command])["error"]
    (line,) = stranger.lines(command=command)
    assert line["event"] == "control.refused"
    assert line["worker"].startswith(WORKER)
    after = honest.ask("stats")
    assert (before["pid"], before["pool"]["max-concurrency"]) == (
        after["pid"],
        after["pool"]["max-concurrency"],
    )
    assert [queue["name"] for queue in honest.ask("active_queues")] == ["transfers"]
    assert_serves(honest.signed)


def test_a_revoked_id_is_carried_out_all_the_same(honest: Remote, stranger: Remote) -> None:
    intent = make_intent("support")
    stranger.ask("revoke", task_id=intent.transfer_id)
    assert honest.signed.ending(honest.signed.submit(None, intent)).state is State.SUBMITTED
    assert honest.signed.posts(intent.call_id) == 1
    assert honest.ask("revoked") == []


def test_every_command_of_celerys_is_known_here_or_refused() -> None:
    aliases = {"dump_active", "dump_conf", "dump_reserved", "dump_revoked", "dump_schedule", "dump_tasks"}
    refused = set(ATTEMPTS) - {"no such command"}
    assert set(Panel.data) - aliases == LOOKING | refused
    assert refused >= CHANGING
    assert not LOOKING & refused


@pytest.mark.parametrize("command", sorted(LOOKING))
def test_who_looks_is_answered(stranger: Remote, command: str) -> None:
    answer = stranger.ask(command, **({"ids": []} if command == "query_task" else {}))
    assert "TRANSFER_REMOTE_CONTROL" not in str(answer)
    assert stranger.signed.cluster.sandbox.token not in str(answer)
    assert stranger.lines(command=command) == []


CATASTROPHE = "(w+)+$" + "!"
STRANGE: dict[str, dict[str, Any]] = {
    "a pattern that takes for ever": {
        "method": "ping", "arguments": {}, "pattern": CATASTROPHE, "matcher": "pcre",
    },
    "an answer onto the queue": {
        "method": "ping", "arguments": {}, "ticket": "t",
        "reply_to": {"exchange": "", "routing_key": "transfers"},
    },
    "an answer to others' queue": {
        "method": "ping", "arguments": {}, "ticket": "t",
        "reply_to": {"exchange": "celery", "routing_key": "celery"},
    },
    "an answer to nobody's": {
        "method": "ping", "arguments": {}, "ticket": "t",
        "reply_to": {"exchange": REPLIES, "routing_key": [1]},
    },
    "no name": {"arguments": {}},
    "a name that is none": {"method": ["shutdown"], "arguments": {}},
    "arguments without names": {"method": "shutdown", "arguments": [1, 2]},
    "workers that are no list": {"method": "shutdown", "destination": "w1@test and others"},
    "a name of Python's": {"method": "__class__", "arguments": {"name": "os"}},
}  # fmt: skip


@pytest.mark.parametrize("attempt", STRANGE)
def test_a_command_that_no_client_of_celerys_sends(stranger: Remote, attempt: str) -> None:
    stranger.publish(**STRANGE[attempt])
    wait_until(lambda: len(stranger.lines(event="control.refused")) == 1, message="an audit line")
    with stranger.signed.bench() as bench:
        assert bench.client.llen("transfers") == 0
        assert bench.client.llen("celery") == 0
    assert_serves(stranger.signed)


PROPERTIES = {"delivery_tag": "t", "delivery_info": {}, "body_encoding": "base64"}
UNREADABLE: list[object] = [
    [], 1, "x", None, {}, {"body": "x"}, {"properties": []}, {"properties": {"delivery_tag": ["a"]}},
    {"properties": {"delivery_tag": "t", "delivery_info": "x"}, "body": "x"},
    {"properties": PROPERTIES, "body": "no base64"},
    {"properties": PROPERTIES | {"body_encoding": "rot13"}, "body": "x"},
    {"properties": PROPERTIES | {"body_encoding": ["base64"]}, "body": "x"},
    {"properties": PROPERTIES, "body": "e30=", "headers": [1]},
    {"properties": PROPERTIES},
]  # fmt: skip


@pytest.mark.parametrize("word", UNREADABLE, ids=json.dumps)
def test_a_word_that_ended_kombus_worker_is_quarantined(
    honest: Remote, stranger: Remote, word: object
) -> None:
    stranger.say(json.dumps(word))
    wait_until(lambda: len(stranger.lines(event="message.quarantined")) == 1, message="an audit line")
    assert honest.ask("ping") == {"ok": "pong"}


@pytest.mark.parametrize(
    "word",
    [
        "", "{", "\0", "\ud800".encode("utf-8", "surrogatepass"),
        json.dumps({"properties": {"delivery_tag": "t"}, "body": "{", "content-type": "application/json"}),
        json.dumps({"properties": {"delivery_tag": "t"}, "body": "x", "content-type": "x/pickle"}),
        json.dumps({"properties": {"delivery_tag": "t"}, "body": "x", "content-encoding": "no such"}),
        json.dumps({"properties": {"delivery_tag": "t"}, "body": "x", "headers": {"compression": "no such"}}),
        json.dumps(
            {
                "properties": {"delivery_tag": "t"}, "body": '{"method": "ping"}', "headers": {"clock": "x"},
                "content-type": "application/json", "content-encoding": "utf-8",
            }
        ),
    ],
)  # fmt: skip
def test_whatever_else_cant_be_read_leaves_the_worker_answering(
    honest: Remote, stranger: Remote, word: Any
) -> None:
    stranger.say(word)
    assert honest.ask("ping") == {"ok": "pong"}
    assert_serves(honest.signed)


def test_a_revoke_of_an_operator_ends_at_once_what_was_not_sent(operating: Remote) -> None:
    operating.ask("cancel_consumer", queue="transfers")  # so that no delivery ends it
    intent = make_intent("support")
    transfer_id = operating.signed.submit(None, intent)
    operating.ask("revoke", task_id=[transfer_id, "no id", str(uuid.uuid4())], terminate=True)
    with operating.signed.bench() as bench:
        record = bench.record(transfer_id)
        assert bench.events(transfer_id) == ["accepted", "finished"]
    assert (record.state, record.reason) == (State.CANCELLED, Reason.CANCELLED_BY_OPERATOR)
    assert record.detail == "revoked through Celery"
    assert operating.signed.posts(intent.call_id) == 0
    (line,) = operating.lines(command="revoke")
    assert line["event"] == "control.obeyed"
    assert transfer_id in line["detail"]


def test_what_an_operator_has_changed_is_a_concern_until_the_worker_restarts(operating: Remote) -> None:
    def concerns() -> str:
        with operating.signed.bench() as bench:
            return "\n".join(concern["text"] for concern in read_overview(bench.ledger)["concerns"])

    assert "Remote control" not in concerns()
    operating.ask("rate_limit", task_name=TASK_NAME, rate_limit="100/s")
    operating.ask("cancel_consumer", queue="transfers")
    assert "error" in operating.ask("pool_restart")  # Celery's own refusal changes nothing
    assert "error" in operating.ask("revoke_by_stamped_headers", headers={"a": ["b"]})
    told = wait_until(lambda: (said := concerns()).count("cancel_consumer") and said, message="the concern")
    assert f"Remote control has changed {WORKER}" in told
    assert "rate_limit task_name=transfer_tasks.transfer_call, rate_limit=100/s; " in told
    assert "cancel_consumer queue=transfers" in told
    assert "pool_restart" not in told
    assert [line["event"] for line in operating.lines(command="cancel_consumer")] == ["control.obeyed"]


def test_an_operators_shutdown_is_on_record_and_graceful(operating: Remote) -> None:
    operating.publish(method="shutdown", arguments={}, destination=[WORKER])
    assert operating.signed.worker.wait() == 0
    assert [line["event"] for line in operating.lines(command="shutdown")] == ["control.obeyed"]
