"""Who carries transfers out."""

from __future__ import annotations

from typing import Any


def __getattr__(name: str) -> Any:
    """Give Celery's command line its app (`celery -A transfer_worker …`) without importing it for others."""
    if name == "app":
        from transfer_worker.runtime.celery_app import app

        return app
    raise AttributeError(name)
