"""Whether the platform takes the token, as far as that can be told without moving a call."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

import requests

from transfer_tasks.outcome import Reason, State
from transfer_worker.runtime.findings import Finding
from transfer_worker.settings import WorkerSettings, is_this_machine

if TYPE_CHECKING:
    from transfer_worker.monitoring.statistics import Status

PROBE_SECONDS: Final = 2.0


def check_token(settings: WorkerSettings | None, status: Status | None) -> Finding:
    """Ask a sandbox; never the platform, where every request that it takes moves a call.

    Of the platform, the answers that the workers got are looked at instead; so it is where there are no
    settings of a worker.
    """
    where = "no worker's settings are here"
    if settings is not None:
        api = urlsplit(settings.piopiy_api_url)
        if is_this_machine(api.hostname or "") and (found := _probe_sandbox(settings)):
            return found
        where = f"PIOPIY_TOKEN is set, for {api.netloc.rpartition('@')[2]}"
    _, five_minutes, hour = status.windows if status else (None, None, None)
    if five_minutes and (refused := five_minutes.reasons.get(Reason.UNAUTHORIZED, 0)):
        return Finding.problem(
            "token",
            seen=f"{where}; the workers' token was refused {refused} times in the last 5 minutes",
            fix="Check PIOPIY_TOKEN on the workers, now, and start them again.",
        )
    if hour and (taken := hour.outcomes[State.SUBMITTED]):
        return Finding.ok(
            "token",
            seen=f"{where}; the workers' token was accepted {taken} times in the last hour",
        )
    return Finding.not_checked(
        "token",
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
        return Finding.problem(
            "token",
            seen=f"nobody answers at {origin}: {type(error).__name__}",
            fix="Start the sandbox, or correct PIOPIY_API_URL.",
        )
    if answer.status_code == requests.codes.unauthorized:
        return Finding.problem(
            "token",
            seen=f"the sandbox at {origin} refuses PIOPIY_TOKEN",
            fix="Use the token that the sandbox was started with.",
        )
    return Finding.ok("token", seen=f"accepted by the sandbox at {origin}")
