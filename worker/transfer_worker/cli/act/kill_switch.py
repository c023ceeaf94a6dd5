"""`call-transfer pause` and `resume`: the kill switch."""

from __future__ import annotations

from typing import Annotated

import typer

from transfer_worker.cli.terminal import AsJson, Operator, Reason, expected_errors, print_json

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
