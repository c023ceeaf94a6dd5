"""Audit lines as people read them."""

from __future__ import annotations

import io
import re

import pytest
from rich.console import Console

from transfer_worker.audit.console import describe_line, print_line
from transfer_worker.audit.outbox import AuditEvent

CALL_ID = "6f1c1f0e-5b0a-4d4e-9a51-0c9d6a3c2b11"
TRANSFER_ID = "9137de8c-49c4-4180-84bd-ddad37a8246e"


def line(event, **fields):
    common = {
        "timestamp": "2026-01-02T03:04:05.678+00:00",
        "event": event,
        "event_id": "1-0",
        "transfer_id": TRANSFER_ID,
        "call_id": CALL_ID,
        "idempotency_key": "k",
        "hop": 1,
        "attempt": 2,
    }
    return {**common, **fields}


def tell(event, **fields):
    return describe_line(line(event, **fields)).plain


def test_an_audit_line_for_people_has_the_time_the_event_and_what_is_new():
    text = tell("transfer.requeued", why="worker_died", destination="support", worker="w", detail="")
    assert text == "  03:04:05.678  9137de8c  requeued        attempt 2  why=worker_died"


@pytest.mark.parametrize("event", ["accepted", "finished", "resolved"])
def test_the_first_line_and_the_last_say_where_to_and_of_which_call(event):
    text = tell(f"transfer.{event}", destination="support")
    assert "destination=support" in text
    assert f"call={CALL_ID}" in text
    assert "support" not in tell("transfer.claimed", destination="support")


@pytest.mark.parametrize("event", list(AuditEvent))
def test_a_blank_stands_behind_the_name_of_every_event(event):
    assert re.search(rf"{event.removeprefix('transfer.')} +why=x", tell(event, why="x", attempt=0))


def test_a_terminal_breaks_an_audit_line_between_words():
    out = io.StringIO()
    told = line(
        "transfer.finished", state="unknown", destination="support", detail="the answer was lost " * 9
    )
    print_line(Console(file=out, width=80, force_terminal=True, color_system=None), told)
    lines = out.getvalue().splitlines()
    assert max(map(len, lines)) <= 80
    assert " ".join(out.getvalue().split()) == " ".join(describe_line(told).plain.split())


def test_elsewhere_an_audit_line_is_one_line_however_long():
    out = io.StringIO()
    print_line(Console(file=out, width=80), line("transfer.finished", detail="lost " * 300))
    assert out.getvalue().count("\n") == 1
