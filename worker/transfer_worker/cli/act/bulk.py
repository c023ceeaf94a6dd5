"""Many transfers at once: they are listed, somebody is asked once, and what became of each is told."""

from __future__ import annotations

import sys
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NoReturn

import typer

from transfer_tasks.errors import LedgerUnavailable
from transfer_worker.cli.terminal import make_console, print_json
from transfer_worker.errors import OperationMisused, OperationRefused
from transfer_worker.exit_codes import Exit
from transfer_worker.operations.acting.turns import Turn, take_turns

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from transfer_tasks.ledger.ledger import Ledger
    from transfer_tasks.ledger.record import TransferRecord
    from transfer_worker.operations.acting.selection import Selection

EXPLAINED = 20
"""How many that were not done are explained one by one; `--json` has all."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What is done to many transfers.

    Attributes:
        command: Its name.
        question: What somebody has to agree to; ``{transfers}`` is how many.
        done: What those are that it was done to.
        per_second: The most in a second.
        is_agreed: Whether somebody has agreed before (`--yes`).
        as_json: Whether one JSON document is printed, and nobody asked.
    """

    command: str
    question: str
    done: str
    per_second: float
    is_agreed: bool
    as_json: bool


def carry_out(
    ledger: Ledger,
    order: Order,
    chosen: Selection,
    act: Callable[[TransferRecord], Turn],
    *,
    follow: Callable[[Turn], Turn] | None = None,
) -> NoReturn:
    """List, ask, act, and tell.

    Args:
        ledger: For the time, by which ages are told.
        order: What is done.
        chosen: The transfers.
        act: Does it to one of them.
        follow: Waits for what has come of one, once all is done.

    Raises:
        Exit: Always: 0 where all was done.
        OperationMisused: Nobody is there to be asked.
        OperationRefused: Somebody was asked, and said no.
        LedgerUnavailable: Redis did not answer in time. What was done before is told.
    """
    if not order.as_json:
        _list(ledger, chosen)
    if chosen.records:
        _ask(order, len(chosen.records))
    turns: list[Turn] = []
    stopped: LedgerUnavailable | KeyboardInterrupt | None = None
    try:
        for turn in _show_progress(
            take_turns(chosen.records, act, per_second=order.per_second), order.command, len(chosen.records)
        ):
            turns.append(turn)  # noqa: PERF402 - what was done before an error is told
        if follow:
            for at, turn in _show_progress(enumerate(turns), "wait", len(turns)):
                turns[at] = follow(turn) if turn.is_done else turn
    except (LedgerUnavailable, KeyboardInterrupt) as error:
        stopped = error
    if order.as_json:
        print_json(_describe(order, chosen, turns, stopped))
    elif chosen.records:
        _tell(order, chosen, turns)
    if stopped and not order.as_json:
        raise stopped
    if stopped:
        is_ctrl_c = isinstance(stopped, KeyboardInterrupt)
        raise typer.Exit(Exit.INTERRUPTED if is_ctrl_c else Exit.UNAVAILABLE)
    raise typer.Exit(Exit.OK if all(turn.is_done for turn in turns) else Exit.FAILED)


def _list(ledger: Ledger, chosen: Selection) -> None:
    from transfer_worker.cli.status_screen import draw_listing
    from transfer_worker.operations.describe import describe_listing

    if chosen.records:
        make_console().print(draw_listing(describe_listing(chosen.records, ledger)))
    else:
        typer.echo("None.")
    for why, count in chosen.left_out.most_common():
        typer.echo(f"Left out: {count}, because {why}.", err=True)
    if chosen.is_cut:
        typer.echo(
            f"These are {len(chosen.records)}, and there are more: the same command again takes the next.",
            err=True,
        )


def _ask(order: Order, count: int) -> None:
    if order.is_agreed:
        return
    question = order.question.format(transfers=f"these {count} transfers" if count > 1 else "this transfer")
    if order.as_json or not sys.stdin.isatty():
        raise OperationMisused(
            field="--yes",
            problem=f"nobody is there to be asked: {question}",
            fix="If it is meant, add --yes.",
        )
    if not typer.confirm(question, err=True):
        raise OperationRefused(field=order.command, problem="you said no", fix="Nothing is changed.")


def _show_progress(items: Iterable[Any], title: str, total: int) -> Iterator[Any]:
    from rich.console import Console
    from rich.progress import track

    return iter(
        track(
            items,
            title,
            total=total,
            console=Console(stderr=True),
            disable=not sys.stderr.isatty(),
        )
    )


def _tell(order: Order, chosen: Selection, turns: list[Turn]) -> None:
    done = [turn for turn in turns if turn.is_done]
    kinds = ", ".join(f"{count} {told}" for told, count in Counter(turn.told for turn in done).most_common())
    typer.echo(f"{len(done)} of {len(chosen.records)} {order.done}{kinds and f': {kinds}'}.")
    failed = [turn for turn in turns if not turn.is_done]
    for turn in failed[:EXPLAINED]:
        typer.echo(f"call-transfer: {turn.record.transfer_id}: {turn.told}", err=True)
    if more := len(failed[EXPLAINED:]):
        typer.echo(f"call-transfer: and {more} more; --json has all", err=True)


def _describe(
    order: Order, chosen: Selection, turns: list[Turn], stopped: BaseException | None
) -> dict[str, Any]:
    return {
        "command": order.command,
        "chosen": len(chosen.records),
        "left_out": dict(chosen.left_out),
        "is_cut": chosen.is_cut,
        "transfers": [
            {
                "transfer_id": turn.record.transfer_id,
                "call_id": turn.record.call_id,
                "is_done": turn.is_done,
                "told": turn.told,
                **({"new_transfer_id": turn.new_id} if turn.new_id else {}),
            }
            for turn in turns
        ],
        "stopped_by": (str(stopped) or "Ctrl-C") if stopped else None,
    }
