"""What voice sessions told, held against a platform that rings: who was moved, and when."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

from chaos.ringing import ring_of
from transfer_tasks.outcome import State

if TYPE_CHECKING:
    from collections.abc import Iterator

    from chaos.history import Heard, Line, Post


def find_moved_twice(posts: list[Post]) -> Iterator[str]:
    """Yield each request of one call that was carried out while an earlier one rang, or had the caller."""
    rings = sorted(filter(None, map(ring_of, posts)), key=lambda ring: ring.begun_ms)
    for earlier, later in pairwise(rings):
        if earlier.stands_at(later.begun_ms):
            how = "was answered" if earlier.is_answered else "still rang"
            yield f"carried out again {later.begun_ms - earlier.begun_ms:.0f} ms after one that {how}"


def is_moved_twice(posts: list[Post], call_ids: set[str]) -> bool:
    """Say whether any of these calls was."""
    of_calls: dict[str, list[Post]] = {call_id: [] for call_id in call_ids.copy()}
    for post in posts:
        if post.call_id in of_calls:
            of_calls[post.call_id].append(post)
    return any(any(find_moved_twice(found)) for found in of_calls.values())


def find_untruth(heard: Heard, posts: list[Post]) -> str | None:
    """Return what is wrong with something that was heard in a call; None if it was true at that moment."""
    rings = [ring for ring in map(ring_of, posts) if ring and ring.begun_ms <= heard.at_ms]
    if heard.word == "moving" and not rings:
        return f"the {heard.who} heard “{heard.text}”; nothing was carried out"
    if heard.word == "not_moved" and any(ring.stands_at(heard.at_ms) for ring in rings):
        return f"the {heard.who} heard “{heard.text}” while it rang, or was answered"
    return None


def find_wrong_evidence(resolved: Line, posts: list[Post]) -> str | None:
    """Return what is wrong with an unknown that a session settled; None if it was so at that moment."""
    rings = [ring for ring in map(ring_of, posts) if ring]
    if resolved.fields.get("state") == State.SUBMITTED:
        return None if any(ring.is_answered for ring in rings) else "settled as moved; nobody had answered"
    if any(ring.stands_at(resolved.at_ms) for ring in rings):
        return "settled as not moved while it rang, or was answered"
    return None
