"""The demo's judge, and the table in which it reports."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from transfer_tasks.outcome import GUIDE
from transfer_worker.cli import tables
from transfer_worker.local.demo import Report, Result, find_differences
from transfer_worker.local.demo_steps import STEPS, Step

CALL_ID = "6f1c1f0e-5b0a-4d4e-9a51-0c9d6a3c2b11"
TRANSFER_ID = "9137de8c-49c4-4180-84bd-ddad37a8246e"


def result(step, **changes):
    fields = {
        "title": step.title,
        "to": "",
        "transfer_id": TRANSFER_ID,
        "call_id": CALL_ID,
        "is_repeat": False,
        "state": "submitted",
        "reason": step.reason.value,
        "attempts": step.attempts,
        "posts": step.posts,
        "to_post_ms": 1,
        "to_outcome_ms": 2,
    }
    return Result(**{**fields, **changes})


@pytest.mark.parametrize("step", STEPS, ids=lambda step: step.title)
def test_the_judge_of_the_demo_condemns_every_difference(step):
    first = result(step) if step.repeats else None
    right = {"is_repeat": bool(first)}
    assert find_differences(step, first, result(step, **right), step.carried_out) == []
    for wrong in ({"reason": "rate_limited"}, {"attempts": 9}, {"posts": 9}, {"is_repeat": not first}):
        assert len(find_differences(step, first, result(step, **right | wrong), step.carried_out)) == 1, wrong
    assert len(find_differences(step, first, result(step, **right), step.carried_out + 1)) == 1
    if first:
        other = result(step, **right, transfer_id=CALL_ID)
        assert len(find_differences(step, first, other, step.carried_out)) == 1


def print_demo(width, **changes):
    out = io.StringIO()
    results = [
        result(
            step,
            is_repeat=bool(step.repeats),
            state=GUIDE[step.reason].state.value,
            to="endpoints, +1*******43",
            **changes,
        )
        for step in STEPS
    ]
    tables.print_report(Console(file=out, width=width), Report(results=results, problems=[], audit_lines=[]))
    return out.getvalue()


@pytest.mark.parametrize("width", [60, 80, 100, 120, 160])
def test_the_demos_table_never_cuts_how_it_ended_and_in_how_many_posts(width):
    text = print_demo(width, posts=7)
    head, *rows = [line for line in text.splitlines() if "│" in line or "┃" in line]
    assert "POSTs" in head
    assert "attempts" in head
    assert "…" not in text
    assert max(map(len, text.splitlines())) <= width
    assert sum(" 7 " in row for row in rows) == len(STEPS)
    if width >= 80:
        for step in STEPS:
            assert any(f"({step.reason})" in row for row in rows), step.title


def test_a_wide_terminal_gets_the_times_as_well():
    assert "ms to outcome" in print_demo(160)
    assert "ms to outcome" not in print_demo(100)


def test_one_difference_anywhere_and_the_demo_has_failed():
    step = Step(title="x", destination="support")
    good = Report(results=[result(step)], problems=[], audit_lines=[])
    assert good.is_as_it_must_be
    for bad in (
        Report(results=[result(step, problems=["attempts: 2 instead of 1"])], problems=[], audit_lines=[]),
        Report(
            results=[result(step)], problems=["9 requests reached the sandbox instead of 8"], audit_lines=[]
        ),
    ):
        assert not bad.is_as_it_must_be
        assert bad.as_dict()["ok"] is False
        out = io.StringIO()
        tables.print_report(Console(file=out, width=120), bad)
        assert " instead of " in out.getvalue()
