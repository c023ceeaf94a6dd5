"""Everything that `call-transfer doctor` looks at, in one list."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import redis

from transfer_tasks.errors import LedgerUnavailable, SettingsError
from transfer_tasks.settings import PublisherSettings
from transfer_worker.monitoring.statistics import read_status
from transfer_worker.operations.doctor.audit_file import check_audit_file
from transfer_worker.operations.doctor.flower import check_flower
from transfer_worker.operations.doctor.neighbours import check_neighbours
from transfer_worker.operations.doctor.programs import check_programs
from transfer_worker.operations.doctor.proxy import check_proxy
from transfer_worker.operations.doctor.redis_state import (
    check_clocks,
    check_disk,
    check_latency,
    check_memory,
)
from transfer_worker.operations.doctor.registry import check_limits, check_registry
from transfer_worker.operations.doctor.settings import check_settings, check_webhooks
from transfer_worker.operations.doctor.token import check_token
from transfer_worker.operations.doctor.workers import check_audit, check_records, check_workers
from transfer_worker.operations.lookup import open_tools
from transfer_worker.runtime.findings import Finding, Verdict
from transfer_worker.runtime.preflight import check_ledger, check_packages, check_timing
from transfer_worker.settings import WorkerSettings

if TYPE_CHECKING:
    from transfer_tasks.ledger.ledger import Ledger


def run_doctor() -> list[Finding]:
    """Read the settings and look at everything; what is for a worker alone is left out where they are wrong.

    Raises:
        SettingsError: Not even Redis can be looked at: the settings that everybody reads are wrong.
    """
    settings, problems = _load_worker_settings()
    with open_tools() as at:
        return [*check_settings(problems), *examine(settings, at.settings, at.ledger)]


def _load_worker_settings() -> tuple[WorkerSettings | None, list[str]]:
    """Return the worker's settings, or why there are none.

    Raises:
        SettingsError: What is wrong is not the worker's alone.
    """
    try:
        return WorkerSettings.load(), []
    except SettingsError as error:
        try:
            PublisherSettings.load()
        except SettingsError:
            raise error from None
        return None, error.problems


def examine(
    settings: WorkerSettings | None, publisher_settings: PublisherSettings, ledger: Ledger
) -> list[Finding]:
    """Return what preflight finds, and what only people want to know: Redis first, as all else rests on it.

    Args:
        settings: What a worker reads; None where it could not start with it.
        publisher_settings: What everybody reads.
        ledger: Where to look.
    """
    found = [
        # A worker waits until that is over. Whoever is on call is to end it.
        replace(finding, verdict=Verdict.PROBLEM) if _stops_all(finding) else finding
        for finding in check_ledger(
            publisher_settings,
            ledger.client,
            is_for_worker=False,
            is_said_never_to_evict=settings is not None and settings.redis_never_evicts,
        )
    ]
    found.append(check_latency(ledger.client))
    status = None
    try:
        status = read_status(ledger)
        found += [
            check_memory(status),
            check_disk(ledger.client),
            check_clocks(ledger.client),
            check_neighbours(ledger, publisher_settings.queue),
            check_workers(status),
            check_records(status),
            check_audit(status),
        ]
    except (LedgerUnavailable, redis.RedisError):
        pass  # its silence is a finding already
    found += [check_token(settings, status), *check_programs(), check_registry(publisher_settings)]
    if status is not None:
        found += check_limits(publisher_settings, status.present.limits)
    found.append(check_packages())
    if settings is not None:
        found += [check_timing(settings), *check_audit_file(settings), *check_proxy(settings)]
    return [*found, *check_webhooks(status), check_flower()]


def _stops_all(finding: Finding) -> bool:
    """Whether it is about Redis as a whole, and passes by itself at best."""
    return finding.check == "redis" and finding.verdict is Verdict.WARNING


def describe_finding(finding: Finding) -> dict[str, str]:
    """Return a finding as plain JSON values."""
    return {
        "check": finding.check,
        "verdict": finding.verdict.value,
        "seen": finding.seen,
        "fix": finding.fix,
    }
