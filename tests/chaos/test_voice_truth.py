"""The judge of voice sessions, on posts written by hand."""

from __future__ import annotations

import pytest

from chaos.history import Heard, Line, Post
from chaos.ringing import Ring, ring_of
from chaos.voice_truth import find_moved_twice, find_untruth, find_wrong_evidence

CALL = "call-1"


def make_post(at_ms: float, *, is_answered: bool, carried_out: bool = True) -> Post:
    """Return a request whose target answers, or does not: by the time within its millisecond."""
    for number in range(1000):
        post = Post(
            at_ms=at_ms + number / 1000,
            call_id=CALL,
            key="key",
            to="12025550141",
            behaviour="reset",
            status=None,
            carried_out=True,
        )
        ring = ring_of(post)
        assert ring is not None
        if ring.is_answered is is_answered:
            break
    return Post(**{**{name: getattr(post, name) for name in Post.__slots__}, "carried_out": carried_out})


def ring(post: Post) -> Ring:
    found = ring_of(post)
    assert found is not None
    return found


def test_a_request_while_the_first_rings_or_after_it_was_answered_is_a_second_move():
    unanswered, answered = make_post(0, is_answered=False), make_post(0, is_answered=True)
    during = make_post(ring(unanswered).ended_ms - 5, is_answered=False)
    after = make_post(ring(unanswered).ended_ms + 5, is_answered=False)
    assert [*find_moved_twice([unanswered, during])]
    assert not [*find_moved_twice([unanswered, after])], "nobody had answered"
    assert [*find_moved_twice([answered, make_post(60_000, is_answered=False)])]
    assert not [*find_moved_twice([answered, make_post(100, is_answered=True, carried_out=False)])]


@pytest.mark.parametrize("who", ["caller", "model"])
def test_what_was_heard_is_true_of_its_moment(who):
    post = make_post(0, is_answered=False)
    during, after = ring(post).ended_ms - 5, ring(post).ended_ms + 5
    assert find_untruth(Heard(during, CALL, who, "not_moved", "sorry"), [post])
    assert find_untruth(Heard(after, CALL, who, "not_moved", "sorry"), [post]) is None
    assert find_untruth(Heard(during, CALL, who, "moving", "goodbye"), [post]) is None
    assert find_untruth(Heard(during, CALL, who, "moving", "goodbye"), [])
    assert find_untruth(Heard(during, CALL, who, "open", "can't tell"), [post]) is None


def make_resolved(state: str, at_ms: float) -> Line:
    fields = {"state": state, "source": "session"}
    return Line(at_ms=at_ms, event_id="1-0", event="resolved", transfer_id="t", attempt=1, fields=fields)


def test_evidence_is_held_against_what_the_target_did():
    unanswered, answered = make_post(0, is_answered=False), make_post(0, is_answered=True)
    assert find_wrong_evidence(make_resolved("submitted", 9_000), [answered]) is None
    assert find_wrong_evidence(make_resolved("submitted", 9_000), [unanswered])
    assert find_wrong_evidence(make_resolved("failed", 9_000), [unanswered]) is None
    assert find_wrong_evidence(make_resolved("failed", ring(unanswered).ended_ms - 5), [unanswered])
    assert find_wrong_evidence(make_resolved("failed", 9_000), [answered])
