"""What plain Celery says besides the intent: deadlines, ETAs, canvas, revocations, and an id used twice."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from support.delivering import CALL_ID, ended
from transfer_tasks.outcome import Reason, State
from transfer_worker.delivery.message import Notification, Request

if TYPE_CHECKING:
    from transfer_worker.delivery.service import Performed

ASKED = {"call_id": CALL_ID, "destination": "support"}
SUBMITTED = (State.SUBMITTED, Reason.ACCEPTED_BY_PLATFORM)
EXPIRED = (State.EXPIRED, Reason.DEADLINE_PASSED)
DEADLINE_UNKNOWN = (State.REJECTED, Reason.DEADLINE_UNKNOWN)


def ahead(stage: Any, seconds: float) -> str:
    """Return a point in time as Celery writes it."""
    now = datetime.fromtimestamp(stage.ledger.now_ms / 1000, UTC)
    return (now + timedelta(seconds=seconds)).isoformat()


def perform(stage: Any, asked: Any = ASKED, **said: Any) -> Performed:
    performed: Performed = stage.service.perform(Request(transfer_id=stage.transfer_id, asked=asked, **said))
    return performed


def remaining_seconds(stage: Any) -> float:
    left: float = stage.ledger.records[stage.transfer_id].expires_at - stage.clock.now
    return left


@pytest.mark.parametrize("seconds", [-4, -0.001])
def test_what_has_expired_by_celerys_header_ends_expired(stage, seconds):
    assert ended(perform(stage, expires=ahead(stage, seconds))) == EXPIRED
    assert stage.gateway.sent == []


def test_celerys_header_is_the_deadline(stage):
    assert ended(perform(stage, expires=ahead(stage, 60))) == SUBMITTED
    assert 55 < remaining_seconds(stage) <= 60


def test_the_earliest_of_several_deadlines_counts(stage):
    asked = {**ASKED, "expires_at": ahead(stage, 9)}
    perform(stage, asked, expires=ahead(stage, 60))
    assert 5 < remaining_seconds(stage) <= 9


def test_seconds_count_from_when_it_was_sent(stage):
    stage.ledger.sent_after_ms = stage.ledger.now_ms - 25_000
    assert ended(perform(stage, {**ASKED, "expires_in_seconds": 5})) == EXPIRED
    assert stage.gateway.sent == []


def test_the_usual_seconds_count_from_there_too(stage):
    stage.ledger.sent_after_ms = stage.ledger.now_ms - 10_000
    assert ended(perform(stage)) == SUBMITTED
    assert 0 < remaining_seconds(stage) <= 5


def test_seconds_count_beside_celerys_header_where_that_is_later(stage):
    stage.ledger.sent_after_ms = stage.ledger.now_ms - 25_000
    asked = {**ASKED, "expires_in_seconds": 5}
    assert ended(perform(stage, asked, expires=ahead(stage, 60))) == EXPIRED


def test_celerys_header_is_enough_where_the_age_is_not_known(stage):
    stage.ledger.sent_after_ms = 0
    asked = {**ASKED, "expires_in_seconds": 5}
    assert ended(perform(stage, asked, expires=ahead(stage, 60))) == SUBMITTED


@pytest.mark.parametrize("said", [{"is_moved": True}, {}])
def test_where_nothing_tells_how_old_it_is_it_is_rejected(stage, said):
    stage.ledger.sent_after_ms = 0
    performed = perform(stage, **said)
    assert ended(performed) == DEADLINE_UNKNOWN
    assert performed.outcome is not None
    assert performed.outcome.call_id == CALL_ID
    assert stage.gateway.sent == []


def test_what_was_known_at_first_sight_is_never_renewed(stage):
    stage.ledger.sent_after_ms = stage.ledger.now_ms
    stage.on("accept", lambda: stage.ledger.fail("accept"))
    with pytest.raises(Exception, match="away"):
        perform(stage)
    stage.clock.now += 20
    stage.ledger.sent_after_ms = stage.ledger.now_ms
    assert ended(perform(stage, is_moved=True)) == EXPIRED


@pytest.mark.parametrize("field", ["eta", "expires"])
@pytest.mark.parametrize(
    "value", ["garbage", 12345, "", True, [], {}, "2026-01-01T00:00:00", "99999-01-01T00:00:00Z", "\ud800"]
)
def test_a_point_in_time_that_is_none_is_rejected_and_named(stage, field, value):
    performed = perform(stage, **{field: value})
    assert ended(performed) == (State.REJECTED, Reason.INVALID_INTENT)
    assert performed.outcome is not None
    assert f"Celery's {field}" in performed.outcome.detail
    assert stage.gateway.sent == []


def test_a_deadline_that_no_live_call_has_is_rejected(stage):
    performed = perform(stage, expires=ahead(stage, 3600))
    assert ended(performed) == (State.REJECTED, Reason.INVALID_INTENT)


@pytest.mark.parametrize("seconds", [-60, 0, 4.9])
def test_an_eta_up_to_five_seconds_ahead_is_waited_for(stage, seconds):
    assert ended(perform(stage, eta=ahead(stage, seconds))) == SUBMITTED
    assert stage.clock.slept == ([] if seconds <= 0 else [pytest.approx(seconds, abs=0.5)])


@pytest.mark.parametrize("eta", ["2099-01-01T00:00:00+00:00", None])
def test_a_later_eta_is_rejected_at_once(stage, eta):
    performed = perform(stage, eta=eta or ahead(stage, 6))
    assert ended(performed) == (State.REJECTED, Reason.ETA_NOT_SUPPORTED)
    assert stage.clock.slept == []


def test_an_eta_after_the_deadline_ends_expired(stage):
    assert ended(perform(stage, eta=ahead(stage, 4), expires=ahead(stage, 2))) == EXPIRED


@pytest.mark.parametrize("canvas", [("chain",), ("callbacks", "errbacks"), ("group",)])
def test_canvas_is_refused_by_name(stage, canvas):
    performed = perform(stage, canvas=canvas)
    assert ended(performed) == (State.REJECTED, Reason.CANVAS_NOT_SUPPORTED)
    assert performed.outcome is not None
    assert performed.outcome.detail == ", ".join(canvas)


def test_a_revoked_request_ends_cancelled(stage):
    assert ended(perform(stage, is_revoked=True)) == (State.CANCELLED, Reason.CANCELLED_BY_OPERATOR)
    assert stage.gateway.sent == []


def test_a_revoked_notification_ends_cancelled(stage):
    stage.publish()
    performed = stage.service.perform(Notification(transfer_id=stage.transfer_id, is_revoked=True))
    assert ended(performed) == (State.CANCELLED, Reason.CANCELLED_BY_OPERATOR)
    assert performed.outcome.detail == "revoked through Celery"


def test_a_revocation_changes_no_ending(stage):
    stage.publish()
    stage.perform()
    performed = stage.service.perform(Notification(transfer_id=stage.transfer_id, is_revoked=True))
    assert ended(performed) == SUBMITTED


OTHER_CALL = str(uuid.uuid4())


@pytest.mark.parametrize(
    "other",
    [
        {"call_id": OTHER_CALL, "destination": "sales"},
        {**ASKED, "destination": "sales"},
        {**ASKED, "metadata": {"a": "b"}},
        {"call_id": OTHER_CALL},
        "junk",
    ],
)
def test_the_same_id_with_other_content_is_told_so_and_not_the_firsts_outcome(stage, other):
    first = perform(stage)
    performed = perform(stage, other)
    assert ended(performed) == (State.REJECTED, Reason.IDEMPOTENCY_CONFLICT)
    assert performed.outcome is not None
    assert performed.outcome.call_id == (other["call_id"] if isinstance(other, dict) else "")
    assert stage.ledger.records[stage.transfer_id].outcome == first.outcome
    assert len(stage.gateway.sent) == 1


def test_it_is_told_so_while_the_first_is_open_too(stage):
    stage.publish()
    performed = perform(stage, {**ASKED, "destination": "sales"})
    assert ended(performed) == (State.REJECTED, Reason.IDEMPOTENCY_CONFLICT)
    assert stage.ledger.records[stage.transfer_id].outcome is None


def test_an_id_whose_first_content_was_wrong_is_not_free_for_another(stage):
    wrong = perform(stage, {"call_id": CALL_ID})
    assert perform(stage, {"call_id": CALL_ID}).outcome == wrong.outcome
    assert ended(perform(stage)) == (State.REJECTED, Reason.IDEMPOTENCY_CONFLICT)
    assert stage.gateway.sent == []


@pytest.mark.parametrize(
    "again",
    [{"reason": "x"}, {"requested_by": "x"}, {"expires_in_seconds": 30}, {"call_id": CALL_ID.upper()}],
)
def test_a_redelivery_is_the_same_content(stage, again):
    first = perform(stage)
    assert perform(stage, {**ASKED, **again}).outcome == first.outcome
    assert len(stage.gateway.sent) == 1
