"""A port for a server that is about to start."""

from __future__ import annotations

import os
import random
import socket
from typing import Final

# Below those that systems give to outgoing connections: nobody gets one of these by chance in the meantime.
_RANGE: Final = range(20_000, 32_000)
_CHANCE: Final = random.Random(os.getpid())


def pick_free_port() -> int:
    """Return a port of 127.0.0.1 on which nobody listens."""
    while True:
        port = _CHANCE.choice(_RANGE)
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
