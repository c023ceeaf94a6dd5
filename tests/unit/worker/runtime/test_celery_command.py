"""A process of a worker, until Celery takes over."""

from __future__ import annotations

import gc
import sys
from types import SimpleNamespace

import pytest

from transfer_worker.runtime import ending
from transfer_worker.runtime.celery_command import run_worker


@pytest.fixture
def made(monkeypatch):
    """What workers were made, and whether garbage was collected then."""
    made = []

    def make_worker(hostname):
        made.append((hostname, gc.isenabled()))  # making one waits for Redis, for hours if need be
        return SimpleNamespace(start=lambda: None, exitcode=3)

    app = SimpleNamespace(Worker=make_worker)
    monkeypatch.setitem(sys.modules, "transfer_worker.runtime.celery_app", SimpleNamespace(app=app))
    monkeypatch.setattr(ending, "handle_signals", lambda: None)
    yield made
    gc.enable()
    gc.unfreeze()


def test_it_ends_with_the_workers_exit_code_and_collects_garbage_from_its_making_on(made):
    with pytest.raises(SystemExit) as ended:
        run_worker("w1@here")
    assert (made, ended.value.code) == ([("w1@here", True)], 3)
