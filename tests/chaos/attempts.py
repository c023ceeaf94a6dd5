"""Attempt by attempt: what the record, the audit log and the sandbox say of one transfer."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Final

from chaos.history import destination_of
from transfer_tasks.outcome import Reason

if TYPE_CHECKING:
    from collections.abc import Iterator

    from chaos.history import Line, Post
    from transfer_tasks.ledger.record import TransferRecord

NEVER_SENT: Final = frozenset({Reason.NOT_SENT, Reason.PLATFORM_UNREACHABLE})
NEAR_MS: Final = 50.0


def check_attempts(record: TransferRecord, lines: list[Line], posts: list[Post]) -> Iterator[str]:
    """Yield every disagreement about one transfer, as a sentence without its subject."""
    begun = [line for line in lines if line.event == "attempt_started"]
    if len(begun) != record.attempts:
        yield f"has {record.attempts} attempts on record and {len(begun)} in the audit log"
    endings = [line for line in lines if line.event in {"finished", "resolved"}]
    if endings:
        said = (endings[-1].fields.get("state"), endings[-1].fields.get("reason"))
        if said != (record.state, record.reason):
            yield f"is {record.state} ({record.reason}) on record and {said[0]} ({said[1]}) in the audit log"
    yield from _check_posts(record, posts)
    yield from _match_in_time(begun, endings, posts)


def _check_posts(record: TransferRecord, posts: list[Post]) -> Iterator[str]:
    notes = record.attempt_notes
    answered = [note["http_status"] for note in notes if note.get("http_status") is not None]
    unsent = sum(note.get("reason") in NEVER_SENT for note in notes)
    most = record.attempts - unsent
    if not len(answered) <= len(posts) <= most:
        yield f"has {len(posts)} POSTs where {len(answered)} to {most} are possible"
    # What came along with an answer may have been read in its place.
    is_disturbed = any(post.is_disturbed for post in posts)
    if not is_disturbed and (missing := Counter(answered) - Counter(post.status for post in posts)):
        yield f"has answers on record that the sandbox never gave: {dict(missing)}"
    for post in posts:
        if post.call_id != record.call_id:
            yield f"moved another call: {post.call_id}"
        if post.to != destination_of(record):
            yield f"went to {post.to} instead of {destination_of(record)}"


def _match_in_time(begun: list[Line], endings: list[Line], posts: list[Post]) -> Iterator[str]:
    """Every POST must belong to an attempt that had begun."""
    for number, post in enumerate(posts, 1):
        earlier = sum(line.at_ms <= post.at_ms + NEAR_MS for line in begun)
        if earlier < number:
            yield f"POST {number} came when {earlier} attempts had begun"
    # An ending that recovery wrote may be overtaken by the POST of a worker that was held up.
    settled = [line for line in endings if line.fields.get("source") != "recovery"]
    # Bytes that belong to nobody end an attempt while the proxy still holds its request.
    if posts and posts[-1].is_disturbed:
        return
    if posts and settled and posts[-1].at_ms > settled[-1].at_ms + NEAR_MS:
        yield f"the last POST came {posts[-1].at_ms - settled[-1].at_ms:.0f} ms after the ending"
