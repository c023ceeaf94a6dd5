"""How the command line's answers look: made with rich from the plain values that `--json` prints."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from rich.table import Table
from rich.text import Text

from transfer_worker.audit.console import STATE_STYLES
from transfer_worker.runtime.findings import Finding, Verdict

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from rich.console import Console, RenderableType

    from transfer_worker.local.demo import Report, Result

_VERDICT_STYLES: Final = {
    Verdict.OK: "green",
    Verdict.WARNING: "yellow",
    Verdict.PROBLEM: "bold red",
    Verdict.NOT_CHECKED: "dim",
}


def style_of(state: str) -> str:
    """Return the colour of a state."""
    return STATE_STYLES.get(state, "red")


def print_story(console: Console, story: dict[str, Any]) -> None:
    """Print the story of one call."""
    console.print(f"Call {story['call_id']}", style="bold")
    for transfer in story["transfers"]:
        console.print()
        console.print(_headline(transfer))
        table = Table.grid(padding=(0, 2))
        for name, value in _facts(transfer):
            table.add_row(Text(f"  {name}", style="dim"), value)
        console.print(table)
    for report in story["unmatched_reports"]:
        console.print()
        console.print(
            Text(f"Nobody knows whose: {_fact_text(report)}, request {report['request_id'] or '-'}")
        )


def _headline(transfer: dict[str, Any]) -> Text:
    text = Text(f"Hop {transfer['hop']}  ", style="bold")
    text.append(transfer["state"], style=style_of(transfer["state"]))
    if transfer["is_damaged"]:
        text.append("  (a part of its record can't be read)", style="bold red")
    if transfer["reason"]:
        text.append(f" ({transfer['reason']})")
    to = f"{transfer.get('destination', '?')} {transfer.get('to', '')}".strip()
    text.append(f"  to {to}  ")
    text.append(f"transfer {transfer['transfer_id']}", style="dim")
    return text


def _facts(transfer: dict[str, Any]) -> Iterator[tuple[str, RenderableType]]:
    asked = transfer["asked"]
    if transfer["is_compacted"]:
        yield (
            "asked",
            Text("what was asked, and answered, is not kept for longer than a day after the ending"),
        )
    else:
        yield "asked by", Text(asked["requested_by"] or "(not said)")
    if transfer["asked_by"]:
        yield "signed by", Text(transfer["asked_by"])
    if asked["reason"]:
        yield "because", Text(asked["reason"])
    if transfer["erased_at"]:
        yield "erased", Text(f"{transfer['erased_at']}  what people had said in it")
    if asked["metadata"]:
        yield "metadata", Text(json.dumps(asked["metadata"], ensure_ascii=False))
    yield "accepted", Text(f"{transfer['accepted_at']}  deadline {transfer['expires_at']}")
    if transfer["clock_left_ms"] is not None:
        yield "clock left", Text(f"{transfer['clock_left_ms'] / 1000:.1f} s")
    if transfer["claimed_at"]:
        yield "claimed", Text(f"{transfer['claimed_at']}  by {transfer['worker']}")
    for attempt in transfer["attempts"]:
        yield f"attempt {attempt['attempt']}", Text(_attempt_text(attempt))
        if attempt["answer"] is not None:
            yield "", Text(f"answer {json.dumps(attempt['answer'], ensure_ascii=False)}")
    if transfer["ended_at"]:
        yield "ended", Text(f"{transfer['ended_at']}  says the {transfer['source']}")
    if transfer["detail"]:
        yield "detail", Text(transfer["detail"])
    if transfer["request_id"]:
        yield "request", Text(f"{transfer['request_id']} at the platform")
    if connection := transfer["connection"]:
        yield "connection", Text(_connection_text(connection))
        for other in connection["contradictions"]:
            yield "", Text(f"but {_fact_text(other)}, which changes nothing", style="bold red")
    if transfer["meaning"]:
        yield "means", Text(transfer["meaning"])
        yield "next", Text(transfer["next_step"])
        yield "session says", Text(transfer["say"] or "(nothing)")
    yield "key", Text(transfer["idempotency_key"] or "-")


def _connection_text(connection: dict[str, Any]) -> str:
    parts = [_fact_text(connection)]
    if connection["at"]:
        parts.append(f"at {connection['at']} by its clock")
    if connection["ringing_at"] and connection["status"] != "ringing":
        parts.append(f"rang at {connection['ringing_at']}")
    if connection["caller_gone"]:
        parts.append("the caller is gone")
    return ", ".join(parts)


def _fact_text(fact: dict[str, Any]) -> str:
    reason = f" ({fact['reason']})" if fact["reason"] else ""
    return f"{fact['status']}{reason}  {fact['heard_at']}  says the {fact['source']}"


def _attempt_text(attempt: dict[str, Any]) -> str:
    parts = []
    if attempt["begun_at"]:
        parts.append(f"{attempt['begun_at']}  {attempt['after_ms']} ms after it was accepted")
    if attempt["took_ms"] is not None:
        parts.append(f"took {attempt['took_ms']} ms")
    elif attempt["begun_at"]:
        parts.append("no answer on record")
    if attempt["http_status"] is not None:
        parts.append(f"HTTP {attempt['http_status']}")
    if attempt["reason"]:
        parts.append(attempt["reason"])
    if attempt["detail"]:
        parts.append(attempt["detail"])
    return ", ".join(parts) or "nothing is kept of it"


def print_findings(console: Console, findings: list[Finding]) -> None:
    """Print what `doctor` found."""
    table = Table.grid(padding=(0, 2))
    for finding in findings:
        table.add_row(
            Text(finding.verdict.value, style=_VERDICT_STYLES[finding.verdict]),
            Text(finding.check),
            Text(f"{finding.seen}. {finding.fix}" if finding.fix else finding.seen),
        )
    console.print(table)


_RESULT_COLUMNS: Final[dict[str, Callable[[Result], RenderableType]]] = {
    "asked": lambda result: Text(result.title),
    "to": lambda result: Text(result.to),
    "ended": lambda result: _ending(result),
    "attempts": lambda result: str(result.attempts),
    "POSTs": lambda result: str(result.posts),
    "ms to POST": lambda result: "-" if result.to_post_ms is None else str(result.to_post_ms),
    "ms to outcome": lambda result: str(result.to_outcome_ms),
}
_UNLIMITED_COLUMNS: Final = 1000
_LEFT_OUT: Final[tuple[set[str], ...]] = (
    set(),
    {"ms to POST", "ms to outcome"},
    {"ms to POST", "ms to outcome", "to"},
)
"""What a narrower terminal does without, in turn; how it ended, and in how many POSTs, is never cut."""


def _ending(result: Result) -> Text:
    text = Text(result.state, style=style_of(result.state))
    return text.append(f" ({result.reason})" + (", a repeat" if result.is_repeat else ""))


def _fit_results(console: Console, results: list[Result]) -> Table:
    """Return the widest table that fits; what is too long in the narrowest goes on in the next line."""
    for left_out in _LEFT_OUT:
        table = Table(title="What was asked, and how it ended", title_justify="left", header_style="bold")
        columns = {name: cell for name, cell in _RESULT_COLUMNS.items() if name not in left_out}
        for name in columns:
            is_text = name in {"asked", "to", "ended"}
            table.add_column(
                name, justify="left" if is_text else "right", overflow="fold", no_wrap=not is_text
            )
        for result in results:
            table.add_row(*(cell(result) for cell in columns.values()))
        unlimited = console.options.update(max_width=_UNLIMITED_COLUMNS)
        if console.measure(table, options=unlimited).maximum <= console.width:
            break
    return table


def print_report(console: Console, report: Report) -> None:
    """Print the demo's closing table, and what is not as it must be."""
    console.print()
    console.print(_fit_results(console, report.results))
    if report.is_as_it_must_be:
        console.print("All ended as they must.", style="green")
        return
    console.print("Not all ended as they must:", style="bold red")
    for result in report.results:
        for problem in result.problems:
            console.print(Text(f"  {result.title}: {problem}"))
    for problem in report.problems:
        console.print(Text(f"  {problem}"))
