"""`call-transfer health`: whether the workers on this machine work; for the health check of a container."""

from __future__ import annotations

from typing import Annotated

import typer

from transfer_worker.cli.terminal import AsJson, expected_errors, print_json
from transfer_worker.exit_codes import Exit


def health(
    timeout: Annotated[
        float, typer.Option(metavar="SECONDS", min=0.1, help="How long a consumer may take to answer.")
    ] = 5.0,
    as_json: AsJson = False,
) -> None:
    """Say whether the workers on this machine work: a sign of life in Redis, and a consumer that answers.

    Example:
      call-transfer health

    Exit codes:
      0    there is a worker, and each works
      1    there is none, or one that does not answer
      2    the settings are wrong; all problems are listed
      3    Redis can't be used
    """
    with expected_errors(as_json=as_json):
        from transfer_worker.operations import lookup
        from transfer_worker.operations.health import check_health

        with lookup.open_tools() as at:
            found = check_health(at.ledger, timeout_seconds=timeout)
        if as_json:
            print_json(
                {
                    "is_good": found.is_good,
                    "beating": sorted(found.beating),
                    "answering": sorted(found.answering),
                }
            )
        else:
            typer.echo(f"{found.describe()}.")
        if not found.is_good:
            raise typer.Exit(Exit.FAILED)
