"""Celery's command line as a child of ours: `python -m transfer_worker.runtime.celery_command -A …`."""

from __future__ import annotations

import signal

from transfer_worker.runtime.lifeline import die_with_parent, leave_words


def main() -> None:
    """Run the `celery` command with this process's arguments; die with the parent."""
    die_with_parent()
    # The parent stops us by it, whatever it was told to ignore itself.
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    try:
        from celery.__main__ import main as run_celery

        from transfer_worker.runtime.ending import handle_signals

        handle_signals()
        run_celery()
    except Exception as error:
        leave_words(f"{type(error).__name__}: {error}")
        raise


if __name__ == "__main__":
    main()
