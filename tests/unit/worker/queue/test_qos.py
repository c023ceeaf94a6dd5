"""Who gives back messages that were fetched too long ago: workers, and nobody who only asks them."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from transfer_worker.queue.arrivals import Arrivals
from transfer_worker.queue.qos import GatheringQoS

NOW_MS = 1_800_000_000_000


class AskedRedis(Exception):
    """The channel was asked for a connection."""


def look(queues, arrivals):
    """Look for what is to be given back; return whether Redis was asked."""

    def ask():
        raise AskedRedis

    channel = SimpleNamespace(
        active_queues=set(queues),
        conn_or_acquire=ask,
        clock=SimpleNamespace(is_known=True, now_ms=lambda: NOW_MS),
        arrivals=arrivals,
        visibility_timeout=12,
        connection=None,
        do_restore=False,
    )
    try:
        GatheringQoS(channel).restore_visible(interval=1)
    except AskedRedis:
        return True
    return False


@pytest.mark.parametrize(
    ("queues", "is_asked"),
    [
        (["transfers"], True),
        (["transfers", "0f5c.reply.transfer.control.pidbox"], True),
        (["0f5c.reply.transfer.control.pidbox"], False),
        ([], False),
    ],
)
def test_only_who_takes_transfers_gives_any_back(queues, is_asked):
    assert look(queues, Arrivals()) is is_asked


@pytest.mark.parametrize(("seconds_ago", "is_asked"), [(0.4, False), (11.9, False), (12.1, True)])
def test_nobody_looks_for_overdue_messages_where_none_was_unacknowledged_just_now(seconds_ago, is_asked):
    arrivals = Arrivals()
    arrivals.note_empty(round(NOW_MS - seconds_ago * 1000))
    assert look(["transfers"], arrivals) is is_asked
