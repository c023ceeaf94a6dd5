"""Celery's command line as a child of ours: `python -m transfer_worker.runtime.celery_command -A …`."""

from __future__ import annotations

from transfer_worker.runtime.lifeline import die_with_parent


def main() -> None:
    """Run the `celery` command with this process's arguments; die with the parent."""
    die_with_parent()
    from celery.__main__ import main as run_celery

    run_celery()


if __name__ == "__main__":
    main()
