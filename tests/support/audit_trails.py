"""Audit files as workers leave them, for the tests of their chains."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

from transfer_tasks.signature import Key
from transfer_worker.audit.chain import Chain, Head
from transfer_worker.audit.verification import Verifier

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from transfer_worker.audit.findings import Verification

AUDIT_KEY = Key("audit-1", "k" * 32)
OLDER_KEY = Key("audit-0", "o" * 32)


def make_lines(count: int, *, since: int = 0) -> list[dict[str, Any]]:
    """Return lines as the outbox gives them."""
    return [
        {
            "timestamp": f"2026-11-26T10:00:{number % 60:02}.{number // 60:03}+00:00",
            "event": "transfer.accepted",
            "event_id": f"1790000000000-{number}",
            "transfer_id": f"t{number}",
            "asked": 'with "quotes", and \\ more',
        }
        for number in range(since, since + count)
    ]


def seal_lines(count: int, *, writer: str = "w", key: Key | None = AUDIT_KEY) -> tuple[list[bytes], Head]:
    """Return the lines of one chain, and its head."""
    batch, head = Chain(writer, key=key).seal(make_lines(count))
    return batch.splitlines(keepends=True), head


def verify(
    files: Mapping[str, bytes],
    *,
    keys: Iterable[Key] = (AUDIT_KEY,),
    heads: Iterable[Head] = (),
    **options: Any,
) -> Verification:
    """Return what is found in files of this content."""
    verifier = Verifier(keys=keys, heads=heads, **options)
    for path, content in files.items():
        verifier.read(path, io.BytesIO(content))
    return verifier.judge()


def list_faults(found: Verification) -> list[tuple[str, str, int]]:
    """Return the kind and place of each fault."""
    return [(fault.kind.value, *fault.place) for fault in found.faults]


def find_audit_faults(path: Path, heads: Iterable[Head]) -> list[str]:
    """Return what is wrong with the file of workers that have the key, in words."""
    faults = verify({str(path): path.read_bytes()}, heads=heads).faults
    return [f"line {fault.place.line} of the audit file: {fault.text} ({fault.chain})" for fault in faults]
