"""The steps of operators: the kill switch, the quarantine, and what people have said."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pydantic_core import to_json

from transfer_tasks.ledger.commands import LedgerCommands
from transfer_tasks.ledger.verdicts import Erased

if TYPE_CHECKING:
    from collections.abc import Sequence

    from transfer_tasks.ledger.script import Command


class OperatorCommands(LedgerCommands):
    """Every step that a person takes, and no session or worker does."""

    def pause(self, destination: str, *, operator: str, reason: str, limit: int) -> Command[int]:
        """Stop everything to one destination; the reply is how many transfers that has ended."""
        return self._build(
            "pause", int, destination=destination, operator=operator, reason=reason, limit=limit
        )

    def resume(self, destination: str, *, operator: str, reason: str) -> Command[bool]:
        """Take one pause back; the reply is whether there was one."""
        return self._build("resume", bool, destination=destination, operator=operator, reason=reason)

    def acknowledge(self, call_id: str, *, operator: str, reason: str) -> Command[int]:
        """Say that a call that may have been moved twice was looked at; how many pairs of requests."""
        return self._build("acknowledge", int, call_id=call_id, operator=operator, reason=reason)

    def reveal(self, transfer_id: str, *, operator: str, reason: str) -> Command[bool]:
        """Write down who is about to see a transfer's metadata; the reply is whether it is on record."""
        return self._build("reveal", bool, transfer_id=transfer_id, operator=operator, reason=reason)

    def erase(
        self,
        call_id: str,
        *,
        transfer_ids: Sequence[str],
        lines: Sequence[str],
        audit_group: str,
        dead_letters: Sequence[str],
        messages: Sequence[tuple[str, str]],
        tags: Sequence[str],
        operator: str,
        reason: str,
    ) -> Command[Erased]:
        """Take away what people have said in the transfers of one call."""

        def parse(r: list[Any]) -> Erased:
            match r[0]:
                case "erased":
                    counts = [int(count) for count in r[1:]]
                    return Erased("erased", counts[0], counts[1], counts[2], counts[3])
                case "refused":
                    return Erased("refused", transfer_id=r[1], state=r[2])
                case "unwritten":
                    return Erased("unwritten", lines=int(r[1]))
                case verdict:
                    return Erased(verdict)

        return self._build(
            "erase",
            parse,
            call_id=call_id,
            transfer_ids=to_json(transfer_ids).decode(),
            lines=to_json(lines).decode(),
            audit_group=audit_group,
            dead_letters=to_json(dead_letters).decode(),
            messages=to_json(messages).decode(),
            tags=to_json(tags).decode(),
            operator=operator,
            reason=reason,
        )

    def drop_quarantined(self, entry: str, *, operator: str, reason: str) -> Command[bool]:
        """Take one entry out of the quarantine; the reply is whether it was there."""
        return self._build("drop_quarantined", bool, entry=entry, operator=operator, reason=reason)

    def adopt(
        self,
        transfer_id: str,
        *,
        tag: str,
        entry: str,
        message: str,
        queue: str,
        operator: str,
        reason: str,
    ) -> Command[bool]:
        """Put a message back into the queue that lies under kombu's default names; whether it was there."""
        return self._build(
            "adopt",
            bool,
            transfer_id=transfer_id,
            tag=tag,
            entry=entry,
            message=message,
            queue=queue,
            operator=operator,
            reason=reason,
        )
