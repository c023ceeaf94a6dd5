"""`call-transfer acknowledge`: whoever has looked at a call that may have been moved twice says so."""

from __future__ import annotations

import typer

from transfer_worker.cli.terminal import AsJson, Operator, Reason, WantedId, expected_errors, print_json


def acknowledge(
    wanted_id: WantedId,
    reason: Reason,
    operator: Operator,
    as_json: AsJson = False,
) -> None:
    """Say that you have looked at a call that may have been moved twice.

    The status no longer names it, and the alert CallMovedTwice ends when no other call is left. The total
    stays, and the audit log keeps your name and reason. Nothing of the call's transfers changes.

    Exit codes:
      0  acknowledged
      1  there is nothing to acknowledge: no such call, or somebody did
      2  a wrong option or setting
      3  Redis can't be used; the same command again is safe
    """
    with expected_errors(as_json=as_json):
        from transfer_tasks.masking import mask_text
        from transfer_worker.operations import double_posts, lookup

        with lookup.open_tools() as at:
            call_id = double_posts.find_call(at.ledger, wanted_id)
            pairs = at.ledger.run(
                at.commands.acknowledge(call_id, operator=operator, reason=mask_text(reason))
            )
            left = double_posts.read_double_posts(at.ledger)
        if not pairs:  # somebody was faster
            raise double_posts.refuse(call_id, left)
        calls = list(dict.fromkeys(double.call_id for double in left))
        if as_json:
            print_json({"call_id": call_id, "acknowledged": pairs, "unacknowledged_calls": calls})
        else:
            still = f"Still to be looked at: {', '.join(calls)}" if calls else "Nothing else is left"
            typer.echo(f"Acknowledged: call {call_id}. {still}.")
