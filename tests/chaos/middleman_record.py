"""What the middleman did, put into a history: the requests that it answered, the answers that it changed."""

from __future__ import annotations

import json
from collections import defaultdict
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from chaos.history import Post

if TYPE_CHECKING:
    from pathlib import Path

    from chaos.history import History


def read_middleman_file(history: History, path: Path) -> None:
    """Change what the middleman changed; the sandbox's file has been read before."""
    by_key: defaultdict[str, list[int]] = defaultdict(list)
    for place, post in enumerate(history.posts):
        by_key[post.key].append(place)
    for entry in map(json.loads, path.read_text("utf-8").splitlines()):
        history.middleman[entry["act"] or "disturbed by the last one"] += 1
        if entry["act"] in {"503_before", "409"}:
            history.posts.append(_own_answer(entry))
            continue
        places = by_key[entry["idempotency_key"]]
        if entry["number"] < len(places):  # else it left the middleman and never arrived
            place = places[entry["number"]]
            history.posts[place] = _change(history.posts[place], entry)
    history.posts.sort(key=lambda post: post.at_ms)


def _own_answer(entry: dict[str, Any]) -> Post:
    behaviour = "proxy-not-done" if entry["act"] == "503_before" else "409"
    told = {"behaviour": behaviour, "status": int(entry["act"][:3]), "carried_out": False}
    post = Post.from_entry({**entry, **told})
    return replace(post, is_disturbed=entry["is_disturbed"], running=entry["running"])


def _change(post: Post, entry: dict[str, Any]) -> Post:
    post = replace(post, is_disturbed=entry["is_disturbed"])
    if entry["act"] != "503_after" or post.status is None:
        return post
    return replace(post, behaviour="proxy" if post.carried_out else "proxy-not-done", status=503)
