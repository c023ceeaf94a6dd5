"""Whether a worker, and who receives webhooks, could start with the settings that stand here."""

from __future__ import annotations

import time
from importlib.util import find_spec
from typing import TYPE_CHECKING, Final

from transfer_tasks.connection import ReportSource
from transfer_tasks.errors import SettingsError
from transfer_worker.runtime.findings import Finding
from transfer_worker.webhooks.settings import WebhookSettings

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from transfer_worker.monitoring.statistics import Status

_NOT_ASKED_FOR: Final = "TRANSFER_WEBHOOK_SECRET is not set, and has no default"


def check_settings(problems: Sequence[str]) -> Iterator[Finding]:
    """Name what is wrong; say nothing where nothing is."""
    if problems:
        yield Finding.problem(
            "settings",
            seen="; ".join(problems),
            fix="No worker starts here with that: correct the environment or .env. Of a worker elsewhere it "
            "says nothing, and what a worker alone needs is not looked at.",
        )


def check_webhooks(status: Status | None) -> Iterator[Finding]:
    """Look at what `call-transfer webhooks` needs; say nothing where nobody has set its secret."""
    try:
        WebhookSettings.load()
    except SettingsError as error:
        problems = [problem for problem in error.problems if "TRANSFER_WEBHOOK_" in problem]
        if problems and problems != [_NOT_ASKED_FOR]:
            yield Finding.warning(
                "webhooks",
                seen="; ".join(problems),
                fix="call-transfer webhooks does not start here with that: correct the environment or .env.",
            )
        return
    if missing := [name for name in ("starlette", "uvicorn") if find_spec(name) is None]:
        yield Finding.warning(
            "webhooks",
            seen=f"call-transfer webhooks does not start here: {' and '.join(missing)} not installed",
            fix='pip install "call-transfer[worker,webhooks]"',
        )
        return
    heard = status.present.heard.get(ReportSource.WEBHOOK.value) if status else None
    since = f"the last report came {time.time() - heard.at_ms / 1000:.0f} s ago" if heard else "none has come"
    yield Finding.ok("webhooks", seen=f"the secret is set; of a connection {since}")
