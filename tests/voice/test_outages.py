"""Redis or the worker away: the caller hears the truth in time, and nothing happens behind their back."""

from __future__ import annotations

import asyncio

from transfer_tasks.outcome import GUIDE, Reason
from voice.model import say, transfer

ASKED = GUIDE[Reason.ACCEPTED_BY_PLATFORM].say
HOLDING = "One moment, please. I'm connecting you."
APOLOGY = "I'm sorry, I couldn't transfer you just now."
TROUBLE = "I'm sorry, I'm having trouble with the transfer. Please stay on the line."

IN_TIME = {"publish_budget_seconds": 1, "holding_after_seconds": 1.5}
"""As a voice process has them unless told otherwise."""

SOON_SECONDS = 4.0
"""About one on a quiet machine; whoever waits for Redis itself waits for longer."""


async def test_with_redis_down_the_apology_is_heard_soon(private_cluster, open_voice):
    cluster = private_cluster
    async with open_voice(cluster, **IN_TIME) as voice:
        call = await voice.ring(transfer("support"), say("Can I help you myself?"))
        cluster.redis("kill")
        await call.say("A person, please.")
        heard_at = await call.hears(APOLOGY)
        assert heard_at - call.wits.tool_calls_at[0] < SOON_SECONDS
        await call.hears("help you myself")
        assert call.heard == [APOLOGY, "Can I help you myself?"]
        assert call.wits.tool_results()[0]["may_try_again"]


async def test_with_redis_silent_the_caller_is_told_in_time_and_the_request_withdrawn(
    private_cluster, open_voice
):
    cluster = private_cluster
    async with open_voice(cluster, **IN_TIME) as voice:
        # One request before, over and done with: its connection to Redis stands, and nobody uses it.
        before = await voice.ring(transfer("support"))
        await before.say("A person, please.")
        await asyncio.to_thread(cluster.wait_for_state, before.call_id, "waiting")
        await before.hang_up()
        await asyncio.to_thread(cluster.wait_for_state, before.call_id, "cancelled")
        call = await voice.ring(transfer("support"))
        cluster.redis("pause")
        await call.say("A person, please.")
        heard_at = await call.hears(TROUBLE)
        assert heard_at - call.wits.tool_calls_at[0] < SOON_SECONDS
        cluster.redis("resume")
        # Redis carries out what stood in its buffers: the request arrives late, and is withdrawn.
        await asyncio.to_thread(cluster.wait_for_state, call.call_id, "cancelled")
        await asyncio.to_thread(cluster.start_worker)
        after = await voice.ring(transfer("support"))
        await after.say("A person, please.")
        await after.hears(ASKED)
        assert cluster.posts(call.call_id) == []


async def test_redis_that_is_back_for_the_next_turn_serves_it(private_cluster, open_voice):
    cluster = private_cluster
    await asyncio.to_thread(cluster.start_worker)
    async with open_voice(cluster, **IN_TIME) as voice:
        call = await voice.ring(transfer("support"), say("Shall I try again?"), transfer("support"))
        cluster.redis("kill")
        await call.say("A person, please.")
        await call.hears("try again")
        await asyncio.to_thread(cluster.redis, "restart")
        await call.say("Yes.")
        await call.hears(ASKED)
        assert len(cluster.posts(call.call_id)) == 1


async def test_redis_that_goes_away_while_a_caller_waits_is_waited_for(private_cluster, open_voice):
    cluster = private_cluster
    async with open_voice(cluster, **IN_TIME) as voice:
        call = await voice.ring(transfer("support"))
        await call.say("A person, please.")
        await asyncio.to_thread(cluster.wait_for_state, call.call_id, "waiting")
        cluster.redis("kill")
        await call.hears(HOLDING)
        await asyncio.to_thread(cluster.redis, "restart")
        await asyncio.to_thread(cluster.start_worker)
        await call.hears(ASKED)
        assert len(cluster.posts(call.call_id)) == 1


async def test_with_no_worker_the_truth_is_heard_at_the_deadline(private_cluster, open_voice):
    cluster = private_cluster
    async with open_voice(cluster, **IN_TIME, expires_in_seconds=3) as voice:
        call = await voice.ring(transfer("support"), say("Can I help you myself?"))
        await call.say("A person, please.")
        heard_at = await call.hears(APOLOGY)
        assert heard_at - call.wits.tool_calls_at[0] > 2.6
        await call.hears("help you myself")
        assert call.heard[0] == HOLDING
        (record,) = cluster.records(call.call_id)
        assert (record.state, record.reason) == ("expired", Reason.DEADLINE_PASSED)
        await asyncio.to_thread(cluster.start_worker)
        await asyncio.sleep(2)
        assert cluster.posts(call.call_id) == []
