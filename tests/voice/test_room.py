"""The platform's word in the room: the SDK's own handler never hears it; the tool's listener does.

piopiy-ai 0.6.1 with livekit 1.0.25. When a newer version fails here, read `agent_tool._listen_in_room` again.
"""

from __future__ import annotations

import inspect
import json
from importlib.metadata import version
from types import SimpleNamespace

from livekit import rtc
from piopiy.transports.services import telecmi

from transfer_tasks.connection import ConnectionReason, ConnectionStatus
from transfer_tasks.testing import RecordingPublisher
from transfer_tasks.voice import Choice, TransferClient, VoiceSettings
from voice.loopback import Loopback


def message(call_id, **fields):
    known = {"type": "transfer_status", "status": "started", "request_id": "r-1", "call_id": call_id}
    return json.dumps({**known, **fields}).encode()


def make_client(publisher):
    choices = [Choice(name="support", description="The support desk")]
    return TransferClient(publisher, choices=choices, settings=VoiceSettings())


def test_the_versions_are_the_ones_that_were_read():
    assert (version("piopiy-ai"), version("livekit")) == ("0.6.1", "1.0.25")


def test_a_room_never_says_that_it_is_connected():
    assert 'emit("connected"' not in inspect.getsource(rtc.Room)


def test_a_packet_of_the_platform_has_no_participant():
    assert "None" in str(rtc.DataPacket.__annotations__["participant"])


async def test_the_sdks_own_handler_never_hears_the_platform():
    heard = []

    async def on_data_received(data, sid):
        heard.append(data)

    client = object.__new__(telecmi.TelecmiTransportClient)
    client._callbacks = SimpleNamespace(on_data_received=on_data_received)
    failures = []
    for participant in (None, SimpleNamespace(sid="PA_1")):
        packet = rtc.DataPacket(data=b"x", kind=1, participant=participant, topic="transfer_status")
        try:
            await client._async_on_data_received(packet)
        except AttributeError as error:
            failures.append(str(error))
    assert failures == ["'NoneType' object has no attribute 'sid'"]
    assert heard == [b"x"]


async def test_what_the_platform_says_in_the_room_is_reported_once():
    publisher = RecordingPublisher()
    async with make_client(publisher) as client, Loopback(client) as voice:
        call = await voice.ring()
        call.room.hear(message(call.call_id))
        call.room.hear(message(call.call_id, status="failed", reason="no_answer"))
        await call.until(lambda: len(publisher.reports) == 2)
        ringing, failed = publisher.reports
        assert (ringing.call_id, ringing.request_id, ringing.status) == (
            call.call_id,
            "r-1",
            ConnectionStatus.RINGING,
        )
        assert (failed.status, failed.reason) == (ConnectionStatus.NOT_CONNECTED, ConnectionReason.NO_ANSWER)
        assert publisher.intents == []


async def test_what_a_participant_or_another_topic_says_is_not_the_platforms():
    publisher = RecordingPublisher()
    async with make_client(publisher) as client, Loopback(client) as voice:
        call = await voice.ring()
        forger = SimpleNamespace(sid="PA_forger")
        call.room.hear(message(call.call_id, status="completed"), participant=forger)
        call.room.hear(message(call.call_id, status="completed"), topic="chat")
        call.room.hear(message(call.call_id))
        await call.until(lambda: publisher.reports)
        assert [report.status for report in publisher.reports] == [ConnectionStatus.RINGING]


async def test_completed_is_reported_though_the_session_ends_at_that_moment():
    publisher = RecordingPublisher()
    async with make_client(publisher) as client, Loopback(client) as voice:
        call = await voice.ring()
        call.room.hear(message(call.call_id, status="completed"))
        await call.room.lose_caller()
        await call.until(lambda: publisher.reports)
        assert publisher.reports[0].status is ConnectionStatus.CONNECTED
