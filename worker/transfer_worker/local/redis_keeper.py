"""Keeps the Redis of `up` running: started again on the same data, given up where it keeps ending."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

from transfer_worker.local.embedded_redis import EmbeddedRedis, RedisServerFailed

if TYPE_CHECKING:
    from collections.abc import Callable

MOST_RESTARTS: Final = 3
WITHIN_SECONDS: Final = 60.0


class RedisKeeper:
    """Starts a server again that has ended by itself.

    Args:
        server: Has been started; its folder, port and password stay the same.
        say: Told what happens.
        clock: Monotonic, in seconds.
    """

    def __init__(
        self,
        server: EmbeddedRedis,
        *,
        say: Callable[[str], object],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._server, self._say, self._clock = server, say, clock
        self._restarted_at: list[float] = []

    def check(self) -> None:
        """Start it again if it has ended.

        Raises:
            RedisServerFailed: It has ended too often for another start to help, or does not come up.
        """
        exit_code = self._server.poll()
        if exit_code is None:
            return
        now = self._clock()
        self._restarted_at = [at for at in self._restarted_at if now - at < WITHIN_SECONDS]
        if len(self._restarted_at) == MOST_RESTARTS:
            raise RedisServerFailed(
                problem=f"has ended {MOST_RESTARTS + 1} times within {WITHIN_SECONDS:g} s ({exit_code})",
                log_tail=self._server.read_log_tail(),
            )
        self._restarted_at.append(now)
        self._say(f"Redis has ended ({exit_code}). It is started again on its data: {self._server.data_dir}")
        self._server.restart()
        self._say("Redis answers again.")
