"""The Celery app, its two tasks, and the start and end of a worker process."""

from __future__ import annotations

import gc
import logging
import sys
import time
from functools import cache
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, Final, NoReturn, TypeVar

import structlog
from celery import signals
from celery.exceptions import Ignore, Reject

from transfer_tasks.connection import ReportVerdict
from transfer_tasks.errors import LedgerUnavailable, SettingsError
from transfer_tasks.outcome import State, TransferOutcome
from transfer_tasks.publisher.message import REPORT_TASK_NAME, TASK_NAME
from transfer_tasks.settings import PublisherSettings
from transfer_worker.audit import logs
from transfer_worker.errors import (
    PreflightFailed,
    ReportRefused,
    TransferCancelled,
    TransferEnded,
    TransferExpired,
    TransferFailed,
    TransferRejected,
    TransferRepeated,
    TransferUnknown,
)
from transfer_worker.exit_codes import Exit
from transfer_worker.runtime.configuration import configure
from transfer_worker.runtime.ending import (
    WorkerApp,
    end_with_any_thread,
    ends_the_process,
    handle_signals,
)
from transfer_worker.runtime.findings import Verdict
from transfer_worker.runtime.lifeline import leave_words
from transfer_worker.runtime.messages import read_message, read_reported
from transfer_worker.runtime.preflight import check_worker
from transfer_worker.runtime.process import WorkerProcess
from transfer_worker.settings import WorkerSettings

if TYPE_CHECKING:
    from collections.abc import Mapping

    from transfer_worker.runtime.findings import Finding

_LOOK_EVERY_SECONDS: Final = 0.5


S = TypeVar("S", bound=PublisherSettings)

_ENDINGS: Final[dict[State, type[TransferEnded]]] = {
    State.REJECTED: TransferRejected,
    State.FAILED: TransferFailed,
    State.EXPIRED: TransferExpired,
    State.CANCELLED: TransferCancelled,
    State.UNKNOWN: TransferUnknown,
}


def _build_app() -> WorkerApp:
    # Only a worker needs all the settings, the token among them; Flower and the like need Redis.
    settings = _load_settings() if "worker" in sys.argv else _load(PublisherSettings)
    app = WorkerApp(
        "transfer_worker",
        set_as_current=False,
        amqp="transfer_worker.queue.transport:QuickAMQP",
        # By default any command is obeyed, whoever sends it.
        control="transfer_worker.queue.remote_control:GuardedControl",
    )
    app.conf.update(configure(settings))
    return app


@cache
def _load_settings() -> WorkerSettings:
    return _load(WorkerSettings)


def _load(settings_class: type[S]) -> S:
    try:
        return settings_class.load()
    except SettingsError as error:
        _refuse_to_start(str(error))


def _refuse_to_start(text: str) -> NoReturn:
    sys.stderr.write(text + "\n")
    leave_words(text)
    raise SystemExit(Exit.USAGE)


app = _build_app()


_process: WorkerProcess | None = None


@signals.setup_logging.connect
def _keep_logging(**_: Any) -> None:
    """Celery configures no logging where this signal has a receiver; ours is configured already."""


class _LastWords(logging.Handler):
    """Tells the supervisor what Celery says when it gives up: that Redis went away, mostly."""

    def emit(self, record: logging.LogRecord) -> None:
        leave_words(record.getMessage())


@signals.celeryd_init.connect
@ends_the_process
def _configure_worker(conf: Any, **_: Any) -> None:
    """Do what has to be done before Celery reads its options; `--concurrency` still wins."""
    handle_signals()
    settings = _load_settings()
    logs.configure(level=settings.log_level, secrets=settings.secrets)
    logging.captureWarnings(True)  # of Python, as lines of the log
    logging.getLogger().addHandler(_LastWords(logging.CRITICAL))
    conf.worker_concurrency = settings.concurrency


@signals.worker_init.connect
@ends_the_process
def _start_process(sender: Any, **_: Any) -> None:
    global _process
    settings = _load_settings()
    log = structlog.get_logger("transfer_worker")
    try:
        _process = WorkerProcess(settings, hostname=sender.hostname)
    except SettingsError as error:
        _refuse_to_start(str(error))
    problems = []
    for finding in _wait_for_findings(settings, _process, log):
        if finding.verdict is Verdict.PROBLEM:
            problems.append(f"{finding.check}: {finding.seen}. {finding.fix}")
        elif finding.verdict is Verdict.WARNING:
            log.warning("preflight.warning", check=finding.check, seen=finding.seen, fix=finding.fix)
        elif finding.verdict is Verdict.NOT_CHECKED:
            log.info("preflight.not_checked", check=finding.check, seen=finding.seen, fix=finding.fix)
    if problems:
        _refuse_to_start(str(PreflightFailed(problems)))
    end_with_any_thread()
    _process.start()
    log.info(
        "worker.started",
        worker=_process.worker,
        version=version("call-transfer"),
        destinations_file=str(settings.destinations_file or ""),
    )


def _wait_for_findings(settings: WorkerSettings, process: WorkerProcess, log: Any) -> list[Finding]:
    """Look until Redis can be looked at: a worker that has not seen its memory policy must not begin."""
    said = ""
    while True:
        findings = check_worker(settings, process.ledger.client)
        waiting = next((finding for finding in findings if finding.must_wait), None)
        if waiting is None or any(finding.verdict is Verdict.PROBLEM for finding in findings):
            return findings
        if waiting.seen != said:
            said = waiting.seen
            log.warning("preflight.waiting", check=waiting.check, seen=said, fix=waiting.fix)
        time.sleep(_LOOK_EVERY_SECONDS)


@signals.worker_ready.connect
@ends_the_process
def _spare_the_garbage_collector(**_: Any) -> None:
    """Take what lives as long as the process out of its rounds: a full one stops every thread for 50 ms."""
    gc.collect()
    gc.freeze()


@signals.worker_shutdown.connect
@ends_the_process
def _stop_process(**_: Any) -> None:
    if _process is not None:
        _process.stop()


@app.task(
    name=TASK_NAME, bind=True, throws=(TransferEnded,), Request="transfer_worker.queue.request:MaskedRequest"
)
def transfer_call(
    self: Any, intent: Mapping[str, Any] | str | None = None, signature: str | None = None
) -> str:
    """Carry out the transfer whose id is this task's id.

    Args:
        self: The task.
        intent: Given by producers that only have Celery, and read at the door; else the intent is on record.
        signature: Of that intent, which then is a text.

    Raises:
        TransferEnded: It ended in anything but `submitted`; Flower shows it as a failure.
        Ignore: Somebody else acts on it, and will say how it ended.
        Reject: The ledger could not be used, so nothing was sent; the message goes back.
    """
    if _process is None:
        raise RuntimeError("transfer_call runs in a worker process only")
    try:
        performed = _process.service.perform(read_message(self.request))
    except LedgerUnavailable as error:
        # Nothing was sent. Back with the message: it may be all there is of its transfer.
        raise Reject(str(error), requeue=True) from error
    if performed.outcome is None:
        if performed.is_repeat:
            raise TransferRepeated(performed.note)
        # Not a return: in Flower, a success stands over any failure that comes later (celery.events.state).
        raise Ignore(performed.note)
    line = _describe(performed.outcome, performed.note)
    if performed.outcome.state is not State.SUBMITTED:
        raise _ENDINGS[performed.outcome.state](line)
    return f"submitted ({line})"


@app.task(
    name=REPORT_TASK_NAME,
    bind=True,
    throws=(ReportRefused,),
    Request="transfer_worker.queue.request:MaskedReport",
)
def report_connection(
    self: Any, report: Mapping[str, Any] | str | None = None, signature: str | None = None
) -> str:
    """Put on record what a receiver of a team's own says of a connection. It sends nothing.

    Args:
        self: The task.
        report: What is said; read at the door.
        signature: Of that report, which then is a text.

    Raises:
        ReportRefused: It is not believed; Flower shows it as a failure.
        Reject: The ledger could not be used; the message goes back.
    """
    if _process is None:
        raise RuntimeError("report_connection runs in a worker process only")
    try:
        result = _process.take_report(*read_reported(self.request))
    except LedgerUnavailable as error:
        raise Reject(str(error), requeue=True) from error
    if result.verdict is ReportVerdict.REFUSED:
        raise ReportRefused("the transfer that it names has no request at the platform")
    return f"{result.verdict} ({result.transfer_id or 'nobody knows whose'})"


def _describe(outcome: TransferOutcome, note: str) -> str:
    """Return the outcome in one line, for Flower."""
    parts = [outcome.reason.value, f"attempts {outcome.attempts}"]
    if outcome.http_status is not None:
        parts.append(f"HTTP {outcome.http_status}")
    if outcome.detail:
        parts.append(outcome.detail)
    if note:
        parts.append(note)
    return ", ".join(parts)
