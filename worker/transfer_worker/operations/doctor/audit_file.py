"""Whether a worker could open its audit file; it does not start without it."""

from __future__ import annotations

import fcntl
import os
from typing import TYPE_CHECKING, Final

from transfer_worker.runtime.findings import Finding

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from transfer_worker.settings import WorkerSettings

_FIX: Final = "Correct TRANSFER_AUDIT_FILE, or let this user write there: a worker does not start without it."


def check_audit_file(settings: WorkerSettings) -> Iterator[Finding]:
    """Try to open it, as this user, and without making it: it would belong to whoever runs `doctor`."""
    path = settings.audit_file
    if path is None:
        return
    try:
        _try_to_open(path)
    except OSError as error:
        yield Finding.problem("audit file", seen=f"{path.absolute()}: {error.strerror}", fix=_FIX)
    else:
        key = next(iter(settings.load_audit_keys()), None)
        sealed = f"sealed with the key {key}" if key else "sealed without a key (TRANSFER_AUDIT_KEY)"
        yield Finding.ok("audit file", seen=f"{path.absolute()}: this user can write it; {sealed}")


def _try_to_open(path: Path) -> None:
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CLOEXEC)
    except FileNotFoundError:
        folder = path.absolute().parent
        if not folder.is_dir():
            raise
        if not os.access(folder, os.W_OK | os.X_OK):
            raise PermissionError(0, f"this user can't make it in {folder}") from None
        return
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        pass  # a worker is writing: there are locks
    finally:
        os.close(descriptor)
