"""The commands that look at how things stand: status, list, tail, why."""

from __future__ import annotations

import json
import sys
import time
from contextlib import nullcontext
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from transfer_tasks.outcome import Reason  # noqa: TC001 - typer reads the annotations
from transfer_worker.cli import filters
from transfer_worker.cli.terminal import AsJson, WantedId, expected_errors, make_console, print_json

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Sequence

    from rich.console import RenderableType

    from transfer_worker.operations.lookup import OperatorTools


def status(
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Look again and again, until Ctrl-C.")] = False,
    every: Annotated[float, typer.Option(metavar="SECONDS", min=0.1, help="How often --watch looks.")] = 1.0,
    as_json: AsJson = False,
) -> None:
    """Say how things stand, on one screen: what waits, what ended how, workers, platform, Redis, pauses.

    What somebody should look at comes first, each with the command that tells more. With --watch --json,
    each look is a line.

    Exit codes:
      0    looked, whatever was seen
      2    the settings are wrong; all problems are listed
      3    Redis can't be used (with --watch: it looks on)
      130  Ctrl-C
    """
    with expected_errors(as_json=as_json):
        from transfer_worker.cli import status_screen
        from transfer_worker.operations import lookup, status

        with lookup.open_tools() as at:
            if watch:
                _watch(at, every_seconds=every, as_json=as_json)
            seen = status.read_overview(at.ledger)
        if as_json:
            print_json(seen)
        else:
            make_console().print(status_screen.draw_overview(seen))


def _watch(at: OperatorTools, *, every_seconds: float, as_json: bool) -> NoReturn:
    """Look for ever. An outage of Redis is what somebody watches for, so it ends nothing."""
    from rich.live import Live
    from rich.text import Text

    from transfer_tasks.errors import LedgerUnavailable
    from transfer_worker.cli import status_screen
    from transfer_worker.operations import status

    console = make_console()
    with (
        Live(console=console, auto_refresh=False)
        if console.is_terminal and not as_json
        else nullcontext() as live
    ):
        while True:
            shown: RenderableType
            try:
                seen = status.read_overview(at.ledger)
                shown = status_screen.draw_overview(seen)
            except LedgerUnavailable as error:
                seen = {"error": {"kind": "LedgerUnavailable", "message": str(error)}}
                shown = Text(f"! {error} See: call-transfer doctor", style="bold red")
            if as_json:
                sys.stdout.write(json.dumps(seen, ensure_ascii=False) + "\n")
                sys.stdout.flush()
            elif live:
                live.update(shown, refresh=True)
            else:
                console.print(shown)
            time.sleep(every_seconds)


def list_(
    state: filters.States = None,
    since: filters.Since = None,
    destination: filters.Destination = None,
    reason: Annotated[
        Reason | None,
        typer.Option("--reason", "--ended-as", help="How they ended.", metavar="REASON", show_choices=False),
    ] = None,
    requester: filters.Requester = None,
    by: filters.CountedBy = None,
    connection: filters.Connections = None,
    limit: Annotated[int, typer.Option(min=1, max=filters.MAX_LISTED, help="The most to list.")] = 100,
    as_json: AsJson = False,
) -> None:
    """List transfers: first those that are open, the oldest first, then the ended ones, the newest first.

    Numbers are masked. Where there are more than --limit, it says so (`is_cut` in JSON). With --by, only how
    many there are of each kind, the most frequent first; --limit is nothing to that.

    Examples:
      call-transfer list --state failed --state unknown --since 5m
      call-transfer list --destination support --reason rate_limited
      call-transfer list --connection not_connected --since 5m
      call-transfer list --requester "agent billing-bot" --since 5m --limit 1000
      call-transfer list --since 5m --by requester --by destination

    Exit codes:
      0  looked, also where there is none
      2  a wrong option or setting
      3  Redis can't be used
    """
    with expected_errors(as_json=as_json):
        from transfer_worker.cli import status_screen
        from transfer_worker.operations import describe, lookup
        from transfer_worker.operations.listing import count_transfers, list_transfers

        with lookup.open_tools() as at:
            wanted = filters.read_filter(
                states=state,
                since=since,
                destination=destination,
                requester=requester,
                ended_as=reason,
                connection=connection,
            )
            if by:
                counts, is_cut = count_transfers(at.ledger, wanted, by=by)
                _tell_counts(by, counts, is_cut=is_cut, as_json=as_json)
                return
            records = list_transfers(at.ledger, wanted, limit=limit + 1)
            is_cut = len(records) > limit
            transfers = describe.describe_listing(records[:limit], at.ledger)
        if as_json:
            print_json({"transfers": transfers, "is_cut": is_cut})
        elif transfers:
            make_console().print(status_screen.draw_listing(transfers))
        else:
            typer.echo("None.")
        if is_cut and not as_json:
            typer.echo(
                f"These are {limit}, and there are more: --limit, up to {filters.MAX_LISTED}.", err=True
            )


def _tell_counts(by: Sequence[str], counts: Counter[tuple[str, ...]], *, is_cut: bool, as_json: bool) -> None:
    from transfer_worker.cli import status_screen

    ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    described = [{"count": count, **dict(zip(by, kind, strict=True))} for kind, count in ordered]
    if as_json:
        print_json({"counts": described, "total": counts.total(), "is_cut": is_cut})
    elif described:
        make_console().print(status_screen.draw_counts(described))
    else:
        typer.echo("None.")
    if is_cut and not as_json:
        typer.echo(f"Only {counts.total()} were counted, the newest of those that ended.", err=True)


def tail(
    call: Annotated[
        str | None,
        typer.Option(
            metavar="ID",
            help="Only lines of this call or transfer: its id, in any spelling, or its beginning.",
        ),
    ] = None,
    lines: Annotated[
        int, typer.Option("--lines", "-n", min=0, help="How many past lines to begin with.")
    ] = 10,
    follow: Annotated[bool, typer.Option(help="Go on with the lines that come, until Ctrl-C.")] = True,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line.")] = False,
) -> None:
    """Follow the audit log: a line for each step of each transfer, as it happens. Numbers are masked.

    Exit codes:
      0    all lines were shown (--no-follow)
      2    a wrong option or setting
      3    Redis can't be used at the start; later, it waits for Redis
      130  Ctrl-C
    """
    with expected_errors(as_json=as_json):
        from transfer_tasks.redis.connection import connect
        from transfer_worker.audit.console import print_line
        from transfer_worker.audit.outbox import BLOCK_SECONDS
        from transfer_worker.operations import lookup, tail

        console = make_console()

        def show(line: dict[str, Any]) -> None:
            if as_json:
                sys.stdout.write(json.dumps(line, ensure_ascii=False) + "\n")
                sys.stdout.flush()
            else:
                print_line(console, line)

        wanted = lookup.spell_beginning(call, field="--call") if call else ""
        with lookup.open_tools() as at:
            keys = at.ledger.keys
            past, newest = tail.read_last_lines(at.ledger.client, keys=keys, count=lines, wanted=wanted)
            for line in past:
                show(line)
            if not follow:
                return
            url = at.settings.redis_url.get_secret_value()
            with connect(url, timeout_seconds=BLOCK_SECONDS + 1) as client:
                for line in tail.follow_lines(
                    client,
                    keys=keys,
                    since=newest,
                    wanted=wanted,
                    on_outage=lambda cause: typer.echo(
                        f"call-transfer: Redis is away ({cause}); the lines come when it is back.", err=True
                    ),
                ):
                    show(line)


def why(
    wanted_id: WantedId,
    as_json: AsJson = False,
) -> None:
    """Say why a transfer ended as it did, what that means, and what to do next.

    Exit codes:
      0  it is on record
      1  it is not, or it is the beginning of several
      2  it is no id, or the settings are wrong; all problems are listed
      3  Redis can't be used
    """
    with expected_errors(as_json=as_json):
        from transfer_worker.operations import advice, lookup

        with lookup.open_tools() as at:
            told = advice.explain(lookup.read_transfer(at.ledger, wanted_id), at.ledger)
        if as_json:
            print_json(told)
        else:
            typer.echo(advice.write_paragraph(told))
