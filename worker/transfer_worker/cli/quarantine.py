"""`call-transfer quarantine …`: poison from the queue, for an engineer to read and to throw away."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from transfer_worker.cli.terminal import AsJson, Operator, expected_errors, make_console, print_json

if TYPE_CHECKING:
    from transfer_worker.operations.quarantine import Poison

app = typer.Typer(no_args_is_help=True)
PoisonId = Annotated[str, typer.Argument(metavar="ID", help="As `list` shows it.")]


@app.callback()
def quarantine() -> None:
    """Queue messages that could not be served. The last 1,000 are kept; none is ever served again."""


@app.command("list")
def list_(as_json: AsJson = False) -> None:
    """List what is in quarantine, the newest first.

    Exit codes:
      0  looked, also where there is none
      2  the settings are wrong; all problems are listed
      3  Redis can't be used
    """
    with expected_errors(as_json=as_json):
        from transfer_worker.cli import status_screen
        from transfer_worker.operations import lookup
        from transfer_worker.operations.quarantine import read_quarantine

        with lookup.open_tools() as at:
            found = [poison.describe(is_whole=False) for poison in read_quarantine(at.ledger)]
        if as_json:
            print_json({"quarantine": found})
        elif found:
            make_console().print(status_screen.draw_quarantine(found))
        else:
            typer.echo("None.")


@app.command()
def show(poison_id: PoisonId, as_json: AsJson = False) -> None:
    """Show one element, masked; at most its first 4 KiB were kept.

    Exit codes:
      0  found
      1  there is none
      2  the settings are wrong; all problems are listed
      3  Redis can't be used
    """
    with expected_errors(as_json=as_json):
        from transfer_worker.operations import lookup
        from transfer_worker.operations.quarantine import read_quarantine

        with lookup.open_tools() as at:
            shown = _find(read_quarantine(at.ledger), poison_id).describe(is_whole=True)
        if as_json:
            print_json(shown)
            return
        typer.echo(f"{shown['at']}  {shown['why']}  {shown['size_bytes']} bytes")
        if shown["transfer_id"]:
            typer.echo(f"its transfer: call-transfer show {shown['transfer_id']}")
        typer.echo(shown["element"])


@app.command()
def drop(
    operator: Operator,
    poison_id: Annotated[str | None, typer.Argument(metavar="[ID]", help="As `list` shows it.")] = None,
    everything: Annotated[bool, typer.Option("--all", help="All that is there now.")] = False,
    reason: Annotated[str, typer.Option("--reason", help="Why, for people to read.")] = "",
    as_json: AsJson = False,
) -> None:
    """Throw elements away. The audit log keeps that there was one, and who threw it away.

    Exit codes:
      0  gone
      1  there is none
      2  a wrong option or setting
      3  Redis can't be used; the same command again is safe
    """
    with expected_errors(as_json=as_json):
        from transfer_tasks.masking import mask_text
        from transfer_worker.errors import OperationMisused
        from transfer_worker.operations import lookup
        from transfer_worker.operations.quarantine import read_quarantine

        if bool(poison_id) == everything:
            raise OperationMisused(
                field="ID",
                problem="both one and --all" if everything else "neither one nor --all",
                fix="call-transfer quarantine list shows the ids.",
            )
        with lookup.open_tools() as at:
            found = read_quarantine(at.ledger)
            chosen = found if poison_id is None else [_find(found, poison_id)]
            dropped = sum(
                at.ledger.run(
                    at.commands.drop_quarantined(poison.entry, operator=operator, reason=mask_text(reason))
                )
                for poison in chosen
            )
        if as_json:
            print_json({"dropped": dropped})
        else:
            typer.echo(f"{dropped} dropped.")


@app.command()
def adopt(
    operator: Operator,
    reason: Annotated[str, typer.Option("--reason", help="Why, for people to read.")] = "",
    as_json: AsJson = False,
) -> None:
    """Put messages of ours back into the queue that lie among another application's.

    A worker whose Celery uses kombu's default names leaves them there when it is killed. Stop it first; what
    has been carried out already is not carried out again.

    Exit codes:
      0  done, also where there is none
      2  a wrong option or setting
      3  Redis can't be used; the same command again is safe
    """
    with expected_errors(as_json=as_json):
        from transfer_tasks.masking import mask_text
        from transfer_worker.operations import lookup
        from transfer_worker.operations.neighbours import find_left_behind

        with lookup.open_tools() as at:
            adopted = sum(
                at.ledger.run(
                    at.commands.adopt(
                        message.transfer_id,
                        tag=message.tag,
                        entry=message.entry,
                        message=message.message,
                        queue=at.settings.queue,
                        operator=operator,
                        reason=mask_text(reason),
                    )
                )
                for message in find_left_behind(at.ledger)
            )
        if as_json:
            print_json({"adopted": adopted})
        else:
            typer.echo(f"{adopted} adopted.")


def _find(found: list[Poison], poison_id: str) -> Poison:
    from transfer_tasks.masking import mask_text
    from transfer_worker.errors import OperationRefused

    for poison in found:
        if poison.poison_id == poison_id:
            return poison
    raise OperationRefused(
        field="ID",
        problem=f"there is no {mask_text(poison_id)!r} in quarantine",
        fix="call-transfer quarantine list shows the ids.",
    )
