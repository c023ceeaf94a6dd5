"""The commands that ask something: send, show, doctor."""

from __future__ import annotations

from typing import Annotated

import typer

from transfer_worker.cli.terminal import (
    AsJson,
    OperatorIfNeeded,
    WantedId,
    check_operator,
    expected_errors,
    make_console,
    print_json,
)
from transfer_worker.exit_codes import Exit


def send(
    call_id: Annotated[str, typer.Option(help="The live call to move: its UUID, in any spelling.")],
    to: Annotated[
        list[str] | None,
        typer.Option(
            metavar="DEST",
            help="support (a name from the registry), +12025550143, sip:user@host or agent:UUID; "
            "addresses may be given several times.",
        ),
    ] = None,
    pipeline: Annotated[
        str | None,
        typer.Option(metavar="FILE", help="A PCMO pipeline as JSON instead of --to; - for stdin."),
    ] = None,
    caller_id: Annotated[str | None, typer.Option(help="The number that the new leg shows.")] = None,
    reason: Annotated[str | None, typer.Option(help="What the caller wants, for people to read.")] = None,
    requested_by: Annotated[str, typer.Option(help="Who asks, for people to read.")] = "call-transfer send",
    expires_in: Annotated[
        float | None, typer.Option(metavar="SECONDS", show_default="15", help="Nobody may send after that.")
    ] = None,
    idempotency_key: Annotated[
        str | None, typer.Option(help="A key of your own, to recognise repeats by.")
    ] = None,
    metadata: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=VALUE", help="Travels to the platform; may be given several times."),
    ] = None,
    wait: Annotated[bool, typer.Option(help="Wait until it is known how it ended.")] = True,
    timeout: Annotated[
        float | None,
        typer.Option(
            metavar="SECONDS",
            min=0,
            show_default="until the deadline, and 15 s more",
            help="Wait so long.",
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Ask for a call to be moved, and say how that ended.

    Examples:
      call-transfer send --call-id UUID --to support --reason "the invoice is wrong"
      call-transfer send --call-id UUID --to "+1 202-555-0143" --caller-id "+1 202-555-0100"
      call-transfer send --call-id UUID --pipeline pipeline.json --no-wait --json

    Exit codes:
      0    submitted: Piopiy accepted the request (with --no-wait: it is queued)
      1    ended in anything else, or another transfer of the call stands in the way
      2    a wrong option, request or setting; nothing is queued
      3    Redis can't be used; the same command again is safe
      4    not known yet within --timeout; the transfer goes on
      130  Ctrl-C while waiting; the transfer goes on
    """
    with expected_errors(as_json=as_json):
        from transfer_tasks.publisher import TransferPublisher
        from transfer_worker.cli import send

        intent = send.build_intent(
            to=to or [],
            pipeline=pipeline,
            metadata=metadata or [],
            call_id=call_id,
            caller_id=caller_id,
            reason=reason,
            requested_by=requested_by,
            expires_in_seconds=expires_in,
            idempotency_key=idempotency_key,
        )
        with TransferPublisher() as publisher:
            handle = publisher.submit(intent)
            answer = send.describe_handle(handle, intent)
            if not as_json:
                kind = "a repeat of" if handle.is_repeat else "accepted:"
                typer.echo(f"{kind} transfer {handle.transfer_id} of call {intent.call_id}")
            if not wait:
                if as_json:
                    print_json(answer)
                return
            try:
                outcome = handle.outcome(timeout)
            except KeyboardInterrupt:
                typer.echo(
                    f"call-transfer: the transfer goes on. See: call-transfer show {handle.transfer_id}",
                    err=True,
                )
                raise
        if as_json:
            print_json({**answer, "outcome": send.describe_outcome(outcome)})
        else:
            typer.echo(send.tell_outcome(outcome))
        raise typer.Exit(send.exit_code_of(outcome))


def show(
    wanted_id: WantedId,
    operator: OperatorIfNeeded,
    reveal: Annotated[
        bool, typer.Option("--reveal", help="Show metadata as it was given. The audit log has who did.")
    ] = False,
    reason: Annotated[str, typer.Option("--reason", help="Why you reveal it, for people to read.")] = "",
    as_json: AsJson = False,
) -> None:
    """Tell the whole story of a call: every transfer of it, each attempt, who asked, and how it ended.

    Numbers and metadata are masked.

    Exit codes:
      0  found
      1  nothing is on record, or it is the beginning of several
      2  it is no id, --reveal without a name, or the settings are wrong; all problems are listed
      3  Redis can't be used; nothing was revealed
    """
    with expected_errors(as_json=as_json):
        from transfer_tasks.masking import mask_text
        from transfer_worker.cli import tables
        from transfer_worker.operations import describe, lookup

        name = check_operator(operator) if reveal else ""
        with lookup.open_tools() as at:
            records = lookup.read_story(at.ledger, wanted_id)
            if reveal:
                for record in filter(describe.read_metadata, records):
                    at.ledger.run(
                        at.commands.reveal(record.transfer_id, operator=name, reason=mask_text(reason))
                    )
            story = describe.describe_story(records, at.ledger, reveals_metadata=reveal)
        if as_json:
            print_json(story)
        else:
            tables.print_story(make_console(), story)


def doctor(as_json: AsJson = False) -> None:
    """Look at everything that a worker needs before it starts, and say what to do about what is wrong.

    Also: how fast Redis answers, whether it is durable and has room, whether the clocks agree, whether the
    token is accepted (a sandbox is asked; of the platform, the workers' last answers are looked at), whether
    Flower is safe, and whether the workers run this version. Where a worker's own settings are missing
    (PIOPIY_TOKEN, say), all the rest is looked at.

    Exit codes:
      0  a worker can work, warnings or not
      1  it can't: there is a problem
      2  the settings are wrong, not even Redis can be looked at; all problems are listed
    """
    with expected_errors(as_json=as_json):
        from transfer_worker.cli import tables
        from transfer_worker.operations import doctor
        from transfer_worker.runtime.findings import Verdict

        findings = doctor.run_doctor()
        has_problem = any(finding.verdict is Verdict.PROBLEM for finding in findings)
        if as_json:
            print_json({"ok": not has_problem, "findings": [doctor.describe_finding(f) for f in findings]})
        else:
            tables.print_findings(make_console(), findings)
        raise typer.Exit(Exit.FAILED if has_problem else Exit.OK)
