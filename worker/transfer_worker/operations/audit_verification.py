"""`call-transfer audit verify`: audit files against their chains, and against what the ledger knows."""

from __future__ import annotations

import json
import os
import platform
import re
from collections import Counter
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import IO, TYPE_CHECKING, Any, Final

import redis

from transfer_tasks.errors import LedgerUnavailable
from transfer_tasks.redis.diagnosis import diagnose
from transfer_worker.audit.findings import Fault, Kind, Place
from transfer_worker.audit.heads import KnownHead, read_head, read_heads
from transfer_worker.audit.verification import Verifier
from transfer_worker.errors import OperationMisused
from transfer_worker.monitoring.audit_backlog import ask_audit_backlog, build_audit_backlog
from transfer_worker.monitoring.counts import Counts, ask_counts, build_counts
from transfer_worker.monitoring.damage import Damage
from transfer_worker.operations.lookup import open_tools
from transfer_worker.settings import AuditSettings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from pathlib import Path

    from transfer_tasks.ledger.ledger import Ledger
    from transfer_worker.audit.findings import Verification

COUNTED: Final = {
    "transfer.accepted": "accepted",
    "transfer.finished": "ended",
    "transfer.resolved": "resolved",
    "transfer.requeued": "requeued",
    "message.quarantined": "quarantined",
    "call.moved_twice": "double_posts",
    "record.set_aside": "records_set_aside",
}
"""Events that the ledger counts in the step that writes their line, by the name of the counter."""

OVERLAP: Final = timedelta(hours=1)
"""Lines come into a file later than they happened: up to so long, as a rule, where its disk was full."""

_BEGINS: Final = re.compile(rb'\{"timestamp": "([^"]+)", "event": "([^"]+)", "event_id": "([^"]+)"')


@dataclass(frozen=True, slots=True, kw_only=True)
class LedgerView:
    """What the ledger knows of audit files.

    Attributes:
        heads: Where each chain is, by Redis or by a heartbeat.
        unreadable: Chains whose head can't be read.
        counts: What the transitions have counted since the beginning.
        unwritten: Lines that no file has: they are in Redis still, or were dropped.
    """

    heads: Sequence[KnownHead] = ()
    unreadable: Sequence[str] = ()
    counts: Counts = field(default_factory=Counts)
    unwritten: int = 0


class _Census:
    """Counts what sealed lines tell, each event once."""

    def __init__(self) -> None:
        self.oldest = ""
        self._events: dict[bytes, set[bytes]] = {}

    def take(self, line: bytes) -> None:
        found = _BEGINS.match(line)
        if found:
            at, event, event_id = found.groups()
            self._events.setdefault(event, set()).add(event_id)
            if not self.oldest or at.decode() < self.oldest:
                self.oldest = at.decode()

    def count(self) -> Counter[str]:
        return Counter({event.decode(errors="replace"): len(ids) for event, ids in self._events.items()})


def verify_files(
    paths: Sequence[Path],
    *,
    is_offline: bool = False,
    is_complete: bool = False,
    older_files_gone: bool = False,
    allows_plain: bool = False,
    on_bytes: Callable[[int], object] = lambda _: None,
) -> Verification:
    """Return what is found in these files.

    Args:
        paths: The files, in any order.
        is_offline: Whether the ledger is not asked.
        is_complete: Whether these are all files of all workers, so that the ledger's counters must agree.
        older_files_gone: Whether older files were deleted on purpose.
        allows_plain: Whether chains without a key count, though there is one.
        on_bytes: Called now and then with how many bytes were read of all files.

    Raises:
        OperationMisused: A file can't be read, or these options don't go together.
        SettingsError: The settings are wrong.
        LedgerUnavailable: Redis can't be used.
    """
    _check_options(is_offline=is_offline, is_complete=is_complete, older_files_gone=older_files_gone)
    keys = AuditSettings.load().load_audit_keys()
    with _open_files(paths) as files:
        # The ledger first: a worker may write on while we read.
        view = LedgerView() if is_offline else _ask_ledger()
        census = _Census() if is_complete or older_files_gone else None
        verifier = Verifier(
            keys=keys.values(),
            heads=[known.head for known in view.heads],
            allows_plain=allows_plain,
            may_begin_later=older_files_gone,
            on_line=census.take if census else None,
        )
        _read_files(verifier, files, on_bytes)
    found = verifier.judge()
    own = {(platform.node(), str(path.absolute())) for path in paths}
    since = _add_overlap(census.oldest) if census and older_files_gone else ""
    faults = [*_judge_heads(view, found, own=own, is_complete=is_complete, since=since)]
    if census and is_complete:
        faults += _compare_counts(view, census.count())
    for fault in faults:
        found.accuse(fault)
    return found


def _add_overlap(oldest: str) -> str:
    """Return until when a chain may have ended in a file that is gone, by the oldest line that is there."""
    try:
        return (datetime.fromisoformat(oldest) + OVERLAP).isoformat()
    except (ValueError, OverflowError):
        return ""


def _check_options(*, is_offline: bool, is_complete: bool, older_files_gone: bool) -> None:
    other = "--offline" if is_offline else "--older-files-gone" if older_files_gone else ""
    if is_complete and other:
        raise OperationMisused(
            field="--complete",
            problem=f"does not go with {other}",
            fix="It compares every file there ever was with the ledger's counters.",
        )


@contextmanager
def _open_files(paths: Sequence[Path]) -> Iterator[list[tuple[str, IO[bytes]]]]:
    """Open all at once, each file once: a rotation that comes meanwhile moves none of them."""
    with ExitStack() as opened:
        files: dict[tuple[int, int], tuple[str, IO[bytes]]] = {}
        for path in paths:
            try:
                file = opened.enter_context(path.open("rb"))
            except OSError as error:
                raise _refuse(str(path), error) from error
            about = os.fstat(file.fileno())
            files.setdefault((about.st_dev, about.st_ino), (str(path), file))
        yield list(files.values())


def _refuse(path: str, error: OSError) -> OperationMisused:
    return OperationMisused(
        field="FILE", problem=f"{path} can't be read ({error.strerror or error})", fix="Name audit files."
    )


def _read_files(
    verifier: Verifier, files: Iterable[tuple[str, IO[bytes]]], on_bytes: Callable[[int], object]
) -> None:
    done = 0
    for path, file in files:
        try:
            verifier.read(path, file, on_bytes=lambda read, before=done: on_bytes(before + read))  # type: ignore[misc]
            done += os.fstat(file.fileno()).st_size
        except OSError as error:
            raise _refuse(path, error) from error
        on_bytes(done)


def _ask_ledger() -> LedgerView:
    with open_tools() as at:
        ledger = at.ledger
        try:
            heads, unreadable = read_heads(ledger.client, ledger.keys)
            with ledger.client.pipeline(transaction=True) as pipe:
                pipe.time()
                ask_counts(pipe, ledger)
                ask_audit_backlog(pipe, ledger)
                (seconds, _), counted, backlog = pipe.execute()
            heads += _read_heartbeats(ledger)
        except redis.RedisError as error:
            raise LedgerUnavailable(f"audit verify: {diagnose(error)}") from error
    counts, _ = build_counts(counted, ledger.keys, Damage())
    return LedgerView(
        heads=heads,
        unreadable=unreadable,
        counts=counts,
        unwritten=build_audit_backlog(backlog, seconds * 1000).lines + counts["audit_lines_lost"],
    )


def _read_heartbeats(ledger: Ledger) -> Iterator[KnownHead]:
    names: Any = ledger.client.zrange(ledger.keys.workers, 0, -1)
    abouts: Any = ledger.client.mget([ledger.keys.worker(name) for name in names]) if names else []
    for about in filter(None, abouts):
        try:
            known = read_head(json.loads(about).get("audit_head"))
        except (ValueError, AttributeError, RecursionError):
            continue  # `status` names what is damaged
        if known:
            yield known


def _judge_heads(
    view: LedgerView, found: Verification, *, own: set[tuple[str, str]], is_complete: bool, since: str
) -> Iterator[Fault]:
    """Yield the chains that should be in these files and are not there at all.

    Where one chain of a file is there, all of that file are expected, but those that ended before `since`.
    """
    for chain in view.unreadable:
        yield Fault(Kind.CHANGED, Place("", 0), chain, "where it ends stands in Redis, and can't be read")
    expected = own | {(known.host, known.path) for known in view.heads if known.head.chain in found.chains}
    absent = {known.head.chain: known for known in view.heads if known.head.chain not in found.chains}
    for chain, known in absent.items():
        if (is_complete or (known.host, known.path) in expected) and known.head.at >= since:
            text = f"all {known.head.seq} lines of the chain, to {known.head.at}; written on {known.host}"
            yield Fault(Kind.REMOVED, Place(known.path, 0), chain, text)


def _compare_counts(view: LedgerView, told: Counter[str]) -> Iterator[Fault]:
    """Yield what the files tell less often than the ledger has counted, but for what is not written yet."""
    short = {}
    for event, name in COUNTED.items():
        counted = sum(
            value
            for counter, value in view.counts.items()
            if counter == name or counter.startswith(f"{name}|")
        )
        if counted > told[event]:
            short[event] = (counted, told[event])
    if sum(counted - written for counted, written in short.values()) <= view.unwritten:
        return
    for event, (counted, written) in short.items():
        text = f"{event}: the ledger has counted {counted}, the files tell of {written}"
        yield Fault(Kind.MISSING, Place("", 0), "", text)
