"""What the sandbox saw: every request to the transfer address, written down before it is answered."""

from __future__ import annotations

import json
import os
import threading
import time
import uuid
from collections import Counter, deque
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from pathlib import Path

MAX_KEPT_REQUESTS: Final = 100_000
"""How many requests can be read back. The counts go on beyond it."""


def canonicalize_call_id(call_id: object) -> str:
    """Return the one spelling of a call id that is a UUID, else its text; empty for None."""
    if call_id is None:
        return ""
    try:
        return str(uuid.UUID(str(call_id)))
    except ValueError:
        return str(call_id)


class Recorder:
    """Keeps the requests in memory, and in a file of JSON lines if there is a path. Safe for threads.

    What an existing file holds is counted in, so that the numbers survive a restart.
    """

    def __init__(self, path: Path | None = None) -> None:
        self._lock = threading.Lock()
        self._kept: deque[dict[str, Any]] = deque(maxlen=MAX_KEPT_REQUESTS)
        self._posts: Counter[str] = Counter()
        self._carried_out: Counter[str] = Counter()
        self._sequence = 0
        self._path, self._descriptor = path, -1
        if path is not None:
            if path.exists():
                for line in path.read_text("utf-8").splitlines():
                    self._keep(json.loads(line))
            # Unbuffered, so that a line outlives a killed process; the numbers in it are for its owner only.
            self._descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)

    def record(self, fields: dict[str, Any]) -> dict[str, Any]:
        """Write down one request, with its number and the time, and return the entry."""
        with self._lock:
            entry = {
                "sequence": self._sequence + 1,
                "received_at_ms": round(time.time() * 1000, 3),
                **fields,
            }
            if self._descriptor >= 0:
                os.write(self._descriptor, json.dumps(entry, separators=(",", ":")).encode() + b"\n")
            self._keep(entry)
            return entry

    def find(self, call_id: str | None = None, since: int = 0) -> list[dict[str, Any]]:
        """Return the requests after the number `since`, of one call or of all, in order of arrival."""
        wanted = None if call_id is None else canonicalize_call_id(call_id)
        with self._lock:
            return [
                entry
                for entry in self._kept
                if entry["sequence"] > since and (wanted is None or entry["call_id"] == wanted)
            ]

    def post_count(self, call_id: str | None = None) -> int:
        """Return how many requests came, for one call or for all."""
        return self._count(self._posts, call_id)

    def carried_out_count(self, call_id: str | None = None) -> int:
        """Return how often the simulated platform moved a call, or any call."""
        return self._count(self._carried_out, call_id)

    def clear(self) -> None:
        """Forget everything, in the file too."""
        with self._lock:
            self._kept.clear()
            self._posts.clear()
            self._carried_out.clear()
            self._sequence = 0
            if self._descriptor >= 0:
                os.ftruncate(self._descriptor, 0)

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            if self._descriptor >= 0:
                os.close(self._descriptor)
                self._descriptor = -1

    def _count(self, counts: Counter[str], call_id: str | None) -> int:
        with self._lock:
            return counts.total() if call_id is None else counts[canonicalize_call_id(call_id)]

    def _keep(self, entry: dict[str, Any]) -> None:
        self._sequence = entry["sequence"]
        self._kept.append(entry)
        self._posts[entry["call_id"]] += 1
        self._carried_out[entry["call_id"]] += entry["carried_out"]
