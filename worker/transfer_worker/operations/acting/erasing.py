"""`call-transfer erase`: what people have said in the transfers of one call goes from Redis."""

from __future__ import annotations

import base64
import json
import re
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, cast

import redis

from transfer_tasks.errors import LedgerUnavailable
from transfer_tasks.masking import mask_text
from transfer_tasks.redis.diagnosis import diagnose
from transfer_worker.audit.outbox import GROUP, whose_entry
from transfer_worker.errors import OperationMisused, OperationRefused
from transfer_worker.operations.lookup import UUID_LENGTH, read_story, refuse_id, spell_beginning
from transfer_worker.operations.quarantine import read_quarantine

if TYPE_CHECKING:
    from collections.abc import Iterator

    from transfer_tasks.ledger.ledger import Ledger
    from transfer_tasks.ledger.verdicts import Erased
    from transfer_worker.operations.lookup import OperatorTools

_PAGE: Final = 1000
_LOOK_AGAIN_SECONDS: Final = 0.2
_BASE64: Final = re.compile(r"[A-Za-z0-9+/]{40,}={0,2}")

NOT_REACHED: Final = (
    "Redis's append-only file, until it is rewritten (redis-cli BGREWRITEAOF); its slow log; "
    "its replicas' files, snapshots and backups; flower.db while no Flower runs, which forgets as it starts; "
    "the platform"
)
"""Where the text may still be, for whoever has to take it away there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Traces:
    """Where something of one call's transfers lies besides their records."""

    transfer_ids: list[str]
    lines: list[str]
    dead_letters: list[str]
    messages: list[tuple[str, str]]
    tags: list[str]


def erase(
    tools: OperatorTools, wanted_id: str, *, operator: str, reason: str, wait_seconds: float
) -> tuple[str, Erased]:
    """Erase; return the call, and what has gone. What was erased before is erased again.

    Args:
        tools: Where.
        wanted_id: A call's whole id, or that of one of its transfers: all of its call are erased.
        operator: Who does it.
        reason: Why, for people to read.
        wait_seconds: How long to wait until the call's audit lines are written.

    Raises:
        OperationMisused: It is only the beginning of an id: this can't be undone.
        OperationRefused: There is none, or one is open or unknown, or its lines were not written in time.
        LedgerUnavailable: Redis did not answer in time; the same again is safe.
    """
    if len(spell_beginning(wanted_id)) != UUID_LENGTH:
        raise OperationMisused(
            field="CALL_OR_TRANSFER_ID",
            problem=f"{mask_text(wanted_id)} is the beginning of an id, and this can't be undone",
            fix="Write the whole id.",
        )
    give_up_at = time.monotonic() + wait_seconds
    while True:
        records = read_story(tools.ledger, wanted_id)
        call_id, known = records[0].call_id, [record.transfer_id for record in records]
        traces = find_traces(tools.ledger, call_id, known, queue=tools.settings.queue)
        reply = tools.ledger.run(
            tools.commands.erase(
                call_id,
                transfer_ids=traces.transfer_ids,
                lines=traces.lines,
                audit_group=GROUP,
                dead_letters=traces.dead_letters,
                messages=traces.messages,
                tags=traces.tags,
                operator=operator,
                reason=mask_text(reason),
            )
        )
        if reply.verdict == "erased":
            return call_id, reply
        if reply.verdict not in {"unwritten", "changed"} or time.monotonic() >= give_up_at:
            raise _refuse(call_id, reply)
        time.sleep(_LOOK_AGAIN_SECONDS)


def _refuse(call_id: str, reply: Erased) -> OperationRefused:
    match reply.verdict:
        case "refused" if reply.state == "unknown":
            problem = f"transfer {reply.transfer_id} is unknown: what is known of it may be needed"
            fix = "Settle it first: call-transfer resolve."
        case "refused":
            problem = f"transfer {reply.transfer_id} has not ended"
            fix = "Wait for it, or withdraw it: call-transfer cancel."
        case "unwritten":
            problem = f"{reply.lines} of its audit lines are not written yet"
            fix = "A running worker writes them; see call-transfer doctor. Then the same again."
        case "changed":
            problem, fix = "new transfers of it come in", "The same again."
        case _:
            return refuse_id(f"nothing of call {call_id} is on record any more", "There is nothing to erase.")
    return OperationRefused(field="CALL_OR_TRANSFER_ID", problem=problem, fix=fix)


def find_traces(ledger: Ledger, call_id: str, transfer_ids: list[str], *, queue: str) -> Traces:
    """Return where something of these transfers lies.

    Raises:
        LedgerUnavailable: Redis did not answer in time.
    """
    try:
        lines = list(_find_lines(ledger, call_id, transfer_ids))
        # A refused message has a record, and no place in its call's list.
        others = {of for _, of in lines if of and of not in transfer_ids}
        ids = [*transfer_ids, *(of for of in sorted(others) if _is_of(ledger, of, call_id))]
        messages = [
            (name, element) for name, element in _list_queued(ledger, queue) if _read_task_id(element) in ids
        ]
        fetched = ledger.client.hscan_iter(ledger.keys.unacked, count=_PAGE)
        tags = [tag for tag, entry in fetched if _read_task_id(entry) in ids]
    except redis.RedisError as error:
        raise LedgerUnavailable(f"erase: {diagnose(error)}") from error
    names = [name for name in (call_id, *ids) if name]
    return Traces(
        transfer_ids=ids,
        lines=[line for line, _ in lines],
        dead_letters=[letter.entry for letter in read_quarantine(ledger) if mentions(letter.entry, names)],
        messages=messages,
        tags=tags,
    )


def _is_of(ledger: Ledger, transfer_id: str, call_id: str) -> bool:
    record = ledger.read(transfer_id)
    return record is not None and record.call_id == call_id


def _find_lines(ledger: Ledger, call_id: str, transfer_ids: list[str]) -> Iterator[tuple[str, str]]:
    """Yield the entries of the outbox that are of this call, each with its transfer."""
    since = "-"
    while page := cast(
        "list[tuple[str, dict[str, str]]]", ledger.client.xrange(ledger.keys.audit, since, count=_PAGE)
    ):
        for entry_id, fields in page:
            of_call, of = whose_entry(fields)
            if of_call == call_id if of_call else of in transfer_ids:
                yield entry_id, of
        since = f"({page[-1][0]}"


def _list_queued(ledger: Ledger, queue: str) -> Iterator[tuple[str, str]]:
    """Yield what is on the queue, and on kombu's lists of other priorities."""
    for name in (queue, *(f"{queue}\x06\x16{priority}" for priority in range(1, 10))):
        start = 0
        while page := cast("list[str]", ledger.client.lrange(name, start, start + _PAGE - 1)):
            yield from ((name, element) for element in page)
            start += _PAGE


def _read_task_id(text: str) -> str:
    """Return whose message this is, or whose is fetched; an empty text where it can't be read."""
    try:
        read: Any = json.loads(text)
        return str((read[0] if isinstance(read, list) else read)["headers"]["id"]).lower()
    except (ValueError, LookupError, TypeError, RecursionError):
        return ""


def mentions(text: str, ids: list[str]) -> bool:
    """Whether one of these UUIDs stands in a text, in whatever spelling, be it in Base64."""
    plain = _without_dashes("\n".join((text, *map(_decode, _BASE64.findall(text)))))
    return any(_without_dashes(name) in plain for name in ids)


def _decode(coded: str) -> str:
    whole = coded.rstrip("=")
    whole = whole[: len(whole) // 4 * 4] if len(whole) % 4 == 1 else whole + "=" * (-len(whole) % 4)
    return base64.b64decode(whole).decode("utf-8", "replace")


def _without_dashes(text: str) -> str:
    return text.replace("-", "").lower()
