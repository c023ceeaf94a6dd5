"""How `call-transfer status` and `list` look: made with rich from the plain values that `--json` prints."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from rich.console import Group
from rich.table import Table
from rich.text import Text

from transfer_worker.cli.tables import style_of
from transfer_worker.operations.pauses import name_for_people
from transfer_worker.operations.status.concerns import PLATFORM_WORDS

if TYPE_CHECKING:
    from rich.console import RenderableType


BUSIEST: Final = 3
"""How many requesters and destinations of the last five minutes are on the screen; `--json` has more."""

MAX_NAME_COLUMNS: Final = 30
"""Who asks may have a name of any length; `--json` has all of it."""


def draw_overview(overview: dict[str, Any]) -> RenderableType:
    """Return the screen of `status`."""
    facts = Table.grid(padding=(0, 2))
    facts.add_row(Text("waiting", style="dim"), _draw_count(overview, "waiting", "oldest_waiting_seconds"))
    facts.add_row(Text("in flight", style="dim"), Text(str(overview["in_flight"])))
    facts.add_row(Text("unknown", style="dim"), _draw_count(overview, "unknown", "oldest_unknown_seconds"))
    facts.add_row(Text("moved twice", style="dim"), _draw_double_posts(overview))
    facts.add_row(Text("audit", style="dim"), _draw_audit(overview["audit"]))
    facts.add_row(Text("platform", style="dim"), Text(_tell_platform(overview["platform"])))
    for pause in overview["paused"]:
        name = name_for_people(pause["destination"])
        text = f"{name}, by {pause['by']} at {pause['paused_at']}: {pause['reason']}"
        facts.add_row(Text("paused", style="dim"), Text(text, style="bold red"))
    for worker in overview["workers"]:
        facts.add_row(Text("worker", style="dim"), _draw_worker(worker))
    for gone in overview["gone_workers"]:
        text = f"{gone['worker']}  GONE since {gone['last_heartbeat_at']}"
        facts.add_row(Text("worker", style="dim"), Text(text, style="red"))
    facts.add_row(Text("redis", style="dim"), Text(_tell_redis(overview["redis"])))
    parts: list[RenderableType] = [Text(f"Transfers at {overview['at']}", style="bold")]
    parts += [
        Text.assemble((f"! {concern['text']}. ", "bold red"), (f"See: {concern['command']}", "dim"))
        for concern in overview["concerns"]
    ] or [Text("Nothing to look at.", style="green")]
    return Group(*parts, Text(), facts, Text(), _draw_windows(overview["windows"]))


def _draw_count(overview: dict[str, Any], count: str, age: str) -> Text:
    text = Text(str(overview[count]))
    if overview[count]:
        text.append(f", the oldest for {overview[age]:.1f} s", style="yellow")
    return text


def _draw_double_posts(overview: dict[str, Any]) -> Text:
    text = Text(str(overview["possibly_moved_twice"]))
    if left := len(overview["unacknowledged_double_posts"]):
        text.append(f", not acknowledged: {left}", style="bold red")
    return text


def _draw_audit(audit: dict[str, Any]) -> Text:
    if not audit["is_late"]:
        return Text("up to date")
    return Text(
        f"{audit['backlog_lines']} lines in no log yet, the oldest for {audit['oldest_seconds']:.1f} s",
        style="bold red",
    )


def _tell_platform(platform: dict[str, Any]) -> str:
    if not platform["requests"]:
        return "no request in the last minute"
    shares = ", ".join(
        f"{share:.0%} {PLATFORM_WORDS[answer]}" for answer, share in platform["shares"].items()
    )
    return f"requests in the last minute: {platform['requests']} ({shares})"


def _draw_worker(worker: dict[str, Any]) -> Text:
    text = Text(f"{worker['worker']}  ")
    if worker["is_alive"]:
        text.append(f"alive, heartbeat {worker['heartbeat_age_seconds']:.1f} s ago", style="green")
        text.append(f", version {worker.get('version')}, sends to {worker.get('platform')}")
        if restarts := worker.get("restarts"):
            text.append(f", restarted {restarts} times", style="yellow")
    elif worker["is_alive"] is None:
        text.append(f"not known, last heartbeat {worker['heartbeat_age_seconds']:.1f} s ago", style="yellow")
    else:
        text.append(f"GONE, last heartbeat {worker['heartbeat_age_seconds']:.1f} s ago", style="bold red")
    return text


def _tell_redis(facts: dict[str, Any]) -> str:
    used, most = facts["used_memory_bytes"], facts["max_memory_bytes"]
    parts = [facts["version"]]
    if used is not None:
        parts.append(
            f"{used / 2**20:.1f} MiB of {most / 2**20:.1f} MiB" if most else f"{used / 2**20:.1f} MiB"
        )
    parts.append(facts["maxmemory_policy"] or "maxmemory-policy not told")
    if facts["is_durable"] is not None:
        parts.append("durable" if facts["is_durable"] else "NOT DURABLE")
    return ", ".join(filter(None, parts))


def _draw_windows(windows: list[dict[str, Any]]) -> Table:
    table = Table.grid(padding=(0, 2))
    table.add_row(Text("ended within", style="bold"), *(f"{window['minutes']} min" for window in windows))
    for state in windows[0]["outcomes"]:
        counts = [window["outcomes"][state] for window in windows]
        table.add_row(
            Text(f"  {state}", style=style_of(state)),
            *(Text(str(count), style=style_of(state) if count else "dim") for count in counts),
        )
    for title, kind in (("not submitted, why", "reasons"), ("not submitted, to", "failing_destinations")):
        names = list(dict.fromkeys(name for window in windows for name in window[kind]))
        if names:
            table.add_row(Text(title, style="bold"))
        for name in names:
            table.add_row(Text(f"  {name}"), *(str(window[kind].get(name, 0)) for window in windows))
    for title, kind in (("asked by", "requesters"), ("ended to", "destinations")):
        busiest = list(windows[1][kind])[:BUSIEST]
        if busiest:
            table.add_row(Text(title, style="bold"))
        for name in busiest:
            shown = _cut(name or "(not said)")
            table.add_row(Text(f"  {shown}"), *(str(window[kind].get(name, 0)) for window in windows))
    connected = list(windows[1]["connections"])[:BUSIEST]
    if connected:
        table.add_row(Text("picked up, of those reported, to", style="bold"))
    for name in connected:
        table.add_row(
            Text(f"  {_cut(name)}"), *(_tell_share(window["connections"].get(name)) for window in windows)
        )
    table.add_row(Text("submit to POST", style="bold"))
    for title, quantile in (("  p50", "post_p50_ms"), ("  p99", "post_p99_ms")):
        table.add_row(Text(title), *(_tell_ms(window[quantile]) for window in windows))
    return table


def _tell_share(counted: dict[str, Any] | None) -> str:
    if counted is None:
        return "-"
    return f"{counted['share_connected']:.0%} of {counted['connected'] + counted['not_connected']}"


def _tell_ms(milliseconds: float | None) -> str:
    return "-" if milliseconds is None else f"{milliseconds:.1f} ms"


def draw_listing(transfers: list[dict[str, Any]]) -> Table:
    """Return the lines of `list`."""
    table = Table(box=None, header_style="bold", pad_edge=False)
    asked_by = {
        title: name
        for title, name in (("asked by", "requested_by"), ("signed by", "asked_by"))
        if any(transfer[name] for transfer in transfers)
    }
    is_told = any(transfer["connection"] for transfer in transfers)
    told = ["connection"] if is_told else []
    for name in ("ended", "state", *told, "to", *asked_by, "attempts", "call", "transfer"):
        table.add_column(name, no_wrap=name in {"ended", "call", "transfer"})
    for transfer in transfers:
        state = Text(transfer["state"], style=style_of(transfer["state"]))
        if transfer["reason"]:
            state.append(f" ({transfer['reason']})")
        table.add_row(
            (transfer["ended_at"] or f"open, {transfer['age_seconds']:.0f} s")[:23],
            state,
            *([Text(_tell_connection(transfer))] if is_told else []),
            f"{transfer.get('destination', '?')} {transfer.get('to', '')}".strip(),
            *(Text(_cut(transfer[name] or "-")) for name in asked_by.values()),
            str(transfer["attempts"]),
            transfer["call_id"],
            transfer["transfer_id"],
        )
    return table


def draw_counts(counts: list[dict[str, Any]]) -> Table:
    """Return the lines of `list --by`."""
    table = Table(box=None, header_style="bold", pad_edge=False)
    for name in counts[0]:
        table.add_column(name, justify="right" if name == "count" else "left")
    for count in counts:
        table.add_row(*(Text(str(value)) for value in count.values()))
    return table


def _tell_connection(transfer: dict[str, Any]) -> str:
    reason = transfer["connection_reason"]
    return (transfer["connection"] or "-") + (f" ({reason})" if reason else "")


def _cut(name: str) -> str:
    return name if len(name) <= MAX_NAME_COLUMNS else f"{name[: MAX_NAME_COLUMNS - 1]}…"


def draw_quarantine(found: list[dict[str, Any]]) -> Table:
    """Return the lines of `quarantine list`."""
    table = Table(box=None, header_style="bold", pad_edge=False)
    for name in ("id", "at", "why", "bytes", "transfer"):
        table.add_column(name)
    for poison in found:
        table.add_row(
            poison["id"],
            poison["at"],
            Text(poison["why"]),
            str(poison["size_bytes"]),
            Text(poison["transfer_id"] or "-"),
        )
    return table
