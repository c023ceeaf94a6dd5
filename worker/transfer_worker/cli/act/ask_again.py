"""`call-transfer replay`: the same once more; a real call may be moved, so somebody is asked."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from transfer_worker.cli import filters
from transfer_worker.cli.terminal import AsJson, MaybeId, Operator, Reason, expected_errors, print_json

if TYPE_CHECKING:
    from transfer_tasks.ledger.record import TransferRecord
    from transfer_worker.cli.act import bulk
    from transfer_worker.operations.acting.replay import Request
    from transfer_worker.operations.listing import Wanted
    from transfer_worker.operations.lookup import OperatorTools


def replay(
    reason: Reason,
    operator: Operator,
    wanted_id: MaybeId = None,
    for_seconds: Annotated[
        float | None,
        typer.Option(min=1, max=300, metavar="SECONDS", help="A new deadline; without, the old one holds."),
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Don't ask before a real call is moved.")] = False,
    wait: Annotated[bool, typer.Option(help="Wait until it is known how it ended.")] = True,
    state: filters.States = None,
    destination: filters.Destination = None,
    requester: filters.Requester = None,
    ended_as: filters.EndedAs = None,
    since: filters.Since = None,
    limit: filters.Limit = 100,
    per_second: filters.PerSecond = 5,
    as_json: AsJson = False,
) -> None:
    """Ask for a transfer once more: a new one of the same call, to the same place.

    Only where the call's last transfer is proven not to have moved it: refused while that one is open, and
    where it is submitted, or unknown without evidence. Asks first, unless all workers send to a sandbox on
    their own machine.

    Without an id, all that the options describe and that are their call's last: they are listed, you are
    asked once, whatever the workers send to, and each is asked for under your name. Unknowns are never among
    them.

    Examples:
      call-transfer replay ID --reason "sales are back" --for-seconds 15
      call-transfer replay --ended-as rate_limited --since 5m --reason "it is over" --for-seconds 15

    Exit codes:
      0    submitted: Piopiy accepted the request (with --no-wait: it is queued); of many, all of them
      1    refused, or ended in anything else, or no such transfer; you said no
      2    a wrong option or setting; nothing is queued
      3    Redis can't be used; see call-transfer show before you try again
      4    not known in time; the transfer goes on
      130  Ctrl-C; what is queued goes on
    """
    with expected_errors(as_json=as_json):
        is_about_many = filters.is_about_many(wanted_id, state, destination, requester, ended_as, since)
        from transfer_worker.cli.act import bulk
        from transfer_worker.operations import lookup
        from transfer_worker.operations.acting import replay

        with lookup.open_tools() as at:
            request = replay.Request(tools=at, operator=operator, reason=reason, for_seconds=for_seconds)
            if wanted_id is not None and not is_about_many:
                record = lookup.read_transfer(at.ledger, wanted_id)
                _replay_one(request, record, is_agreed=yes, is_waiting=wait, as_json=as_json)
            wanted = filters.read_filter(
                states=state, since=since, destination=destination, requester=requester, ended_as=ended_as
            )
            where = _name_platforms(at)
            platform = f"The platform is {where}, not a sandbox" if where else "The workers send to a sandbox"
            order = bulk.Order(
                command="replay",
                question=f"Ask for {{transfers}} again? {platform}.",
                done="asked for again",
                per_second=per_second,
                is_agreed=yes,
                as_json=as_json,
            )
            _replay_many(request, wanted, order, limit=limit, is_waiting=wait)


def _replay_one(
    request: Request, record: TransferRecord, *, is_agreed: bool, is_waiting: bool, as_json: bool
) -> NoReturn:
    from transfer_tasks.publisher import TransferPublisher
    from transfer_worker.cli import send

    last = request.check(record)
    if not is_agreed:
        _confirm(request.tools, record, is_silent=as_json)
    accepted, intent = request.ask_again(record, last=last)
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
    if not is_waiting:
        if as_json:
            print_json(answer)
        raise typer.Exit
    with TransferPublisher(request.tools.settings) as publisher:
        outcome = publisher.handle(accepted.transfer_id).outcome()
    if as_json:
        print_json({**answer, "outcome": send.describe_outcome(outcome)})
    else:
        typer.echo(send.tell_outcome(outcome))
    raise typer.Exit(send.exit_code_of(outcome))


def _replay_many(
    request: Request, wanted: Wanted, order: bulk.Order, *, limit: int, is_waiting: bool
) -> NoReturn:
    from transfer_tasks.errors import OutcomeTimeout
    from transfer_tasks.outcome import State
    from transfer_tasks.publisher import TransferPublisher
    from transfer_worker.cli.act import bulk
    from transfer_worker.operations.acting.selection import select_transfers
    from transfer_worker.operations.acting.turns import Turn

    ledger = request.tools.ledger
    chosen = select_transfers(
        ledger, wanted, command="replay", limit=limit, find_obstacle=request.find_obstacle
    )

    def act(record: TransferRecord) -> Turn:
        accepted, _ = request.ask_again(record, last=record)
        return Turn(record, is_done=True, told="queued", new_id=accepted.transfer_id)

    with TransferPublisher(request.tools.settings) as publisher:

        def follow(turn: Turn) -> Turn:
            try:
                outcome = publisher.handle(turn.new_id).outcome()
            except OutcomeTimeout as error:
                return turn._replace(is_done=False, told=str(error))
            told = f"{outcome.state} ({outcome.reason})"
            return turn._replace(is_done=outcome.state is State.SUBMITTED, told=told)

        bulk.carry_out(ledger, order, chosen, act, follow=follow if is_waiting else None)


def _confirm(at: OperatorTools, record: TransferRecord, *, is_silent: bool) -> None:
    """Ask before a real call may be moved."""
    from transfer_worker.errors import OperationMisused, OperationRefused

    where = _name_platforms(at)
    if not where:
        return
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


def _name_platforms(at: OperatorTools) -> str:
    """Return where the workers send to, unless it is to a sandbox on their own machine."""
    from transfer_worker.monitoring.present import read_present
    from transfer_worker.operations.acting.replay import find_real_platforms

    return ", ".join(find_real_platforms(read_present(at.ledger).workers))
