"""The demo: real transfers through the whole system, with the sandbox as the judge.

Each step is checked: how it ended, in how many attempts, and how many requests reached the platform.
"""

from __future__ import annotations

import tempfile
import threading
import time
import uuid
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from pydantic import SecretStr

from transfer_tasks.errors import OutcomeTimeout
from transfer_tasks.intent import TransferIntent
from transfer_tasks.publisher import TransferPublisher
from transfer_tasks.settings import PublisherSettings, Settings, load_settings
from transfer_worker.audit.console import AuditWatch
from transfer_worker.audit.outbox import AuditEvent
from transfer_worker.local.demo_steps import DESTINATIONS, STEPS, Step
from transfer_worker.local.setup_files import make_keys
from transfer_worker.local.stack import Stack, without_settings

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from pydantic_settings import BaseSettings, PydanticBaseSettingsSource

    from transfer_worker.sandbox import SandboxServer

ATTEMPT_TIMEOUT_SECONDS: Final = 2.0
OUTCOME_SECONDS: Final = 10.0


@dataclass(slots=True, kw_only=True)
class Result:
    """What one step came to.

    Attributes:
        to_post_ms: From asking until the sandbox had the first request; None where there was none.
        to_outcome_ms: From asking until the outcome was here.
        problems: What is not as it must be.
    """

    title: str
    to: str
    transfer_id: str
    call_id: str
    is_repeat: bool
    state: str
    reason: str
    attempts: int
    posts: int
    to_post_ms: int | None
    to_outcome_ms: int
    problems: list[str] = field(default_factory=list)


class _OwnSettings(PublisherSettings):
    """The defaults and what the demo says: no setting of the user's gets in."""

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Read nothing but the arguments."""
        return (init_settings,)


class _Named(Settings):
    """Whether a Redis is named, in the environment or in `.env`; whatever else is in there may be wrong."""

    redis_url: SecretStr | None = None


REDIS_LEFT_ALONE: Final = (
    "TRANSFER_REDIS_URL is set, and is not used: the demo touches no Redis that may carry real transfers."
)


def is_redis_named() -> bool:
    """Say whether TRANSFER_REDIS_URL is set."""
    return load_settings(_Named).redis_url is not None


class _FinishedLines:
    """Says which transfers' endings have been shown, so that lines don't run into the next step's title."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._seen: set[str] = set()
        self.lines: list[dict[str, Any]] = []

    def take(self, line: Mapping[str, Any]) -> None:
        with self._changed:
            self.lines.append(dict(line))
            if line["event"] in {AuditEvent.FINISHED, AuditEvent.REPEATED}:
                self._seen.add(f"{line['event']} {line['transfer_id']}")
                self._changed.notify_all()

    def wait_for(self, event: AuditEvent, transfer_id: str) -> bool:
        with self._changed:
            return self._changed.wait_for(lambda: f"{event} {transfer_id}" in self._seen, timeout=2)


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What the whole demo came to."""

    results: list[Result]
    problems: list[str]
    audit_lines: list[dict[str, Any]]

    @property
    def is_as_it_must_be(self) -> bool:
        """Whether everything ended as it must."""
        return not self.problems and not any(result.problems for result in self.results)

    def as_dict(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return {"ok": self.is_as_it_must_be, **asdict(self)}


def run_demo(
    *,
    say: Callable[[str], None],
    show_line: Callable[[Mapping[str, Any]], None],
) -> Report:
    """Run every step on a Redis, a sandbox and a worker of our own.

    Args:
        say: Gets a line of text before each step.
        show_line: Gets each audit line as it happens.

    Raises:
        EmbeddedRedisError: There is no Redis to be had.
        ChildFailed: The worker does not come up.
    """
    with tempfile.TemporaryDirectory(prefix="call-transfer-demo-") as name, Stack(Path(name)) as stack:
        directory = Path(name)
        if is_redis_named():
            say(REDIS_LEFT_ALONE)
        (directory / "destinations.toml").write_text(DESTINATIONS, "utf-8")
        keys = make_keys()
        redis, sandbox = stack.add_redis(), stack.add_sandbox()
        say(f"A Redis of our own on port {redis.port}, and a sandbox for Piopiy at {sandbox.url}.")
        env = {
            **without_settings(),
            "TRANSFER_REDIS_URL": redis.url,
            "TRANSFER_DESTINATIONS_FILE": str(directory / "destinations.toml"),
            "TRANSFER_ATTEMPT_TIMEOUT_SECONDS": str(ATTEMPT_TIMEOUT_SECONDS),
            "PIOPIY_TOKEN": sandbox.token,
            "PIOPIY_API_URL": sandbox.url,
            "PIOPIY_NUMBER": "+1 202-555-0100",
            **keys,
        }
        # There, no .env is in the way.
        worker = stack.add_worker(env=env, cwd=directory)
        say(f"A worker: call-transfer worker, process {worker.process.pid}.")
        seen = _FinishedLines()

        def take(line: Mapping[str, Any]) -> None:
            show_line(line)
            seen.take(line)

        with (
            AuditWatch(redis.url, show=take, since="0"),
            TransferPublisher(
                _OwnSettings(
                    redis_url=redis.url, destinations_file=None, signing_key=keys["TRANSFER_SIGNING_KEY"]
                )
            ) as publisher,
        ):
            results: dict[str, Result] = {}
            for step in STEPS:
                say(f"\n{step.title}")
                first = results.get(step.repeats)
                results[step.title] = _run_step(step, first, publisher, sandbox, seen)
            expected = sum(step.posts for step in STEPS if not step.repeats)
            problems = []
            if sandbox.post_count() != expected:
                problems.append(f"{sandbox.post_count()} requests reached the sandbox instead of {expected}")
        return Report(results=list(results.values()), problems=problems, audit_lines=seen.lines)


def _run_step(
    step: Step,
    first: Result | None,
    publisher: TransferPublisher,
    sandbox: SandboxServer,
    seen: _FinishedLines,
) -> Result:
    intent = TransferIntent(
        call_id=first.call_id if first else uuid.uuid4(),
        destination=step.destination,
        reason=f"the demo's caller asks for: {step.title}",
        requested_by="demo",
    )
    asked_at_ms, started = time.time() * 1000, time.monotonic()
    handle = publisher.submit(intent)
    problems = []
    state = reason = ""
    attempts = 0
    try:
        outcome = handle.outcome(OUTCOME_SECONDS)
    except OutcomeTimeout as error:
        problems.append(str(error))
    else:
        state, reason, attempts = outcome.state.value, outcome.reason.value, outcome.attempts
    to_outcome_ms = round((time.monotonic() - started) * 1000)
    if not seen.wait_for(AuditEvent.REPEATED if first else AuditEvent.FINISHED, handle.transfer_id):
        problems.append("the audit log does not say how it ended")
    requests = sandbox.requests(intent.call_id)
    result = Result(
        title=step.title,
        to=", ".join(intent.labels().values()),
        transfer_id=handle.transfer_id,
        call_id=intent.call_id,
        is_repeat=handle.is_repeat,
        state=state,
        reason=reason,
        attempts=attempts,
        posts=len(requests),
        to_post_ms=round(requests[0]["received_at_ms"] - asked_at_ms) if requests and not first else None,
        to_outcome_ms=to_outcome_ms,
        problems=problems,
    )
    problems += find_differences(step, first, result, sandbox.carried_out_count(intent.call_id))
    return result


def find_differences(step: Step, first: Result | None, result: Result, carried_out: int) -> list[str]:
    """Say in which ways a result is not what its step must come to.

    Args:
        step: What was asked.
        first: The result of the step that this one repeats.
        result: What it came to.
        carried_out: How often the sandbox moved the call.
    """
    seen_and_wanted = [
        ("ended", result.reason, step.reason.value),
        ("attempts", result.attempts, step.attempts),
        ("POSTs", result.posts, step.posts),
        ("calls moved", carried_out, step.carried_out),
        ("repeat", result.is_repeat, first is not None),
    ]
    if first:
        seen_and_wanted.append(("transfer", result.transfer_id, first.transfer_id))
    return [f"{what}: {seen} instead of {wanted}" for what, seen, wanted in seen_and_wanted if seen != wanted]
