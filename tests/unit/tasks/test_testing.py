"""The fakes for voice teams keep the real ones' promises, as far as an agent can tell."""

from __future__ import annotations

import asyncio
import uuid
from functools import wraps

import pytest

from transfer_tasks.errors import LedgerUnavailable, OutcomeTimeout, PublishUnavailable, TransferInProgress
from transfer_tasks.intent import TransferIntent
from transfer_tasks.outcome import Reason, State
from transfer_tasks.publisher import AsyncTransferHandle, AsyncTransferPublisher
from transfer_tasks.testing import RecordedTransfer, RecordingPublisher, ending
from transfer_tasks.testing.clock import run_on_fake_time


def on_fake_time(test):
    @wraps(test)
    def run(*args, **kwargs):
        run_on_fake_time(test(*args, **kwargs))

    return run


def intent_for(destination="support", call_id=None):
    return TransferIntent(call_id=call_id or str(uuid.uuid4()), destination=destination)


@pytest.mark.parametrize(
    ("fake", "real"),
    [(RecordingPublisher, AsyncTransferPublisher), (RecordedTransfer, AsyncTransferHandle)],
)
def test_the_fakes_have_no_method_that_the_real_ones_lack(fake, real):
    own = {"state_now", "call_id", "settle", "report", "script"}
    assert {name for name in vars(fake) if not name.startswith("_")} - own <= set(dir(real))


@on_fake_time
async def test_without_a_script_every_transfer_is_submitted_and_recorded():
    publisher = RecordingPublisher()
    intent = intent_for()
    handle = await publisher.submit(intent)
    outcome = await handle.outcome()
    assert (outcome.state, outcome.transfer_id, outcome.hop) == (State.SUBMITTED, intent.transfer_id, 1)
    assert publisher.intents == [intent]


@on_fake_time
async def test_a_script_is_used_up_one_transfer_at_a_time():
    publisher = RecordingPublisher(ending(Reason.RATE_LIMITED), ValueError("no"))
    assert (await (await publisher.submit(intent_for())).outcome()).reason is Reason.RATE_LIMITED
    with pytest.raises(ValueError, match="no"):
        await publisher.submit(intent_for())
    assert (await (await publisher.submit(intent_for())).outcome()).state is State.SUBMITTED
    assert len(publisher.intents) == 3


@on_fake_time
async def test_an_open_call_repeats_the_same_and_refuses_another_destination():
    publisher = RecordingPublisher(ending(Reason.ANSWER_LOST, after_seconds=2))
    call_id = str(uuid.uuid4())
    first = await publisher.submit(intent_for(call_id=call_id))
    for _ in range(2):
        assert await publisher.submit(intent_for(call_id=call_id)) is first
        with pytest.raises(TransferInProgress):
            await publisher.submit(intent_for("billing", call_id))
        await first.outcome()
    await first.report_not_transferred()
    second = await publisher.submit(intent_for(call_id=call_id))
    assert (await second.outcome()).hop == 2


@on_fake_time
async def test_what_is_cancelled_in_time_ends_cancelled_at_once_for_whoever_waits():
    publisher = RecordingPublisher(ending(Reason.ACCEPTED_BY_PLATFORM, after_seconds=9, unsent_seconds=5))
    handle = await publisher.submit(intent_for())
    waiting = asyncio.create_task(handle.outcome())
    await asyncio.sleep(4)
    assert await handle.cancel()
    assert (await waiting).reason is Reason.CANCELLED_BY_SESSION
    assert asyncio.get_running_loop().time() == pytest.approx(4)


@on_fake_time
async def test_what_was_sent_cannot_be_cancelled():
    publisher = RecordingPublisher(ending(Reason.ACCEPTED_BY_PLATFORM, after_seconds=9, unsent_seconds=5))
    handle = await publisher.submit(intent_for())
    await asyncio.sleep(6)
    assert not await handle.cancel()
    assert (await handle.outcome()).state is State.SUBMITTED


@on_fake_time
async def test_waiting_ends_with_the_timeout():
    publisher = RecordingPublisher(ending(Reason.ACCEPTED_BY_PLATFORM, after_seconds=9))
    handle = await publisher.submit(intent_for())
    with pytest.raises(OutcomeTimeout):
        await handle.outcome(timeout=3)
    assert (await handle.outcome()).state is State.SUBMITTED


@on_fake_time
async def test_evidence_settles_what_is_unknown_and_nothing_else():
    publisher = RecordingPublisher(ending(Reason.ANSWER_LOST), ending(Reason.RATE_LIMITED))
    unknown, failed = [await publisher.submit(intent_for()) for _ in range(2)]
    await unknown.outcome()
    await failed.outcome()
    assert (await unknown.report_transferred()).reason is Reason.TRANSFER_CONFIRMED
    assert (await failed.report_transferred()).reason is Reason.RATE_LIMITED


@on_fake_time
async def test_an_unreachable_redis_can_be_had_too():
    publisher = RecordingPublisher(ending(Reason.ACCEPTED_BY_PLATFORM, unsent_seconds=9, after_seconds=9))
    handle = await publisher.submit(intent_for())
    publisher.is_reachable = False
    with pytest.raises(PublishUnavailable):
        await publisher.submit(intent_for())
    with pytest.raises(LedgerUnavailable):
        await handle.cancel()


@on_fake_time
async def test_an_ending_that_a_rounding_error_puts_off_is_reached_on_a_clock_that_jumps():
    await asyncio.sleep(3.6)
    handle = await RecordingPublisher(ending(Reason.RATE_LIMITED, after_seconds=2)).submit(intent_for())
    assert (await handle.outcome()).reason is Reason.RATE_LIMITED
