"""A Redis that ends is started again; one that ends again and again is not."""

from __future__ import annotations

from pathlib import Path

import pytest

from transfer_worker.local.embedded_redis import RedisServerFailed
from transfer_worker.local.redis_keeper import MOST_RESTARTS, WITHIN_SECONDS, RedisKeeper


class FakeServer:
    data_dir = Path("data")

    def __init__(self):
        self.exit_code, self.restarts = None, 0

    def poll(self):
        return self.exit_code

    def restart(self):
        self.exit_code, self.restarts = None, self.restarts + 1

    def read_log_tail(self):
        return "Bad file format reading the append only file"


@pytest.fixture
def kept():
    server, said, now = FakeServer(), [], [0.0]
    return server, RedisKeeper(server, say=said.append, clock=lambda: now[0]), said, now


def test_a_server_that_runs_is_left_alone(kept):
    server, keeper, said, _ = kept
    keeper.check()
    assert (server.restarts, said) == (0, [])


def test_it_is_given_up_where_it_ends_again_and_again(kept):
    server, keeper, said, _ = kept
    for _ in range(MOST_RESTARTS):
        server.exit_code = -9
        keeper.check()
    assert server.restarts == MOST_RESTARTS
    assert len(said) == 2 * MOST_RESTARTS
    server.exit_code = 1
    with pytest.raises(RedisServerFailed, match=r"has ended 4 times within 60 s \(1\)") as failed:
        keeper.check()
    assert "Bad file format" in str(failed.value)


def test_ends_that_are_far_apart_give_nothing_up(kept):
    server, keeper, _, now = kept
    for _ in range(3 * MOST_RESTARTS):
        now[0] += WITHIN_SECONDS / 2
        server.exit_code = -9
        keeper.check()
    assert server.restarts == 3 * MOST_RESTARTS
