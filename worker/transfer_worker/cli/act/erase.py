"""`call-transfer erase`: what people have said in the transfers of one call goes, on an engineer's word."""

from __future__ import annotations

from typing import Annotated

import typer

from transfer_worker.cli.terminal import AsJson, Operator, Reason, WantedId, expected_errors, print_json


def erase(
    wanted_id: WantedId,
    reason: Reason,
    operator: Operator,
    wait: Annotated[
        float,
        typer.Option(min=0, max=300, metavar="SECONDS", help="Wait so long for audit lines to be written."),
    ] = 10,
    as_json: AsJson = False,
) -> None:
    """Take away what people have said in all transfers of one call. This can't be undone.

    Intents, metadata, the platform's answers, reasons and who asked go from the records, the queue, the
    quarantine and the outbox. What suppresses repeats stays: ids, keys, digests, states and times. No file is
    changed: none has any of it. The audit log keeps that it was done, your name and your reason.

    Refused while a transfer of the call is open, or unknown.

    Exit codes:
      0  erased, now or before
      1  a transfer is open or unknown, audit lines are not written yet, or nothing is on record
      2  a wrong option or setting, or not a whole id
      3  Redis can't be used; the same command again is safe
    """
    with expected_errors(as_json=as_json):
        from transfer_worker.operations import lookup
        from transfer_worker.operations.acting import erasing

        with lookup.open_tools() as at:
            call_id, gone = erasing.erase(at, wanted_id, operator=operator, reason=reason, wait_seconds=wait)
        if as_json:
            print_json(
                {
                    "call_id": call_id,
                    "transfers": gone.transfers,
                    "audit_lines": gone.lines,
                    "dead_letters": gone.dead_letters,
                    "messages": gone.messages,
                    "not_reached": erasing.NOT_REACHED,
                }
            )
        else:
            typer.echo(
                f"Erased: call {call_id}. Transfers: {gone.transfers}. Audit lines in Redis: {gone.lines}. "
                f"Dead letters: {gone.dead_letters}. Messages: {gone.messages}."
            )
            typer.echo(f"Not reached: {erasing.NOT_REACHED}.")
