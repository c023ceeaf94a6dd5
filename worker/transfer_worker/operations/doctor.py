"""`call-transfer doctor`: what a worker looks at before it starts, and what only people want to know."""

from __future__ import annotations

import time
from importlib.metadata import version
from statistics import median
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

import redis
import requests
from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings

from transfer_tasks.errors import LedgerUnavailable
from transfer_tasks.outcome import Reason, State
from transfer_tasks.redis.diagnosis import diagnose
from transfer_tasks.settings import SETTINGS_CONFIG, load_settings
from transfer_worker.monitoring.statistics import Status, read_status
from transfer_worker.operations.lookup import open_tools
from transfer_worker.operations.neighbours import find_left_behind, find_neighbours
from transfer_worker.operations.programs import check_programs
from transfer_worker.operations.proxy import check_proxy
from transfer_worker.operations.registry_check import check_registry
from transfer_worker.runtime.findings import Finding, Verdict
from transfer_worker.runtime.preflight import check_worker
from transfer_worker.runtime.redis_checks import LOOK_IT_UP
from transfer_worker.settings import WorkerSettings, is_this_machine

if TYPE_CHECKING:
    from transfer_tasks.ledger.ledger import Ledger

SLOW_REDIS_MS: Final = 20.0
PINGS: Final = 5
CLOCK_SLACK_SECONDS: Final = 1.0
PROBE_SECONDS: Final = 2.0
FULL_SHARE: Final = 0.9


class _FlowerSettings(BaseSettings):
    """What Flower would read, as far as it is a matter of safety."""

    model_config = SETTINGS_CONFIG

    basic_auth: SecretStr | None = Field(None, validation_alias="FLOWER_BASIC_AUTH")
    address: str = Field("127.0.0.1", validation_alias="FLOWER_ADDRESS")
    read_only: str = Field("true", validation_alias="FLOWER_READ_ONLY")


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
    latency = _check_latency(ledger.client)
    findings += [latency, *check_proxy(settings), _check_flower()]
    try:
        status = read_status(ledger)
        clock = _check_clocks(ledger.client)
        neighbours = _check_neighbours(ledger, settings.queue)
    except (LedgerUnavailable, redis.RedisError):
        # Its silence is a finding already.
        return [_check_token(settings, None), *findings]
    return [
        _check_token(settings, status),
        *findings,
        clock,
        neighbours,
        _check_memory(status),
        _check_disk(ledger.client),
        _check_workers(status),
        _check_audit(status),
    ]


def _check_neighbours(ledger: Ledger, queue: str) -> Finding:
    try:
        left_behind, others = find_left_behind(ledger), find_neighbours(ledger, queue=queue)
    except LedgerUnavailable as error:  # a user who may touch nothing but our keys, say
        return Finding(check="neighbours", verdict=Verdict.NOT_CHECKED, seen=error.cause)
    if left_behind:
        return Finding(
            check="neighbours",
            verdict=Verdict.WARNING,
            seen=f"{len(left_behind)} messages of ours lie in `unacked`, kombu's default name",
            fix="Stop workers of older versions, then: call-transfer quarantine adopt",
        )
    seen = f"other Celery applications use this database: {', '.join(others[:8])}" if others else "none here"
    return Finding(check="neighbours", verdict=Verdict.OK, seen=seen)


def describe_finding(finding: Finding) -> dict[str, str]:
    """Return a finding as plain JSON values."""
    return {
        "check": finding.check,
        "verdict": finding.verdict.value,
        "seen": finding.seen,
        "fix": finding.fix,
    }


def _check_token(settings: WorkerSettings, status: Status | None) -> Finding:
    """Ask a sandbox; never the platform, where every request that it takes moves a call.

    Of the platform, the answers that the workers got are looked at instead.
    """
    api = urlsplit(settings.piopiy_api_url)
    if is_this_machine(api.hostname or "") and (found := _probe_sandbox(settings)):
        return found
    where = f"PIOPIY_TOKEN is set, for {api.netloc.rpartition('@')[2]}"
    _, five_minutes, hour = status.windows if status else (None, None, None)
    if five_minutes and (refused := five_minutes.reasons.get(Reason.UNAUTHORIZED, 0)):
        return Finding(
            check="token",
            verdict=Verdict.PROBLEM,
            seen=f"{where}; the workers' token was refused {refused} times in the last 5 minutes",
            fix="Check PIOPIY_TOKEN on the workers, now, and start them again.",
        )
    if hour and (taken := hour.outcomes[State.SUBMITTED]):
        return Finding(
            check="token",
            verdict=Verdict.OK,
            seen=f"{where}; the workers' token was accepted {taken} times in the last hour",
        )
    return Finding(
        check="token",
        verdict=Verdict.NOT_CHECKED,
        seen=f"{where}; no answer of the last hour tells, and asking would take moving a call",
    )


def _probe_sandbox(settings: WorkerSettings) -> Finding | None:
    """Return what a sandbox thinks of the token; None if it is not a sandbox (a tunnel, say)."""
    url = settings.piopiy_api_url.rstrip("/")
    origin = f"{urlsplit(url).scheme}://{urlsplit(url).netloc}"
    headers = {"Authorization": f"Bearer {settings.piopiy_token.get_secret_value()}"}
    session = requests.Session()
    session.trust_env = False  # no proxy: the gateway uses none either
    try:
        health = session.get(f"{origin}/_sandbox/health", timeout=PROBE_SECONDS)
        if health.status_code != requests.codes.ok or '"status": "ok"' not in health.text:
            return None
        # No call is named, so its validator refuses it where the token does not.
        answer = session.post(
            f"{url}/voice/pcmo/transfer",
            json={},
            headers=headers,
            timeout=PROBE_SECONDS,
            allow_redirects=False,
        )
    except requests.RequestException as error:
        return Finding(
            check="token",
            verdict=Verdict.PROBLEM,
            seen=f"nobody answers at {origin}: {type(error).__name__}",
            fix="Start the sandbox, or correct PIOPIY_API_URL.",
        )
    if answer.status_code == requests.codes.unauthorized:
        return Finding(
            check="token",
            verdict=Verdict.PROBLEM,
            seen=f"the sandbox at {origin} refuses PIOPIY_TOKEN",
            fix="Use the token that the sandbox was started with.",
        )
    return Finding(check="token", verdict=Verdict.OK, seen=f"accepted by the sandbox at {origin}")


def _check_latency(client: redis.Redis) -> Finding:
    times_ms = []
    try:
        for _ in range(PINGS):
            started = time.monotonic()
            client.ping()
            times_ms.append((time.monotonic() - started) * 1000)
    except redis.RedisError as error:
        return Finding(
            check="latency",
            verdict=Verdict.PROBLEM,
            seen=diagnose(error).seen,
            fix="Until it is fixed, no request is accepted or sent.",
        )
    typical_ms = median(times_ms)
    if typical_ms > SLOW_REDIS_MS:
        return Finding(
            check="latency",
            verdict=Verdict.WARNING,
            seen=f"Redis takes {typical_ms:.1f} ms",
            fix="Move Redis and the workers closer together: a transfer takes three round trips.",
        )
    return Finding(check="latency", verdict=Verdict.OK, seen=f"Redis takes {typical_ms:.1f} ms")


def _check_clocks(client: redis.Redis) -> Finding:
    """Redis's clock alone decides; ours makes deadlines for intents, and is what people compare logs by."""
    before = time.time()
    seconds, microseconds = client.time()
    middle = (before + time.time()) / 2
    ahead_seconds = seconds + microseconds / 1_000_000 - middle
    if abs(ahead_seconds) > CLOCK_SLACK_SECONDS:
        side = "ahead of" if ahead_seconds > 0 else "behind"
        return Finding(
            check="clocks",
            verdict=Verdict.WARNING,
            seen=f"Redis's clock is {abs(ahead_seconds):.1f} s {side} ours",
            fix="Set both by NTP: deadlines that come as a point in time are cut or stretched by as much.",
        )
    return Finding(check="clocks", verdict=Verdict.OK, seen=f"{abs(ahead_seconds) * 1000:.0f} ms apart")


def _check_memory(status: Status) -> Finding:
    used, most = status.redis.used_memory_bytes, status.redis.max_memory_bytes
    if used is None:
        return Finding(check="memory", verdict=Verdict.NOT_CHECKED, seen="Redis does not say what it uses")
    seen = f"Redis uses {used / 2**20:.1f} MiB of {f'{most / 2**20:.1f} MiB' if most else 'the machine'}"
    if most and used >= most:
        return Finding(
            check="memory",
            verdict=Verdict.PROBLEM,
            seen=f"{seen}: it is full, and takes no request",
            fix=f"Raise maxmemory{LOOK_IT_UP}, or delete what is not ours; then all goes on by itself.",
        )
    if most and used >= FULL_SHARE * most:
        return Finding(
            check="memory",
            verdict=Verdict.WARNING,
            seen=seen,
            fix=f"Raise maxmemory{LOOK_IT_UP} before it is full: then no request is taken.",
        )
    return Finding(check="memory", verdict=Verdict.OK, seen=seen)


def _check_disk(client: redis.Redis) -> Finding:
    try:
        info = client.info("persistence")
    except redis.RedisError as error:
        return Finding(check="disk", verdict=Verdict.NOT_CHECKED, seen=diagnose(error).seen)
    wrong = [
        name
        for name in ("aof_last_write_status", "rdb_last_bgsave_status")
        if str(info.get(name, "ok")) != "ok"
    ]
    if wrong:
        return Finding(
            check="disk",
            verdict=Verdict.PROBLEM,
            seen=f"Redis can't write: {', '.join(wrong)}",
            fix="Look at the disk of Redis: full or read-only? What is accepted now may be lost.",
        )
    return Finding(check="disk", verdict=Verdict.OK, seen="Redis's last writes succeeded")


def _check_flower() -> Finding:
    """Judge by this environment; a Flower elsewhere may be given others."""
    flower = load_settings(_FlowerSettings)
    if flower.basic_auth is None:
        return Finding(
            check="flower",
            verdict=Verdict.NOT_CHECKED,
            seen="FLOWER_BASIC_AUTH is not set here; without a login Flower does not start",
        )
    risks, fixes = [], []
    if not is_this_machine(flower.address):
        risks.append(f"listens on {flower.address}")
        fixes.append("Leave FLOWER_ADDRESS out, and reach it by a tunnel or a proxy with TLS.")
    if flower.read_only.strip().lower() not in {"true", "1", "yes", "on"}:
        risks.append("lets everybody who logs in stop workers")
        fixes.append("Leave FLOWER_READ_ONLY out when the work is done.")
    if risks:
        return Finding(
            check="flower", verdict=Verdict.WARNING, seen=f"it {' and '.join(risks)}", fix=" ".join(fixes)
        )
    return Finding(check="flower", verdict=Verdict.OK, seen=f"a login, read only, on {flower.address}")


def _check_workers(status: Status) -> Finding:
    alive = [worker for worker in status.present.workers if worker.is_alive]
    if not alive:
        return Finding(
            check="workers",
            verdict=Verdict.WARNING,
            seen="none gives a sign of life",
            fix="Start one: call-transfer worker. Until then every request runs into its deadline.",
        )
    ours = version("call-transfer")
    others = sorted({str(worker.about.get("version")) for worker in alive} - {ours})
    if others:
        return Finding(
            check="workers",
            verdict=Verdict.WARNING,
            seen=f"{len(alive)}, some of version {', '.join(others)}; this is {ours}",
            fix="Restart what is old. Workers go first, publishers after them.",
        )
    return Finding(check="workers", verdict=Verdict.OK, seen=f"{len(alive)}, all of version {ours}")


def _check_audit(status: Status) -> Finding:
    audit, lost = status.present.audit, status.present.totals["audit_lines_lost"]
    if audit.is_late:
        return Finding(
            check="audit",
            verdict=Verdict.PROBLEM,
            seen=f"{audit.lines} lines are in no log yet, the oldest for {audit.oldest_seconds:.0f} s",
            fix="Look at the workers' stdout: audit.file_failed names the fault of the file (a full disk?). "
            "The lines are kept in Redis, and come by themselves.",
        )
    if lost:
        return Finding(
            check="audit",
            verdict=Verdict.WARNING,
            seen=f"up to date; {lost} lines were dropped before anybody had written them",
            fix="The workers' stdout may have them. Keep the disk of TRANSFER_AUDIT_FILE from filling up.",
        )
    return Finding(check="audit", verdict=Verdict.OK, seen="every line is in the log")
