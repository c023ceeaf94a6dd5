"""The workers that live, and what they leave behind."""

from __future__ import annotations

from importlib.metadata import version
from typing import TYPE_CHECKING

from transfer_worker.monitoring.differences import find_differences
from transfer_worker.operations.status.workers import tell_difference
from transfer_worker.runtime.findings import Finding

if TYPE_CHECKING:
    from transfer_worker.monitoring.statistics import Status


def check_workers(status: Status) -> Finding:
    """Look at whether there are workers, and of which version."""
    if status.redis.refuses_writes:
        age = status.present.heartbeat_age_seconds
        since = "" if age is None else f"; the last heartbeat came {age:.0f} s ago"
        return Finding.not_checked(
            "workers", seen=f"whether they live can't be told while Redis takes no writes{since}"
        )
    alive = [worker for worker in status.present.workers if worker.is_alive]
    if not alive:
        return Finding.warning(
            "workers",
            seen="none gives a sign of life",
            fix="Start one: call-transfer worker. Until then every request runs into its deadline.",
        )
    ours = version("call-transfer")
    others = sorted({str(worker.about.get("version")) for worker in alive} - {ours})
    if others:
        return Finding.warning(
            "workers",
            seen=f"{len(alive)}, some of version {', '.join(others)}; this is {ours}",
            fix="Restart what is old. Workers go first, publishers after them.",
        )
    # Their versions are one, as we have just seen.
    if differences := find_differences(status.present.workers):
        return Finding.warning(
            "workers",
            seen=f"{len(alive)}, which differ: {'; '.join(map(tell_difference, differences))}",
            fix="Give all of them the same registry file and settings, and restart those that had others: a "
            "worker reads them at its start.",
        )
    return Finding.ok("workers", seen=f"{len(alive)}, all of version {ours}")


def check_records(status: Status) -> Finding:
    """Look at whether anything of ours in Redis is damaged."""
    damaged, set_aside = status.present.damaged_keys, status.present.totals["records_set_aside"]
    if damaged:
        return Finding.problem(
            "records",
            seen=f"can't be read: {', '.join(damaged)}",
            fix="Look who else writes to this Redis. Keep what is there (DUMP), then delete the key, or the "
            "field of it that is no number.",
        )
    if set_aside:
        return Finding.warning(
            "records",
            seen=f"{set_aside} were damaged, and set aside",
            fix="Look at them: call-transfer list --reason record_damaged. What was there is kept in "
            "transfer:damaged:<id>.",
        )
    return Finding.ok("records", seen="none was found damaged")


def check_audit(status: Status) -> Finding:
    """Look at how far the audit log is behind."""
    audit, lost = status.present.audit, status.present.totals["audit_lines_lost"]
    if audit.is_late:
        return Finding.problem(
            "audit",
            seen=f"{audit.lines} lines are in no log yet, the oldest for {audit.oldest_seconds:.0f} s",
            fix="Look at the workers' stdout: audit.file_failed names the fault of the file (a full disk?). "
            "The lines are kept in Redis, and come by themselves.",
        )
    if lost:
        return Finding.warning(
            "audit",
            seen=f"up to date; {lost} lines were dropped before anybody had written them",
            fix="The workers' stdout may have them. Keep the disk of TRANSFER_AUDIT_FILE from filling up.",
        )
    return Finding.ok("audit", seen="every line is in the log")
