"""What a worker process is made of: everything is made here, and handed to whoever needs it."""

from __future__ import annotations

import json
import os
import platform
import secrets
import time
from contextlib import ExitStack
from datetime import UTC, datetime
from functools import partial
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

import structlog

from transfer_tasks.ledger.ledger import Ledger
from transfer_tasks.publisher.message import TASK_NAME, write_notification
from transfer_tasks.redis.connection import connect
from transfer_tasks.rules.caller_ids import parse_caller_ids
from transfer_worker.audit import logs
from transfer_worker.audit.chain import Chain
from transfer_worker.audit.file import AuditFile
from transfer_worker.audit.heads import describe_head
from transfer_worker.audit.outbox import BLOCK_SECONDS
from transfer_worker.audit.writer import AuditWriter
from transfer_worker.delivery.policy import TransferPolicy
from transfer_worker.delivery.refusal import Door
from transfer_worker.delivery.report import read_report
from transfer_worker.delivery.retry import RetryPolicy
from transfer_worker.delivery.service import TransferService
from transfer_worker.errors import ReportRefused
from transfer_worker.gateway import PiopiyGateway
from transfer_worker.gateway.status import StatusClient
from transfer_worker.ledger.digests import digest_registry, digest_settings
from transfer_worker.ledger.recovery import LEASE_SECONDS, Recovery
from transfer_worker.ledger.steps import LedgerSteps
from transfer_worker.queue.ahead import LookAhead
from transfer_worker.queue.remote_control import GuardedNode
from transfer_worker.queue.request import MaskedRequest
from transfer_worker.queue.thread_pool import HeadStartPool
from transfer_worker.queue.transport import GuardedChannel
from transfer_worker.runtime.lifeline import RESTARTS_VARIABLE
from transfer_worker.runtime.messages import read_message
from transfer_worker.runtime.poller import StatusPoller
from transfer_worker.settings import SETTLE_PATIENCE_SECONDS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from transfer_tasks.connection import ReportResult
    from transfer_worker.queue.element import Element
    from transfer_worker.settings import WorkerSettings

REDIS_TIMEOUT_SECONDS: Final = 1.0
STOP_SECONDS: Final = 5.0


class WorkerProcess:
    """What a worker process is made of.

    Args:
        settings: The worker's settings.
        hostname: Celery's name of this worker.
    """

    def __init__(self, settings: WorkerSettings, *, hostname: str) -> None:
        self.settings = settings
        # A restarted worker is another one: its predecessor's claims are not its own.
        self.worker = f"{hostname}/{os.getpid()}-{secrets.token_hex(3)}"
        rules = settings.load_rules()
        self._about = _describe_process(settings) | {
            "registry": digest_registry(rules.registry),
            "settings": digest_settings(settings),
        }
        self._started_at = time.monotonic()
        self._file = self._open_audit_file()
        url = settings.redis_url.get_secret_value()
        client = connect(url, timeout_seconds=REDIS_TIMEOUT_SECONDS)
        self.ledger = Ledger(client, retention_seconds=settings.record_ttl_seconds)
        log = self._log = structlog.get_logger("transfer_worker")
        proxy_url = settings.piopiy_proxy_url.get_secret_value() if settings.piopiy_proxy_url else None
        self.gateway = PiopiyGateway(
            token=settings.piopiy_token.get_secret_value(),
            base_url=settings.piopiy_api_url,
            timeout_seconds=settings.attempt_timeout_seconds,
            keeps_alive=settings.keep_alive,
            proxy_url=proxy_url,
            on_writing=HeadStartPool.end_head_start,
        )
        for seen in rules.review_registry():
            log.warning("registry.beyond_rules", file=str(settings.destinations_file), seen=seen)
        self.recovery = Recovery(
            self.ledger,
            worker=self.worker,
            describe=self._describe,
            queue=settings.queue,
            notification=write_notification(settings.queue),
            limits=rules.registry.list_limits(),
            attempt_bound_seconds=self.gateway.attempt_bound_seconds + REDIS_TIMEOUT_SECONDS + LEASE_SECONDS,
            log=log,
            clock=GuardedChannel.clock,
            on_empty=GuardedChannel.arrivals.note_empty,
            on_polls=lambda: self.poller.wake(),
        )
        self.poller = StatusPoller(
            self.ledger,
            StatusClient(
                token=settings.piopiy_token.get_secret_value(),
                base_url=settings.piopiy_api_url,
                timeout_seconds=settings.attempt_timeout_seconds,
                proxy_url=proxy_url,
            ),
            log=log,
        )
        steps = LedgerSteps(
            self.ledger,
            worker=self.worker,
            queue=settings.queue,
            repeat_window_seconds=settings.repeat_window_seconds,
            settle_patience_seconds=SETTLE_PATIENCE_SECONDS,
            keep_lease=self.recovery.keep_lease,
        )
        GuardedChannel.on_poison = steps.quarantine
        GuardedNode.obeys_operators = settings.remote_control == "operator"
        GuardedNode.on_command, GuardedNode.on_revoke = steps.note_command, steps.withdraw
        GuardedNode.on_change = self._tell_changes
        self.audit = AuditWriter(
            connect(url, timeout_seconds=BLOCK_SECONDS + REDIS_TIMEOUT_SECONDS),
            keys=self.ledger.keys,
            worker=self.worker,
            lines=logs.make_line_logger(level=settings.log_level),
            log=log,
            clean=logs.Redaction(settings.secrets).clean,
            set_aside=steps.set_line_aside,
            file=self._file,
        )
        MaskedRequest.list_endpoints(rules.registry)
        self._verify_keys = settings.load_verify_keys()
        policy = TransferPolicy(
            rules,
            default_caller_id=settings.piopiy_number,
            caller_ids=parse_caller_ids(settings.caller_ids),
            verify_keys=self._verify_keys,
        )
        door = Door(ledger=steps, policy=policy, clock=time)
        GuardedChannel.turn_away = LookAhead(self.ledger.client, partial(_turn_away, door)).turn_away
        self.service = TransferService(
            ledger=steps,
            gateway=self.gateway,
            policy=policy,
            door=door,
            clock=time,
            retry=RetryPolicy(max_attempts=settings.max_attempts),
            # Well within the lease: whoever was held up for longer may have been given up for dead.
            write_within_seconds=LEASE_SECONDS / 2,
        )

    def _open_audit_file(self) -> AuditFile | None:
        path = self.settings.audit_file
        key = next(iter(self.settings.load_audit_keys().values()), None)
        return AuditFile(path, chain=Chain(self.worker, key=key)) if path else None

    def take_report(self, asked: object, signature: object) -> ReportResult:
        """Put on record what somebody reports of a connection by way of plain Celery.

        Raises:
            ReportRefused: It can't be read, or is not believed.
            LedgerUnavailable: Redis did not answer in time; the same again is safe.
        """
        try:
            report = read_report(asked, signature, self._verify_keys)
        except ReportRefused as error:
            self._log.warning("report.refused", why=str(error))
            raise
        return self.ledger.run(self.ledger.commands.report_connection(report))

    def _describe(self) -> str:
        """Return what a heartbeat says of this process."""
        head = describe_head(self._file) if self._file else None
        about = {**self._about, "up_seconds": round(time.monotonic() - self._started_at)}
        return json.dumps(about | {"audit_head": head} if head else about)

    def _tell_changes(self, changes: list[str]) -> None:
        self._about = {**self._about, "remote_control": changes}

    def start(self) -> None:
        """Write the audit log, then begin heartbeats and sweeps: they say that everything is in place."""
        self.audit.start()
        if self.settings.ask_platform:
            self.poller.start()
        self.recovery.start()

    def stop(self) -> None:
        """End gracefully, whatever a part of it raises; every transfer of this process has ended before."""
        with ExitStack() as parts:
            parts.callback(self.gateway.close)
            parts.callback(self.audit.stop, within_seconds=STOP_SECONDS)
            parts.callback(self.recovery.stop)
            parts.callback(self.poller.stop, within_seconds=STOP_SECONDS)


def _turn_away(door: Door, elements: Sequence[Element]) -> list[bool]:
    """Let the door look at what asks for a transfer; what reports on one has nothing to be refused there."""
    if not door.is_flooded:
        return [False] * len(elements)
    asking = [element for element in elements if element.task == TASK_NAME]
    ended = iter(door.turn_away([read_message(of.as_seen_by_celery()["headers"]) for of in asking]))
    return [element.task == TASK_NAME and next(ended) for element in elements]


def _describe_process(settings: WorkerSettings) -> dict[str, Any]:
    return {
        "version": version("call-transfer"),
        "host": platform.node(),
        "process_id": os.getpid(),
        "concurrency": settings.concurrency,
        "platform": urlsplit(settings.piopiy_api_url).netloc.rpartition("@")[2],
        "started_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "restarts": _read_restarts(os.environ.get(RESTARTS_VARIABLE, "")),
    }


def _read_restarts(text: str) -> int:
    """Return how often the supervisor has started this process again; 0 without one."""
    return int(text) if text.isascii() and text.isdigit() else 0
