"""What Flower's memory rests on, seen in flower 2.2.0 and celery 5.7.0."""

from __future__ import annotations

import uuid

from flower.events import EventsState
from flower.urls import handlers, settings
from flower.views.tasks import TASK_COLUMNS

LIMIT = 50


def test_what_it_remembers_of_tasks_does_not_grow_beyond_the_limit():
    state = EventsState(max_tasks_in_memory=LIMIT, max_workers_in_memory=10)
    for clock in range(0, 1500, 3):
        task = {"uuid": str(uuid.uuid4()), "hostname": "w1@test", "timestamp": 1.0, "local_received": 1.0}
        for step, kind in enumerate(("received", "started", "succeeded")):
            state.event(
                {**task, "type": f"task-{kind}", "clock": clock + step, "name": "t", "pid": 1, "utcoffset": 0}
            )

    assert len(state.tasks) == len(state.search_engine.documents) == LIMIT
    assert len(state._taskheap) <= 4 * LIMIT


def test_what_our_banner_and_headings_hang_on_is_there():
    assert isinstance(handlers, list)
    assert "template_path" in settings
    assert "template_loader" not in settings
    assert {"received", "result", "kwargs", "args"} <= set(TASK_COLUMNS)
