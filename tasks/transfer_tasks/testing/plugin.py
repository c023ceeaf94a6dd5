"""Fixtures for pytest: ``pytest_plugins = ["transfer_tasks.testing.plugin"]`` in the root's conftest.py."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from transfer_tasks.testing import RecordingPublisher, run_on_fake_time

if TYPE_CHECKING:
    from collections.abc import Callable


@pytest.fixture
def recording_publisher() -> RecordingPublisher:
    """A publisher that submits every transfer at once; `script` says how others end."""
    return RecordingPublisher()


@pytest.fixture
def on_fake_time() -> Callable[..., Any]:
    """Run a coroutine on a clock that jumps: ``on_fake_time(check())``."""
    return run_on_fake_time
