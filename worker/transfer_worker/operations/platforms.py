"""Whom the workers talk to: the real platform, or a fake on this machine."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from transfer_worker.settings import is_this_machine

if TYPE_CHECKING:
    from collections.abc import Iterable

    from transfer_worker.monitoring.present import WorkerStatus


def find_real_platforms(workers: Iterable[WorkerStatus]) -> list[str]:
    """Return the platforms, other than a fake on their own machine, that living workers send to.

    Where no worker lives, or one does not say, it may be the real one: that is ``unknown``.
    """
    named = {str(worker.about.get("platform", "")) for worker in workers if worker.is_alive} or {""}
    return sorted(
        name or "unknown"
        for name in named
        if not name or not is_this_machine(urlsplit(f"//{name}").hostname or "")
    )
