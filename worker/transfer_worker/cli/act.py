"""The commands that change something: replay, resolve, cancel, pause, resume. Each is audited with a name."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from transfer_worker.cli.terminal import AsJson, Operator, Reason, WantedId, expected_errors, print_json

if TYPE_CHECKING:
    from transfer_tasks.ledger.record import TransferRecord
    from transfer_worker.operations.lookup import OperatorTools

_CHOICE = "--transferred/--not-transferred"


def replay(
    wanted_id: WantedId,
    reason: Reason,
    operator: Operator,
    for_seconds: Annotated[
        float | None,
        typer.Option(min=1, max=300, metavar="SECONDS", help="A new deadline; without, the old one holds."),
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Don't ask before a real call is moved.")] = False,
    wait: Annotated[bool, typer.Option(help="Wait until it is known how it ended.")] = True,
    as_json: AsJson = False,
) -> None:
    """Ask for a transfer once more: a new one of the same call, to the same place.

    Only where the call's last transfer is proven not to have moved it: refused while that one is open, and
    where it is submitted, or unknown without evidence. Asks first, unless all workers send to a sandbox on
    their own machine.

    Exit codes:
      0    submitted: Piopiy accepted the request (with --no-wait: it is queued)
      1    refused, or ended in anything else, or no such transfer
      2    a wrong option or setting; nothing is queued
      3    Redis can't be used; see call-transfer show before you try again
      4    not known in time; the transfer goes on
      130  Ctrl-C; what is queued goes on
    """
    with expected_errors(as_json=as_json):
        from transfer_tasks.publisher import TransferPublisher
        from transfer_worker.cli import send
        from transfer_worker.operations import lookup, replay

        with lookup.open_tools() as at:
            record = lookup.read_transfer(at.ledger, wanted_id)
            replay.check_replay(at, record, for_seconds=for_seconds)
            if not yes:
                _confirm(at, record, is_silent=as_json)
            accepted, intent = replay.replay(
                at, record, operator=operator, reason=reason, for_seconds=for_seconds
            )
            settings = at.settings
        answer = {
            "transfer_id": accepted.transfer_id,
            "call_id": intent.call_id,
            "replay_of": record.transfer_id,
            "idempotency_key": accepted.idempotency_key,
            "hop": accepted.hop,
            "outcome": None,
        }
        if not as_json:
            typer.echo(
                f"accepted: transfer {accepted.transfer_id}, number {accepted.hop} of call {intent.call_id}"
            )
        if not wait:
            if as_json:
                print_json(answer)
            return
        with TransferPublisher(settings) as publisher:
            outcome = publisher.handle(accepted.transfer_id).outcome()
        if as_json:
            print_json({**answer, "outcome": send.describe_outcome(outcome)})
        else:
            typer.echo(send.tell_outcome(outcome))
        raise typer.Exit(send.exit_code_of(outcome))


def _confirm(at: OperatorTools, record: TransferRecord, *, is_silent: bool) -> None:
    """Ask before a real call may be moved."""
    from transfer_worker.errors import OperationMisused, OperationRefused
    from transfer_worker.monitoring.present import read_present
    from transfer_worker.operations.replay import find_real_platforms

    platforms = find_real_platforms(read_present(at.ledger).workers)
    if not platforms:
        return
    where = ", ".join(platforms)
    if is_silent or not sys.stdin.isatty():
        raise OperationMisused(
            field="--yes",
            problem=f"this may move a real call (platform: {where}), and nobody is there to be asked",
            fix="If it is meant, add --yes.",
        )
    to = f"{record.labels.get('destination', '?')} {record.labels.get('to', '')}".strip()
    if not typer.confirm(
        f"Move call {record.call_id} to {to}? The platform is {where}, not a sandbox.", err=True
    ):
        raise OperationRefused(field="replay", problem="you said no", fix="Nothing is queued.")


def resolve(
    wanted_id: WantedId,
    reason: Reason,
    operator: Operator,
    transferred: Annotated[
        bool | None,
        typer.Option(_CHOICE, help="What the evidence says; one of the two.", show_default=False),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Settle an unknown by evidence: Piopiy's call log, or the caller's own word.

    --not-transferred lets the same be asked for again, so be sure.

    Exit codes:
      0  settled, or settled so before
      1  it is not unknown, or not on record
      2  a wrong option or setting
      3  Redis can't be used; the same command again is safe
    """
    with expected_errors(as_json=as_json):
        from transfer_tasks.ledger.verdicts import Ended
        from transfer_tasks.masking import mask_text
        from transfer_worker.cli import send
        from transfer_worker.errors import OperationMisused, OperationRefused
        from transfer_worker.operations import lookup

        if transferred is None:
            raise OperationMisused(
                field=_CHOICE, problem="neither is given", fix="Say which of the two the evidence shows."
            )
        with lookup.open_tools() as at:
            record = lookup.read_transfer(at.ledger, wanted_id)
            seen = at.ledger.run(
                at.commands.resolve(
                    record.transfer_id,
                    transferred=transferred,
                    source="operator",
                    detail=f"{operator}: {mask_text(reason)}",
                )
            )
        if not isinstance(seen, Ended):
            raise OperationRefused(
                field="CALL_OR_TRANSFER_ID",
                problem=f"{record.transfer_id} is {record.state}, and only an unknown can be settled",
                fix=f"See: call-transfer show {record.transfer_id}",
            )
        if as_json:
            print_json({"outcome": send.describe_outcome(seen.outcome)})
        else:
            typer.echo(send.tell_outcome(seen.outcome))


def cancel(
    wanted_id: WantedId,
    reason: Reason,
    operator: Operator,
    as_json: AsJson = False,
) -> None:
    """Withdraw a transfer that has not been sent.

    Exit codes:
      0  cancelled, now or before
      1  too late: it is being sent, or has ended otherwise; or it is not on record
      2  a wrong option or setting
      3  Redis can't be used; the same command again is safe
    """
    with expected_errors(as_json=as_json):
        from transfer_tasks.ledger.verdicts import Ended
        from transfer_tasks.masking import mask_text
        from transfer_tasks.outcome import Reason as Why
        from transfer_worker.cli import send
        from transfer_worker.errors import OperationRefused
        from transfer_worker.operations import lookup

        with lookup.open_tools() as at:
            record = lookup.read_transfer(at.ledger, wanted_id)
            is_cancelled, seen = at.ledger.run(
                at.commands.cancel(
                    record.transfer_id,
                    reason=Why.CANCELLED_BY_OPERATOR,
                    source="operator",
                    detail=f"{operator}: {mask_text(reason)}",
                )
            )
        if not is_cancelled or not isinstance(seen, Ended):
            stands = f"has ended {seen.outcome.state}" if isinstance(seen, Ended) else "is being sent"
            raise OperationRefused(
                field="CALL_OR_TRANSFER_ID",
                problem=f"too late: {record.transfer_id} {stands}",
                fix=f"See: call-transfer show {record.transfer_id}",
            )
        if as_json:
            print_json({"outcome": send.describe_outcome(seen.outcome)})
        else:
            typer.echo(send.tell_outcome(seen.outcome))


Destination = Annotated[
    str | None,
    typer.Argument(
        metavar="[DESTINATION]", help="A name from the registry; endpoints or pipeline for those without one."
    ),
]


def pause(
    reason: Reason,
    operator: Operator,
    destination: Destination = None,
    everything: Annotated[bool, typer.Option("--all", help="All destinations.")] = False,
    force: Annotated[
        bool, typer.Option("--force", help="Also a name that no registry here and no transfer so far knows.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """The kill switch: nothing is sent to a destination, or to any, until it is resumed.

    What waits for it ends at once as rejected (destination_paused), and so does what is asked for later, so
    that sessions can speak. What is between two attempts gets no other; a request that is out can't be called
    back. It lasts while any worker runs, and TRANSFER_RECORD_TTL_HOURS after the last one.

    Exit codes:
      0  paused
      2  a wrong option or setting, or a name that nothing knows
      3  Redis can't be used; the same command again is safe
    """
    with expected_errors(as_json=as_json):
        from transfer_tasks.masking import mask_text
        from transfer_worker.operations import lookup, pauses, pausing

        name = pausing.choose_destination(destination, is_all=everything)
        with lookup.open_tools() as at:
            if not force:
                pausing.check_name(at, name)
            ended = at.ledger.run(
                at.commands.pause(
                    name, operator=operator, reason=mask_text(reason), limit=pausing.ENDED_AT_ONCE
                )
            )
            paused = [pause.destination for pause in pauses.read_pauses(at.ledger)]
        if as_json:
            print_json({"destination": name, "ended_transfers": ended, "paused": paused})
        else:
            typer.echo(
                f"Paused: {', '.join(map(pauses.name_for_people, paused))}. Transfers ended by it: {ended}."
            )


def resume(
    operator: Operator,
    destination: Destination = None,
    everything: Annotated[
        bool, typer.Option("--all", help="Take `pause --all` back; single pauses stay.")
    ] = False,
    reason: Annotated[str, typer.Option("--reason", help="Why, for people to read.")] = "",
    as_json: AsJson = False,
) -> None:
    """Take a pause back. What it has ended stays ended.

    Exit codes:
      0  resumed
      1  it was not paused
      2  a wrong option or setting
      3  Redis can't be used; the same command again is safe
    """
    with expected_errors(as_json=as_json):
        from transfer_tasks.masking import mask_text
        from transfer_worker.errors import OperationRefused
        from transfer_worker.operations import lookup, pauses, pausing

        name = pausing.choose_destination(destination, is_all=everything)
        with lookup.open_tools() as at:
            was_paused = at.ledger.run(at.commands.resume(name, operator=operator, reason=mask_text(reason)))
            paused = [pause.destination for pause in pauses.read_pauses(at.ledger)]
        shown = pauses.name_for_people(name)
        names = ", ".join(map(pauses.name_for_people, paused))
        still = f"Still paused: {names}" if paused else "Nothing is paused"
        if not was_paused:
            raise OperationRefused(field="DESTINATION", problem=f"{shown} was not paused", fix=f"{still}.")
        if as_json:
            print_json({"destination": name, "paused": paused})
        else:
            typer.echo(f"Resumed: {shown}. {still}.")
