"""Who gives back messages that were fetched too long ago: workers, and nobody who only asks them."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from transfer_worker.queue.qos import GatheringQoS


class AskedRedis(Exception):
    """The channel was asked for a connection."""


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
    def ask():
        raise AskedRedis

    clock = SimpleNamespace(is_known=True, now_ms=lambda: 0)
    channel = SimpleNamespace(
        active_queues=set(queues),
        conn_or_acquire=ask,
        clock=clock,
        visibility_timeout=12,
        connection=None,
        do_restore=False,
    )
    qos = GatheringQoS(channel)
    if is_asked:
        with pytest.raises(AskedRedis):
            qos.restore_visible(interval=1)
    else:
        qos.restore_visible(interval=1)
