"""Whose webhook is it? By call, conversation and number; where that leaves a doubt, nobody guesses.

::

    leg a: its id is the call's        ──▶ conversation = call     (kept for two hours)
    leg b: conversation ──▶ call ──▶ its transfers ──▶ the one that called this number ──▶ report
              └ not known yet: the body is kept for a minute, until leg a has come
"""

from __future__ import annotations

from datetime import timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from transfer_tasks.connection import (
    ConnectionReport,
    ConnectionStatus,
    ReportSource,
    read_call_id,
)
from transfer_tasks.errors import InvalidIntent
from transfer_tasks.intent import TransferIntent
from transfer_tasks.intent.actions import Connect
from transfer_tasks.intent.destination import EndpointsDestination, NamedDestination, PipelineDestination
from transfer_tasks.registry.ring_time import longest_ring_seconds
from transfer_worker.webhooks.reading import LegNews, read_address, read_webhook

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from transfer_tasks.intent.endpoints import Endpoint
    from transfer_tasks.ledger.ledger import Ledger
    from transfer_tasks.ledger.record import TransferRecord
    from transfer_tasks.registry.destinations import Destination

CLOCK_SLACK: Final = timedelta(seconds=10)
"""How far the platform's clock and Redis's may be apart."""


class Taken(StrEnum):
    """What became of one webhook that could be read, besides the ledger's verdicts on a report."""

    LEARNED = "learned"
    """It is of the caller's leg: the conversation's call is known now."""
    HELD = "held"
    """Its conversation is not known yet; it is kept for a minute."""
    OF_ANOTHER = "of_another"
    """No transfer of ours has called this number."""
    ONE_OF_SEVERAL = "one_of_several"
    """One of several endpoints did not pick up, which says nothing of the others."""
    SAYS_NOTHING = "says_nothing"


class Matcher:
    """Takes webhooks, one at a time, and reports what they say. Safe for threads.

    Args:
        ledger: The ledger; everything that has to be remembered is there when `take` returns.
        destinations: The registry, which knows the numbers behind names.
    """

    def __init__(self, ledger: Ledger, destinations: Mapping[str, Destination]) -> None:
        self._ledger, self._destinations = ledger, destinations

    def take(self, body: bytes) -> list[str]:
        """Take one webhook, and those that have waited for it; return what became of each.

        Raises:
            UnreadableWebhook: It is not a JSON object.
            LedgerUnavailable: Redis did not answer in time, or refused: it must be sent again.
        """
        news = read_webhook(body)
        if news is None:
            return [Taken.SAYS_NOTHING]
        commands = self._ledger.commands
        conversation = read_call_id(news.conversation) or news.conversation
        if news.is_first_leg:
            if not news.call_id:
                return [Taken.SAYS_NOTHING]
            heard = self._ledger.run(commands.hear_webhook(conversation, call_id=news.call_id))
            return [Taken.LEARNED, *self._take_kept(heard.call_id, heard.kept)]
        if news.status is None:
            return [Taken.SAYS_NOTHING]
        heard = self._ledger.run(commands.hear_webhook(conversation, body=body.decode()))
        if not heard.call_id:
            return [Taken.HELD]
        return [self._report(heard.call_id, news)]

    def _take_kept(self, call_id: str, bodies: tuple[str, ...]) -> Iterator[str]:
        """Report what has waited. It stays where it is until its minute is over: reports may be repeated."""
        for body in bodies:
            news = read_webhook(body.encode())
            if news is not None:
                yield self._report(call_id, news)

    def _report(self, call_id: str, news: LegNews) -> str:
        status = news.status
        calling = [
            (record, intent)
            for record in self._ledger.read_call(call_id)
            if _may_have_begun(record, news)
            and (intent := _read_intent(record))
            and news.to
            and news.to in self._addresses(intent)
        ]
        if not calling or status is None:
            return Taken.OF_ANOTHER
        only = _choose([record for record, _ in calling], news)
        meant = [(record, intent) for record, intent in calling if only in {None, record.transfer_id}]
        if status is ConnectionStatus.NOT_CONNECTED and any(
            len(self._addresses(intent)) > 1 for _, intent in meant
        ):
            return Taken.ONE_OF_SEVERAL
        report = ConnectionReport(
            call_id=call_id,
            request_id="",
            transfer_id=only or "",
            status=status,
            source=ReportSource.WEBHOOK,
            at=news.at,
        )
        ring_seconds = longest_ring_seconds(meant[-1][1], self._destinations)
        result = self._ledger.run(
            self._ledger.commands.report_connection(report, longest_ring_seconds=ring_seconds)
        )
        return result.verdict

    def _addresses(self, intent: TransferIntent) -> list[str]:
        return [
            read_address(text)
            for leg in self._legs(intent)
            if (text := getattr(leg, "number", None) or getattr(leg, "uri", None) or getattr(leg, "id", ""))
        ]

    def _legs(self, intent: TransferIntent) -> list[Endpoint]:
        match intent.destination:
            case NamedDestination(name=name):
                listed = self._destinations.get(name)
                return list(listed.endpoints) if listed else []
            case EndpointsDestination(endpoints=endpoints):
                return list(endpoints)
            case PipelineDestination(pipeline=actions):
                return [leg for action in actions if isinstance(action, Connect) for leg in action.endpoints]


def _read_intent(record: TransferRecord) -> TransferIntent | None:
    try:
        return TransferIntent.from_elsewhere(record.intent_json)
    except InvalidIntent:
        return None


def _may_have_begun(record: TransferRecord, news: LegNews) -> bool:
    """Whether this transfer can have called the leg: none begins before its transfer was asked for."""
    if news.began_at is None:
        return True
    return (news.began_at + CLOCK_SLACK).timestamp() * 1000 >= record.accepted_at_ms


def _choose(calling: list[TransferRecord], news: LegNews) -> str | None:
    """Return the transfer that has called this number; None where it may be one of several.

    Where a call was transferred to the same number more than once, the leg's beginning tells them apart.
    """
    last = calling[-1]
    if len(calling) == 1:
        return last.transfer_id
    is_certain = (
        news.began_at is not None and (news.began_at - CLOCK_SLACK).timestamp() * 1000 >= last.accepted_at_ms
    )
    return last.transfer_id if is_certain else None
