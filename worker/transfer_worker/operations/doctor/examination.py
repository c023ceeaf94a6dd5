"""Everything that `call-transfer doctor` looks at, in one list."""

from __future__ import annotations

from typing import TYPE_CHECKING

import redis

from transfer_tasks.errors import LedgerUnavailable
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
from transfer_worker.operations.doctor.registry import check_registry
from transfer_worker.operations.doctor.token import check_token
from transfer_worker.operations.doctor.workers import check_audit, check_records, check_workers
from transfer_worker.operations.lookup import open_tools
from transfer_worker.runtime.preflight import check_worker
from transfer_worker.settings import WorkerSettings

if TYPE_CHECKING:
    from transfer_tasks.ledger.ledger import Ledger
    from transfer_worker.runtime.findings import Finding


def run_doctor() -> list[Finding]:
    """Read the settings and look at everything.

    Raises:
        SettingsError: The settings are wrong.
    """
    settings = WorkerSettings.load()
    with open_tools() as at:
        return examine(settings, at.ledger)


def examine(settings: WorkerSettings, ledger: Ledger) -> list[Finding]:
    """Return what preflight finds, and what only people want to know."""
    findings = [*check_programs(), check_registry(settings), *check_worker(settings, ledger.client)]
    findings += check_audit_file(settings)
    latency = check_latency(ledger.client)
    findings += [latency, *check_proxy(settings), check_flower()]
    try:
        status = read_status(ledger)
        clock = check_clocks(ledger.client)
        neighbours = check_neighbours(ledger, settings.queue)
    except (LedgerUnavailable, redis.RedisError):
        # Its silence is a finding already.
        return [check_token(settings, None), *findings]
    return [
        check_token(settings, status),
        *findings,
        clock,
        neighbours,
        check_memory(status),
        check_disk(ledger.client),
        check_workers(status),
        check_records(status),
        check_audit(status),
    ]


def describe_finding(finding: Finding) -> dict[str, str]:
    """Return a finding as plain JSON values."""
    return {
        "check": finding.check,
        "verdict": finding.verdict.value,
        "seen": finding.seen,
        "fix": finding.fix,
    }
