"""What the platform says in the room: read, and told to the ledger until it has heard it. On fake time."""

from __future__ import annotations

import asyncio
import json
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from support.calling import client_of, on_fake_time
from transfer_tasks.connection import ConnectionReason, ConnectionReport, ConnectionStatus, ReportSource
from transfer_tasks.voice.room import PAUSE_SECONDS, TRIES, read_platform_status

CALL_ID = "0f8fad5b-d9cb-469f-a165-70867728950e"
OTHER = "7c9e6679-7425-40de-944b-e07fc1f90ae7"
STARTED = {"type": "transfer_status", "status": "started", "request_id": "r-1", "call_id": CALL_ID}
FAILED = {**STARTED, "status": "failed", "reason": "busy_and_call_ended"}


def report(status: ConnectionStatus, **fields) -> ConnectionReport:
    known = {"call_id": CALL_ID, "request_id": "r-1", "source": ReportSource.ROOM, "status": status}
    return ConnectionReport(**{**known, **fields})


@pytest.mark.parametrize(
    "spelling",
    [
        lambda message: message,
        json.dumps,
        lambda message: json.dumps(message).encode(),
        lambda message: SimpleNamespace(**{k: v for k, v in message.items() if k != "type"}),
    ],
    ids=["a mapping", "text", "bytes", "a framework's object"],
)
def test_a_message_is_read_however_it_comes(spelling):
    assert read_platform_status(spelling(STARTED), call_id=CALL_ID) == report(ConnectionStatus.RINGING)
    assert read_platform_status(spelling(FAILED), call_id=CALL_ID.upper()) == report(
        ConnectionStatus.NOT_CONNECTED, reason=ConnectionReason.BUSY, caller_gone=True
    )


def test_completed_is_connected():
    message = {**STARTED, "status": "completed"}
    assert read_platform_status(message, call_id=CALL_ID) == report(ConnectionStatus.CONNECTED)


def test_where_the_framework_knows_no_call_the_messages_own_counts():
    assert read_platform_status(STARTED, call_id=None) == report(ConnectionStatus.RINGING)
    assert read_platform_status({**STARTED, "call_id": "?"}, call_id=None) is None
    assert read_platform_status({**STARTED, "call_id": None}, call_id=CALL_ID) is not None


@pytest.mark.parametrize(
    "message",
    [
        {**STARTED, "type": "chat"},
        {**STARTED, "status": "cancelled"},
        {**STARTED, "status": "success"},
        {**STARTED, "status": None},
        {**STARTED, "status": "queued"},
        {**STARTED, "call_id": OTHER},
        b"\xff",
        b"[]",
        "{",
        "hello",
        None,
        7,
        [STARTED],
    ],
    ids=str,
)
def test_anything_else_says_nothing(message):
    assert read_platform_status(message, call_id=CALL_ID) is None


def test_a_request_id_that_can_be_none_is_left_out():
    for request_id in (None, "", "a b", "x" * 129, 5):
        found = read_platform_status({**STARTED, "request_id": request_id}, call_id=CALL_ID)
        assert found == report(ConnectionStatus.RINGING, request_id="")


values = (
    st.none() | st.booleans() | st.integers() | st.text(max_size=40) | st.sampled_from(["started", "failed"])
)


@given(st.dictionaries(st.sampled_from(sorted(FAILED)), values), st.sampled_from([CALL_ID, None, "", "x"]))
def test_whatever_comes_it_is_a_report_or_nothing(changes, call_id):
    found = read_platform_status({**FAILED, **changes}, call_id=call_id)
    assert found is None or found.source is ReportSource.ROOM


@on_fake_time
async def test_a_session_puts_it_on_record_and_says_nothing():
    async with client_of() as (client, publisher), client.session(CALL_ID) as session:
        session.platform_status(STARTED)
        session.platform_status({"type": "chat"})
        await asyncio.sleep(0.1)
        assert publisher.reports == [report(ConnectionStatus.RINGING)]
        assert publisher.intents == []


@on_fake_time
async def test_it_is_put_on_record_when_redis_is_back_also_after_the_sessions_end():
    async with client_of() as (client, publisher):
        publisher.is_reachable = False
        async with client.session(CALL_ID) as session:
            session.platform_status({**STARTED, "status": "completed"})
        await asyncio.sleep(TRIES * PAUSE_SECONDS / 2)
        assert publisher.reports == []
        publisher.is_reachable = True
        await asyncio.sleep(PAUSE_SECONDS)
        assert publisher.reports == [report(ConnectionStatus.CONNECTED)]


@on_fake_time
async def test_what_can_not_be_put_on_record_is_named_in_the_log(caplog):
    async with client_of() as (client, publisher), client.session(CALL_ID) as session:
        publisher.is_reachable = False
        session.platform_status(STARTED)
        await asyncio.sleep(TRIES * PAUSE_SECONDS + 1)
        publisher.is_reachable = True
        assert [line for line in caplog.messages if "is lost (ringing)" in line]
        assert publisher.reports == []


@on_fake_time
async def test_the_end_of_a_process_waits_for_reports():
    async with client_of() as (client, publisher), client.session(CALL_ID) as session:
        session.platform_status(STARTED)
    assert len(publisher.reports) == 1
