"""Whatever a far end cuts, delays and interleaves, one call's answer is never taken for another's.

But for one thing, which HTTP/1.1 can't tell apart and docs/outcomes.md says: a complete answer that comes
unasked after the next request was written. So what comes late here is never complete.
"""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from support.far_end import FarEnd, make_answer
from transfer_tasks.outcome import Reason
from transfer_worker.errors import AttemptError, NotCarriedOut, OutcomeUnknown, Refused
from transfer_worker.gateway import PiopiyGateway

if TYPE_CHECKING:
    import socket

TIMEOUT_SECONDS = 10.0
PIPELINE = [{"action": "hangup"}]
KINDS = {
    200: type(None),
    202: type(None),
    400: Refused,
    404: Refused,
    429: NotCarriedOut,
    500: OutcomeUnknown,
    503: NotCarriedOut,
}
INTERIM = (b"HTTP/1.1 102 Processing\r\n\r\n", b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n")


@dataclass
class Turn:
    """One call: what it is answered, in which pieces, and what comes too much.

    Attributes:
        behind: Sent right behind the answer; may be a complete answer, too.
        late: Sent on the same connection once the next request was read; never a complete answer.
        cuts: Where the stream is cut; each piece after the first comes a moment later.
    """

    status: int
    interim: list[bytes] = field(default_factory=list)
    behind: bytes = b""
    late: bytes = b""
    cuts: list[int] = field(default_factory=list)


def answer_of(number: int, status: int) -> bytes:
    value: dict[str, object] = {"call": number, "error": "no"} if status >= 400 else {"call": number}
    return make_answer(status, json.dumps(value).encode(), "Content-Type: application/json")


@st.composite
def parts_of_answers(draw: st.DrawFn, *, may_be_whole: bool) -> bytes:
    """Return a part of an answer to a call that is none of the others (its number is 99)."""
    whole = answer_of(99, draw(st.sampled_from(list(KINDS))))
    first = draw(st.integers(0, len(whole) - 1))
    last = draw(st.integers(first + 1, len(whole)))
    part = whole[first:last]
    if part == whole and not may_be_whole:
        part = part[:-1]
    return draw(st.sampled_from([part, whole[:last] if last < len(whole) or may_be_whole else part]))


def turns(*, late_may_be_whole: bool) -> st.SearchStrategy[list[Turn]]:
    return st.lists(
        st.builds(
            Turn,
            status=st.sampled_from(list(KINDS)),
            interim=st.lists(st.sampled_from(INTERIM), max_size=2),
            behind=st.one_of(st.just(b""), st.just(b""), parts_of_answers(may_be_whole=True)),
            late=st.one_of(
                st.just(b""),
                st.sampled_from([b"\r\n", *INTERIM]),
                parts_of_answers(may_be_whole=late_may_be_whole),
            ),
            cuts=st.lists(st.integers(1, 200), max_size=3),
        ),
        min_size=2,
        max_size=4,
    )


class Interleaver:
    """Answers the turns in order, whichever connection the requests come on."""

    def __init__(self, turns: list[Turn]) -> None:
        self._turns = turns
        self._late: dict[socket.socket, bytes] = {}
        self._ended: set[socket.socket] = set()
        self._delayed: set[socket.socket] = set()
        self.was_disturbed = self.was_used_again = False

    def __call__(self, connection: socket.socket, number: int) -> bool:
        turn = self._turns[number - 1]
        self.was_used_again |= connection in self._ended
        self.was_disturbed = bool(self._late.get(connection) or turn.behind or connection in self._delayed)
        late = self._late.pop(connection, b"")
        stream = late + b"".join(turn.interim)
        stream += answer_of(number, turn.status)
        # A complete answer comes in one piece with the end of the real one: later, it could be late.
        is_whole = turn.behind.startswith(b"HTTP/1.1 ") and turn.behind.endswith(b"}")
        cuttable = len(stream) - 1 if is_whole else len(stream + turn.behind)
        answer_end = len(stream)
        stream += turn.behind
        cuts = sorted(cut for cut in turn.cuts if cut <= cuttable)
        if turn.behind and not any(cut >= answer_end for cut in cuts):
            self._ended.add(connection)  # it was there when the answer was read
        elif turn.behind:
            self._delayed.add(
                connection
            )  # it may come after the next request was written, and disturb that one
        if connection not in self._delayed:
            self._late[connection] = turn.late  # else the two could make up a complete answer
        begin = 0
        for end in [*cuts, len(stream)]:
            if stream[begin:end]:
                connection.sendall(stream[begin:end])
                time.sleep(0.001 if end < len(stream) else 0)  # not a wait: a cut between two packets
            begin = end
        return not late  # a client that still waits for a late answer's end learns now that there is none


def ask(gateway: PiopiyGateway, number: int) -> tuple[AttemptError | None, object]:
    try:
        answer = gateway.send(
            call_id="0f8fad5b-d9cb-469f-a165-70867728950e", pipeline=PIPELINE, idempotency_key=f"key-{number}"
        )
    except AttemptError as error:
        return error, error.answer
    return None, answer.body


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(turns=turns(late_may_be_whole=False))
def test_no_call_is_given_another_calls_answer(turns):
    interleaver = Interleaver(turns)
    with FarEnd(interleaver) as far_end:
        gateway = PiopiyGateway(token="secret", base_url=far_end.url, timeout_seconds=TIMEOUT_SECONDS)
        try:
            for _ in turns:
                number = len(far_end.requests) + 1
                error, answer = ask(gateway, number)
                is_sent = len(far_end.requests) == number
                if isinstance(error, NotCarriedOut) and error.reason is Reason.PLATFORM_UNREACHABLE:
                    assert not is_sent
                    continue
                if isinstance(error, OutcomeUnknown) and not is_sent:
                    # It crossed a close, or something came before the far end had read it: see to its end.
                    gateway.close()
                    for thread in far_end._threads[1:]:
                        thread.join(5)
                    continue
                if isinstance(error, OutcomeUnknown) and interleaver.was_disturbed:
                    continue
                assert is_sent
                status = turns[number - 1].status
                assert type(error) is KINDS[status]
                assert isinstance(answer, dict)
                assert answer["call"] == number
        finally:
            gateway.close()
    assert not interleaver.was_used_again


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(turns=turns(late_may_be_whole=True))
def test_without_keep_alive_every_call_has_its_own_answer_whatever_comes_late(turns):
    with FarEnd(Interleaver(turns)) as far_end:
        gateway = PiopiyGateway(
            token="secret", base_url=far_end.url, timeout_seconds=TIMEOUT_SECONDS, keeps_alive=False
        )
        for number, turn in enumerate(turns, 1):
            error, answer = ask(gateway, number)
            assert type(error) is KINDS[turn.status]
            assert isinstance(answer, dict)
            assert answer["call"] == number
    assert far_end.connection_count == len(turns)
