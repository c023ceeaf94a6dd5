"""A port for a server that is about to start."""

from __future__ import annotations

import os
import random
import socket
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

# Below those that systems give to outgoing connections: nobody gets one of these by chance in the meantime.
_RANGE: Final = range(20_000, 32_000)
_CHANCE: Final = random.Random(os.getpid())
# A Redis in cluster mode listens this far above its port as well; only newer servers have an option for it.
CLUSTER_BUS_OFFSET: Final = 10_000


def pick_free_port(*, offsets: Sequence[int] = ()) -> int:
    """Return a port of 127.0.0.1 on which nobody listens, nor on those that are this much above it."""
    candidates = range(_RANGE.start, _RANGE.stop - max(offsets, default=0))
    while True:
        port = _CHANCE.choice(candidates)
        if all(map(_is_free, (port, *(port + offset for offset in offsets)))):
            return port


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True
