"""A call of its own for each test."""

from __future__ import annotations

import uuid

import pytest


@pytest.fixture
def call_id():
    return str(uuid.uuid4())
