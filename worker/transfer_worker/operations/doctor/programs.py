"""Whether what a worker and Flower are made of is installed: a vendor may import what it does not declare."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Final

from transfer_worker.runtime.findings import Finding

if TYPE_CHECKING:
    from collections.abc import Iterator

PARTS: Final = {"worker": "kombu.transport.redis", "flower": "flower.command"}
"""The module of a vendor's that each program loads last."""


def check_programs() -> Iterator[Finding]:
    """Find what would not start; a sound installation is not worth a line."""
    for program, module in PARTS.items():
        try:
            import_module(module)
        except ImportError as error:
            yield Finding.problem(
                "install",
                seen=f"{program} can't start: {module} needs more than is installed ({error})",
                fix="Install call-transfer[worker] anew, into an environment of its own.",
            )
