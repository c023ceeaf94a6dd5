"""Celery's programs as children of ours.

`python -m transfer_worker.runtime.celery_command worker NAME` is a process of a worker; with other arguments,
it is Celery's command line (`-A transfer_worker flower …`).
"""

from __future__ import annotations

import gc
import signal
import sys
from typing import NoReturn

from transfer_worker.runtime.lifeline import die_with_parent, leave_words


def main() -> None:
    """Run what this process's arguments say; die with the parent."""
    die_with_parent()
    # The parent stops us by it, whatever it was told to ignore itself.
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    try:
        if sys.argv[1:2] == ["worker"]:
            run_worker(sys.argv[2])
        from celery.__main__ import main as run_celery

        from transfer_worker.runtime.ending import handle_signals

        handle_signals()
        run_celery()
    except Exception as error:
        leave_words(f"{type(error).__name__}: {error}")
        raise


def run_worker(name: str) -> NoReturn:
    """Carry transfers out as the settings say until we are told to stop, then exit.

    Not by Celery's command line: that imports all of its commands first, with Flower, which takes a fifth of
    the time until the first transfer.

    Args:
        name: Celery's name of this worker, ``…@%h``.
    """
    gc.disable()  # what is imported stays; to look it over again and again takes a tenth of the time
    from celery.utils.nodenames import host_format

    from transfer_worker.runtime.celery_app import app
    from transfer_worker.runtime.ending import handle_signals

    gc.freeze()
    gc.enable()
    handle_signals()
    worker = app.Worker(hostname=host_format(name))
    worker.start()
    sys.exit(worker.exitcode)


if __name__ == "__main__":
    main()
