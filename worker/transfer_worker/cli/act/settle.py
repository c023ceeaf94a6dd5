"""`call-transfer resolve` and `cancel`: an operator gives transfers their end."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from transfer_worker.cli import filters
from transfer_worker.cli.terminal import AsJson, MaybeId, Operator, Reason, expected_errors, print_json

if TYPE_CHECKING:
    from collections.abc import Callable

    from transfer_tasks.connection import ReportResult
    from transfer_tasks.ledger.record import TransferRecord
    from transfer_tasks.outcome import TransferOutcome
    from transfer_worker.operations.acting.turns import Turn

_CHOICE = "--transferred/--not-transferred"
_CONNECTED = "--connected/--not-connected"


def resolve(
    reason: Reason,
    operator: Operator,
    wanted_id: MaybeId = None,
    transferred: Annotated[
        bool | None,
        typer.Option(_CHOICE, help="What the evidence says; one of the two.", show_default=False),
    ] = None,
    connected: Annotated[
        bool | None,
        typer.Option(
            _CONNECTED, help="Whether anybody picked up, of one transfer; instead.", show_default=False
        ),
    ] = None,
    state: filters.States = None,
    destination: filters.Destination = None,
    requester: filters.Requester = None,
    ended_as: filters.EndedAs = None,
    since: filters.Since = None,
    limit: filters.Limit = 100,
    per_second: filters.PerSecond = 5,
    yes: filters.Yes = False,
    as_json: AsJson = False,
) -> None:
    """Settle an unknown by evidence: Piopiy's call log, or the caller's own word.

    --not-transferred lets the same be asked for again, so be sure.

    --connected and --not-connected say more: the platform accepted the request, and somebody picked up, or
    nobody did. They settle an unknown, too, and are said of one that is submitted as well.

    Without an id, all unknowns that the options describe: they are listed, you are asked once, and each is
    settled by your word, under your name.

    Examples:
      call-transfer resolve ID --transferred --reason "in the call log at 14:02"
      call-transfer resolve ID --not-connected --reason "the desk says it never rang"
      call-transfer resolve --destination sales --since 1h --not-transferred --reason "none is in the log"

    Exit codes:
      0    settled, or settled so before
      1    it is not unknown, or not on record; you said no; of many, one or more could not be settled
      2    a wrong option or setting; nothing is settled
      3    Redis can't be used; the same command again is safe
      130  Ctrl-C; what is settled stays so
    """
    with expected_errors(as_json=as_json):
        is_about_many = filters.is_about_many(wanted_id, state, destination, requester, ended_as, since)
        from transfer_worker.cli.act import bulk
        from transfer_worker.errors import OperationMisused
        from transfer_worker.operations import lookup
        from transfer_worker.operations.acting import selection, settle

        if (transferred is None) == (connected is None):
            raise OperationMisused(
                field=_CHOICE,
                problem="neither is given"
                if connected is None
                else "--connected says more, and is given, too",
                fix="Say which of the two the evidence shows.",
            )
        if connected is not None and wanted_id is None:
            raise OperationMisused(
                field=_CONNECTED, problem="it is said of one transfer", fix="Name the transfer or its call."
            )
        with lookup.open_tools() as at:
            if connected is not None and wanted_id is not None:
                record = lookup.read_transfer(at.ledger, wanted_id)
                seen = settle.settle_connection(
                    at, record, connected=connected, operator=operator, reason=reason
                )
                _tell_connection(record, seen, as_json=as_json)
                return

            def act(record: TransferRecord) -> TransferOutcome:
                return settle.settle(
                    at, record, transferred=bool(transferred), operator=operator, reason=reason
                )

            if wanted_id is not None and not is_about_many:
                _tell(act(lookup.read_transfer(at.ledger, wanted_id)), as_json=as_json)
                return
            wanted = filters.read_filter(
                states=state, since=since, destination=destination, requester=requester, ended_as=ended_as
            )
            chosen = selection.select_transfers(at.ledger, wanted, command="resolve", limit=limit)
            verdict = (
                "transferred (submitted: transfer_confirmed)"
                if transferred
                else "NOT transferred (failed: not_transferred), so that each may be asked for again"
            )
            order = bulk.Order(
                command="resolve",
                question=f"Settle {{transfers}} as {verdict}?",
                done="settled",
                per_second=per_second,
                is_agreed=yes,
                as_json=as_json,
            )
            bulk.carry_out(at.ledger, order, chosen, _in_turn(act))


def cancel(
    reason: Reason,
    operator: Operator,
    wanted_id: MaybeId = None,
    state: filters.States = None,
    destination: filters.Destination = None,
    requester: filters.Requester = None,
    limit: filters.Limit = 100,
    per_second: filters.PerSecond = 5,
    yes: filters.Yes = False,
    as_json: AsJson = False,
) -> None:
    """Withdraw a transfer that has not been sent.

    Without an id, all that wait and that the options describe: they are listed, you are asked once, and each
    is withdrawn under your name.

    Examples:
      call-transfer cancel ID --reason "the caller hung up"
      call-transfer cancel --requester "agent billing-bot" --reason "it loops"

    Exit codes:
      0    cancelled, now or before
      1    too late: it is being sent, or has ended otherwise; or it is not on record; you said no; of many,
           one or more could not be withdrawn
      2    a wrong option or setting; nothing is withdrawn
      3    Redis can't be used; the same command again is safe
      130  Ctrl-C; what is withdrawn stays so
    """
    with expected_errors(as_json=as_json):
        is_about_many = filters.is_about_many(wanted_id, state, destination, requester)
        from transfer_worker.cli.act import bulk
        from transfer_worker.operations import lookup
        from transfer_worker.operations.acting import selection, settle

        with lookup.open_tools() as at:

            def act(record: TransferRecord) -> TransferOutcome:
                return settle.withdraw(at, record, operator=operator, reason=reason)

            if wanted_id is not None and not is_about_many:
                _tell(act(lookup.read_transfer(at.ledger, wanted_id)), as_json=as_json)
                return
            wanted = filters.read_filter(
                states=state, since=None, destination=destination, requester=requester, ended_as=None
            )
            chosen = selection.select_transfers(at.ledger, wanted, command="cancel", limit=limit)
            order = bulk.Order(
                command="cancel",
                question="Withdraw {transfers}?",
                done="withdrawn",
                per_second=per_second,
                is_agreed=yes,
                as_json=as_json,
            )
            bulk.carry_out(at.ledger, order, chosen, _in_turn(act))


def _in_turn(act: Callable[[TransferRecord], TransferOutcome]) -> Callable[[TransferRecord], Turn]:
    from transfer_worker.operations.acting.turns import Turn

    def take(record: TransferRecord) -> Turn:
        outcome = act(record)
        return Turn(record, is_done=True, told=f"{outcome.state} ({outcome.reason})")

    return take


def _tell_connection(record: TransferRecord, seen: ReportResult, *, as_json: bool) -> None:
    status = seen.connection.status if seen.connection else None
    if as_json:
        print_json({"transfer_id": record.transfer_id, "state": seen.state, "connection": status})
    else:
        typer.echo(f"{seen.state}, {status}: transfer {record.transfer_id}")


def _tell(outcome: TransferOutcome, *, as_json: bool) -> None:
    from transfer_worker.cli import send

    if as_json:
        print_json({"outcome": send.describe_outcome(outcome)})
    else:
        typer.echo(send.tell_outcome(outcome))
