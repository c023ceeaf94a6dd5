"""The usual case of a step is written out; it says and leaves behind what the whole step does.

Each course is taken twice on an empty Redis, by scripts with their usual case and by the same without, and
what both have said and left is compared: every key, every reply, every time to live.
"""

from __future__ import annotations

import json
import re
import uuid
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from support.contents import everything
from support.ledger_bench import FAR_MS, LedgerBench
from transfer_tasks.errors import LedgerUnavailable
from transfer_tasks.ledger import request_commands, script
from transfer_tasks.ledger.operator_commands import OperatorCommands
from transfer_tasks.ledger.verdicts import Claim, Reading
from transfer_tasks.outcome import Reason, State
from transfer_tasks.redis.connection import connect

if TYPE_CHECKING:
    from collections.abc import Iterator

OPERATOR = OperatorCommands(retention_seconds=1000)

USUAL: dict[str, Any] = {
    "labels": '{"destination":"support"}',
    "to": '{"name":"support"}',
    "tail": ',"reason":"x"}',
    "asked": '{"requested_by":"ana","asked":"x"}',
    "signature": "voice:" + "5" * 64,
    "key": "",
    "queue": "transfers",
    "reply_to": "listener",
    "is_second": False,
    "paused": "",
    "limits": {"call": "5/600"},
    "remaining_ms": 60_000,
    "routed": "as it is",
    "call_read": "call-1",
    "signed_ms": None,
    "attempt": (State.SUBMITTED, Reason.ACCEPTED_BY_PLATFORM),
    "answer": '{"message":"queued"}',
    "http_status": 200,
    "is_reported": False,
    "moved_by": "",
    "moved_meanwhile": "",
    "claims_twice": False,
    "replaced": ("", ""),
    "is_index_gone": False,
}
UNUSUAL: dict[str, list[Any]] = {
    "labels": [
        '{"destination": "support"}',
        '{"destination":"endpoints","to":"+1*******43"}',
        '{"destination":"number-4155550123"}',
        '{"destination":"support","destination":"sales"}',
        '{"destination":"support","to":3}',
        '{"destination":5}',
        "{}",
        "junk",
    ],
    "to": [
        '{"name":"sales"}',
        '{"endpoints":[{"type":"pstn","number":"+12025550143"}]}',
        '{"endpoints":[1],"name":"support"}',
        '{"name":"number-4155550123"}',
        '"support"',
        "[]",
        "3",
    ],
    "tail": [
        ',"destination":{"name":"sales"}}',
        ',"\\u0064estination":{"name":"sales"}}',
        ',"reason":"\\"destination\\""}',
        "",
    ],
    "asked": [
        '{"requested_by":"","asked":"x"}',
        '{"requested_by":"a|b","asked":"x"}',
        '{"requested_by":"a\\u0001b","asked":"x"}',
        '{"asked":"x"}',
        '{"operator":"ana","asked":"x"}',
        "junk",
    ],
    "signature": ["", "a|b:c"],
    "key": ["key-1"],
    "queue": [""],
    "reply_to": ["", "one two"],
    "is_second": [True],
    "paused": ["support", "nobody", "*"],
    "limits": [
        {}, {"call": "off"}, {"call": "0/60"}, {"all": "9/60"}, {"requester": "1/60"},
        {"destination:support": "9/60"},
    ],
    "remaining_ms": [0, None],
    "routed": ["another", ""],
    "call_read": ["call-2"],
    "signed_ms": [FAR_MS, 1],
    "attempt": [(State.UNKNOWN, Reason.ANSWER_LOST), (State.CLAIMED, Reason.NOT_SENT)],
    "answer": ["", '{"request_id":"r-1"}'],
    "http_status": [None],
    "is_reported": [True],
    "moved_by": ["somebody"],
    "moved_meanwhile": ["somebody"],
    "claims_twice": [True],
    "replaced": [
        (step, key)
        for step in ("accept", "claim", "end")
        for key in ("transfer:audit", "transfer:open", "transfers", "transfer:ended:submitted:H")
    ],
    "is_index_gone": [True],
}  # fmt: skip


@st.composite
def courses(draw: st.DrawFn) -> dict[str, Any]:
    """Return the usual course with up to three things that are not as usual."""
    names = draw(st.lists(st.sampled_from(sorted(UNUSUAL)), max_size=3, unique=True))
    return USUAL | {name: draw(st.sampled_from(UNUSUAL[name])) for name in names}


def compare(bench: LedgerBench, course: dict[str, Any]) -> None:
    """Take a course both ways, and fail where they differ."""
    (said, left), (said_else, left_else) = (take(bench, course, is_usual=each) for each in (True, False))
    assert said == said_else
    assert {key: held for key, held in left.items() if held != left_else.get(key)} == {
        key: held for key, held in left_else.items() if held != left.get(key)
    }
    bench.client.flushall()


def take(bench: LedgerBench, course: dict[str, Any], *, is_usual: bool) -> tuple[list[Any], dict[str, Any]]:
    """Return what each step has said, and what is left: without times."""
    bench.client.flushall()
    with pytest.MonkeyPatch.context() as patch:
        if not is_usual:
            patch.setattr(script, "_OF_EVERY_TRANSFER", frozenset())
            patch.setattr(request_commands, "load_script", script.load_script.__wrapped__)
        said = []
        try:
            said.extend(each if isinstance(each, list) else repr(each) for each in take_course(bench, course))
        except LedgerUnavailable as error:
            said.append(error.cause)
    return same_times(said), what_is_left(bench.client)


def what_is_left(client: Any) -> dict[str, Any]:
    """Return what each key holds, and how long it lives, in twenties of seconds; without times."""
    return {
        same_times(key): (same_times(in_order(held.value)), round(held.ttl_seconds / 20))
        for key, held in everything(client).items()
    }


def in_order(value: Any) -> Any:
    """Give an order to what has none, or one of times: a hash, a sorted set, an audit entry."""
    match value:
        case dict():
            return sorted(value.items())
        case [(str(), float()), *_]:
            return sorted(value)
        case [(str(), dict()), *_]:
            return [read_fields(fields) for _, fields in value]
        case _:
            return value


def read_fields(fields: dict[str, str]) -> list[Any]:
    """Read an audit entry; members of an object have no order."""
    parts = json.loads(fields["line"])
    return [sorted(json.loads(part).items()) if part.startswith("{") else part for part in parts]


def same_times(said: Any) -> Any:
    """Replace what differs between two runs: times, spans, and the order of a JSON object's members."""
    if isinstance(said, str):
        try:
            parsed = json.loads(said)
        except ValueError:
            parsed = None
        if isinstance(parsed, dict):
            return {name: same_times(value) for name, value in parsed.items()}
        said = re.sub(r"\d{13}", "T", said)
        said = re.sub(r"(statistics:|^)\d{9}\b", r"\1S", said)
        said = re.sub(r"ended:(\w+):\d+", r"ended:\1:H", said)
        said = re.sub(r"(post_ms|outcome_ms)\|\w+", r"\1|N", said)
        return re.sub(r"t\d+ (post_ms_sum|outcome_ms_sum)", r"tN \1", said)
    if isinstance(said, bool) or said is None:
        return said
    if isinstance(said, int | float):
        return ("T" if said > 0 else "-T") if abs(said) > 10**11 else said
    if isinstance(said, dict):
        return {name: "N" if name == "waited_ms" else same_times(value) for name, value in said.items()}
    if isinstance(said, list | tuple):
        if len(said) == 2 and said[0] == "waited_ms":
            return [said[0], "N"]
        return [same_times(each) for each in said]
    return said


def take_course(bench: LedgerBench, of: dict[str, Any]) -> Iterator[Any]:
    """Take one transfer from its acceptance to its ending; yield what each step says."""
    first, second = str(uuid.UUID(int=1)), str(uuid.UUID(int=2))
    intent = f'{{"call_id":"call-1","destination":{of["to"]}{of["tail"]}'
    if of["limits"]:
        bench.client.hset(bench.keys.limits, mapping=of["limits"])
        bench.client.expire(bench.keys.limits, 1000)
    if of["paused"]:
        bench.run(OPERATOR.pause(of["paused"], operator="ana", reason="flood", limit=10))
    if of["is_second"]:
        yield bench.accept(call_id="call-1", destination="first", transfer_id=second)
        yield bench.cancel(second)
    replace(bench, of, "accept")
    yield _accept(bench, of, first, intent)
    if of["is_index_gone"]:
        bench.client.delete(bench.keys.open_ids)
    replace(bench, of, "claim")
    if of["moved_by"] and bench.client.exists(bench.keys.record(first)):
        bench.client.hset(bench.keys.record(first), "moved_by", of["moved_by"])
    routed = {"as it is": intent, "another": intent + " ", "": ""}[of["routed"]]
    reading = Reading(
        intent_json=routed,
        call_id=of["call_read"],
        labels={"destination": "support"},
        signer="voice" if of["signature"] else "",
        signed_ms=of["signed_ms"],
    )  # fmt: skip
    claim = bench.claim(first, claim_id="claim-1", routed=reading if routed else "")
    yield without_remaining(claim)
    if of["claims_twice"]:
        yield without_remaining(bench.claim(first, claim_id="claim-1", routed=reading if routed else ""))
    if not isinstance(claim, Claim):
        return
    if of["moved_meanwhile"]:
        bench.client.hset(bench.keys.record(first), "moved_by", of["moved_meanwhile"])
    if of["is_reported"]:
        yield bench.report("ringing", "call-1", "r-1").verdict
    replace(bench, of, "end")
    state, reason = of["attempt"]
    for _ in range(2):
        yield bench.run(
            bench.commands.end_attempt(
                claim,
                state=state,
                reason=reason,
                http_status=of["http_status"],
                detail="",
                answer_json=of["answer"],
                attempt_ms=7,
            )
        )


def replace(bench: LedgerBench, of: dict[str, Any], before: str) -> None:
    """Put something else in the place of a key that all transfers share, before this step."""
    step, key = of["replaced"]
    if step == before:
        hours = int(bench.client.time()[0] // 3600)
        for hour in (hours, hours + 1):
            name = key.replace(":H", f":{hour}")
            bench.client.delete(name)
            bench.client.set(name, "something else", ex=1000)


def without_remaining(claim: Any) -> Any:
    if not isinstance(claim, Claim):
        return claim
    return [getattr(claim, name) for name in claim.__slots__ if name != "remaining_ms"]


def _accept(bench: LedgerBench, of: dict[str, Any], transfer_id: str, intent: str) -> Any:
    return bench.run(
        bench.commands.accept(
            transfer_id=transfer_id,
            call_id="call-1",
            idempotency_key=of["key"],
            destination_digest="d",
            content_digest="c",
            intent_json=intent,
            signature=of["signature"],
            labels_json=of["labels"],
            message="a message",
            queue=of["queue"],
            remaining_ms=of["remaining_ms"],
            repeat_window_ms=30_000,
            reply_to=of["reply_to"],
            asked_json=of["asked"],
            latest_ms=FAR_MS,
        )
    )


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(course=courses())
def test_with_and_without_its_usual_case_a_step_says_and_leaves_the_same(redis_url, course):
    with connect(redis_url, timeout_seconds=30) as client:
        compare(LedgerBench(client), course)


@pytest.mark.parametrize(("name", "value"), [(name, value) for name in UNUSUAL for value in UNUSUAL[name]])
def test_nor_does_one_thing_that_is_not_as_usual_make_a_difference(redis_url, name, value):
    with connect(redis_url, timeout_seconds=30) as client:
        compare(LedgerBench(client), USUAL | {name: value})
