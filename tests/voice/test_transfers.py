"""What a caller hears, and what reaches the platform, when nothing is broken."""

from __future__ import annotations

import asyncio
import re

import pytest

from transfer_tasks.outcome import GUIDE, Reason
from transfer_tasks.voice import Wording
from voice.model import Step, call_tool, say, transfer

ASKED = GUIDE[Reason.ACCEPTED_BY_PLATFORM].say
REPEATED = "I've already asked for the connection to support. Please stay on the line."
HOLDING = "One moment, please. I'm connecting you."


@pytest.mark.parametrize(
    ("destination", "endpoint"),
    [
        ("support", {"type": "pstn", "number": "12025550100"}),
        ("front-desk", {"type": "sip", "uri": "sip:front-desk@pbx.example.com"}),
        ("billing", {"type": "agent", "id": "3d0b6a52-7c1e-4b8a-9f60-2a1f5e9c8d47"}),
    ],
)
async def test_a_caller_who_asks_is_moved_and_hears_so(cluster, open_voice, destination, endpoint):
    async with open_voice(cluster) as voice:
        call = await voice.ring(transfer(destination, reason="wants a refund"))
        await call.say("Let me talk to somebody, please.")
        await call.hears(ASKED)
        assert [post.endpoint for post in cluster.posts(call.call_id)] == [endpoint]
        await asyncio.sleep(0.3)
        assert call.heard == [ASKED], "the model adds nothing"
        assert len(call.wits.requests) == 1


async def test_the_model_is_offered_names_with_descriptions_and_never_a_number(cluster, open_voice):
    async with open_voice(cluster) as voice:
        call = await voice.ring()
        await call.say("Hello?")
        await call.hears("Anything else")
        offered = call.wits.tools_offered["transfer_call"]["parameters"]
        assert offered["required"] == ["destination", "reason"]
        destination = offered["properties"]["destination"]
        assert destination["enum"] == ["support", "front-desk", "billing", "slow", "refusing", "overloaded"]
        assert "support: A person who can help with anything technical" in destination["description"]
        assert "555" not in re.sub(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", "", str(call.wits.requests))


async def test_twenty_calls_at_once_in_one_process_are_each_moved_by_their_own_id(cluster, open_voice):
    async with open_voice(cluster) as voice:
        calls = await asyncio.gather(*(voice.ring(transfer("support")) for _ in range(20)))
        await asyncio.gather(*(call.say("A person, please.") for call in calls))
        await asyncio.gather(*(call.hears(ASKED) for call in calls))
        for call in calls:
            assert len(cluster.posts(call.call_id)) == 1
            assert call.heard == [ASKED]


async def test_a_transfer_that_takes_long_is_announced_after_a_second_and_a_half(cluster, open_voice):
    async with open_voice(cluster, holding_after_seconds=1.5) as voice:
        call = await voice.ring(transfer("slow"))
        await call.say("A person, please.")
        held_at = await call.hears(HOLDING)
        assert held_at - call.wits.tool_calls_at[0] > 1.4
        await call.hears(ASKED)
        assert call.heard == [HOLDING, ASKED]


async def test_the_same_tool_call_twice_in_one_turn_is_one_transfer(cluster, open_voice):
    async with open_voice(cluster) as voice:
        call = await voice.ring(transfer("support", "support"))
        await call.say("A person, please.")
        await call.hears(ASKED)
        await asyncio.sleep(0.3)
        assert len(cluster.posts(call.call_id)) == 1
        assert call.heard == [ASKED]
        await call.say("Hello?")
        await call.hears("Anything else")
        assert [result["status"] for result in call.wits.tool_results()] == ["submitted", "submitted"]


async def test_the_same_tool_call_on_the_next_turn_tells_what_is_on_its_way(cluster, open_voice):
    async with open_voice(cluster) as voice:
        call = await voice.ring(transfer("support"), transfer("support"))
        await call.say("A person, please.")
        await call.hears(ASKED)
        await call.say("Are you there?")
        await call.hears(REPEATED)
        await call.model_knows(2)
        asked = len(call.wits.requests)
        await call.say("Hello?")
        await call.until(lambda: len(call.wits.requests) > asked)
        assert len(cluster.posts(call.call_id)) == 1
        first, second = call.wits.tool_results()
        assert first["status"] == second["status"] == "submitted"
        assert second["caller_was_told"] == REPEATED
        assert call.heard.count(ASKED) == 1


async def test_the_same_tool_call_while_the_first_is_on_its_way_joins_it(cluster, open_voice):
    async with open_voice(cluster) as voice:
        call = await voice.ring(transfer("slow"), transfer("slow"))
        await call.say("A person, please.")
        await call.until(lambda: call.wits.tool_calls_at)
        await call.say("Are you there?")
        await call.until(lambda: len(call.wits.tool_calls_at) == 2)
        await call.hears(ASKED)
        assert len(cluster.posts(call.call_id)) == 1
        assert call.heard.count(ASKED) == 1


async def test_two_destinations_in_parallel_are_one_transfer_and_one_in_progress(cluster, open_voice):
    async with open_voice(cluster) as voice:
        call = await voice.ring(transfer("support", "billing"))
        await call.say("Support, or billing.")
        await call.hears(ASKED)
        await call.say("Hello?")
        await call.hears("Anything else")
        assert [post.endpoint["type"] for post in cluster.posts(call.call_id)] == ["pstn"]
        results = {result["reason"] for result in call.wits.tool_results()}
        assert results == {"accepted_by_platform", "transfer_in_progress"}


async def test_a_refused_transfer_is_apologised_for_and_the_conversation_goes_on(cluster, open_voice):
    async with open_voice(cluster) as voice:
        call = await voice.ring(transfer("refusing"), say("Shall I try billing?"), transfer("billing"))
        await call.say("Connect me.")
        await call.hears("billing")
        assert call.heard == [GUIDE[Reason.REFUSED_BY_PLATFORM].say, "Shall I try billing?"]
        (result,) = call.wits.tool_results()
        assert (result["status"], result["reason"]) == ("rejected", "refused_by_platform")
        assert result["may_try_other_destination"]
        assert not result["may_try_again"]
        assert result["caller_was_told"] == call.heard[0]
        await call.say("Yes, please.")
        await call.hears(ASKED)
        assert [post.carried_out for post in cluster.posts(call.call_id)] == [False, True]


async def test_a_transfer_that_fails_until_its_deadline_is_apologised_for(cluster, open_voice):
    async with open_voice(cluster, expires_in_seconds=2) as voice:
        call = await voice.ring(transfer("overloaded"), say("What else can I do?"))
        await call.say("Connect me.")
        await call.hears("What else")
        assert call.heard[-2:] == [GUIDE[Reason.PLATFORM_UNAVAILABLE].say, "What else can I do?"]
        assert call.wits.tool_results()[0]["may_try_again"]
        assert not any(post.carried_out for post in cluster.posts(call.call_id))


@pytest.mark.parametrize("made_up", ["+1 202-555-0143", "sales", "sip:me@example.com", ""])
async def test_a_destination_that_the_model_made_up_reaches_nobody(cluster, open_voice, made_up):
    async with open_voice(cluster) as voice:
        call = await voice.ring(transfer(made_up), say("I can offer support or billing."))
        await call.say("Put me through to my cousin.")
        await call.hears("I can offer")
        assert call.wits.tool_results()[0]["reason"] == "no_such_destination"
        assert cluster.posts(call.call_id) == []
        assert cluster.records(call.call_id) == []


async def test_arguments_that_can_be_understood_connect_the_caller(cluster, open_voice):
    arguments = {"destination": [" Support"], "reason": None, "extra": "\ud800" + "x" * 5_000}
    async with open_voice(cluster) as voice:
        call = await voice.ring(call_tool("transfer_call", **arguments))
        await call.say("A person, please.")
        await call.hears(ASKED)
        assert len(cluster.posts(call.call_id)) == 1


@pytest.mark.parametrize("arguments", [{}, {"destination": 7, "reason": None}])
async def test_arguments_that_can_not_get_an_answer(cluster, open_voice, arguments):
    async with open_voice(cluster) as voice:
        call = await voice.ring(call_tool("transfer_call", **arguments))
        await call.say("Help!")
        await call.hears("Anything else")
        assert call.wits.tool_results()[0]["status"] == "rejected"


async def test_sentences_and_notes_are_the_teams_own(cluster, open_voice):
    wording = Wording(
        say={Reason.REFUSED_BY_PLATFORM: "Da geht leider niemand ran."},
        notes={Reason.REFUSED_BY_PLATFORM: "Biete einen Rückruf an."},
        holding=("Einen Moment bitte.",),
    )
    async with open_voice(cluster, wording=wording, holding_after_seconds=0) as voice:
        call = await voice.ring(transfer("refusing"))
        await call.say("Bitte verbinden.")
        await call.hears("niemand")
        await call.hears("Anything else")
        assert "Einen Moment bitte." in call.heard
        assert call.wits.tool_results()[0]["note"] == "Biete einen Rückruf an."


def weather_schema():
    from piopiy.adapters.schemas.function_schema import FunctionSchema

    return FunctionSchema("weather", "The weather", {"city": {"type": "string"}}, ["city"])


async def tell_weather(params):
    await params.result_callback({"weather": "rain in " + params.arguments["city"]})


async def test_other_tools_of_the_agent_keep_working(cluster, open_voice):
    async with open_voice(
        cluster, equip=lambda agent: agent.add_tool(weather_schema(), tell_weather)
    ) as voice:
        both = Step(calls=(*call_tool("weather", city="Oslo").calls, *transfer("refusing").calls))
        call = await voice.ring(call_tool("weather", city="Bergen"), say("Rain."), both)
        await call.say("What's the weather?")
        await call.hears("Rain")
        assert set(call.wits.tools_offered) == {"weather", "transfer_call", "cancel_transfer"}
        await call.say("And in Oslo? And connect me.")
        await call.hears("Anything else")
        assert {"weather": "rain in Oslo"} in call.wits.tool_results()
        assert len(cluster.posts(call.call_id)) == 1


async def test_tools_of_mcp_servers_keep_working(cluster, open_voice):
    from piopiy.adapters.schemas.tools_schema import ToolsSchema

    def register_tools(llm):  # what MCPClient.register_tools does (piopiy-ai 0.6.1)
        llm.register_function("weather", tell_weather)
        return ToolsSchema(standard_tools=[weather_schema()])

    async with open_voice(cluster, mcp_tools=register_tools) as voice:
        call = await voice.ring(call_tool("weather", city="Bergen"), say("Rain."), transfer("support"))
        await call.say("What's the weather?")
        await call.hears("Rain")
        assert set(call.wits.tools_offered) == {"weather", "transfer_call", "cancel_transfer"}
        await call.say("Connect me.")
        await call.hears(ASKED)


@pytest.mark.parametrize("speaks_after_seconds", [0.0, 0.03, 0.5, 1.55, 1.98, 2.05])
async def test_a_caller_who_speaks_meanwhile_is_moved_all_the_same(cluster, open_voice, speaks_after_seconds):
    async with open_voice(cluster) as voice:
        call = await voice.ring(transfer("slow"), say("I'm still here."))
        await call.say("A person, please.")
        await call.until(lambda: call.wits.tool_calls_at)
        await asyncio.sleep(speaks_after_seconds)
        await call.say("Are you still there?")
        await call.hears("I'm still here")
        (record,) = await asyncio.to_thread(cluster.wait_for_state, call.call_id, "submitted")
        assert record.reason is Reason.ACCEPTED_BY_PLATFORM
        await call.hears(ASKED)
        assert len(cluster.posts(call.call_id)) == 1
        await call.say("Hello?")
        await call.hears("Anything else")
        assert call.wits.tool_results()[-1]["status"] == "submitted", "the tool was never cancelled"


async def test_a_caller_who_does_not_stop_speaking_is_moved_all_the_same(cluster, open_voice):
    async with open_voice(cluster) as voice:
        call = await voice.ring(transfer("slow"), *[say("Yes?")] * 40)
        await call.say("A person, please.")
        await call.until(lambda: call.wits.tool_calls_at)
        for _ in range(24):
            await call.say("and another thing")
            await asyncio.sleep(0.1)
        await asyncio.to_thread(cluster.wait_for_state, call.call_id, "submitted")
        await call.until(lambda: call.wits.tool_results()[:1] and call.heard)
        assert len(cluster.posts(call.call_id)) == 1


async def test_a_session_with_no_call_id_keeps_its_agent_and_says_that_it_cannot_transfer(
    cluster, open_voice
):
    async with open_voice(cluster) as voice:
        call = await voice.ring(transfer("support"), call_id="not-a-uuid")
        await call.say("A person, please.")
        await call.hears("couldn't transfer")
        await call.hears("Anything else")
        assert call.wits.tool_results()[0]["reason"] == "invalid_request"
