"""The clock of a session: that of its event loop, which tests put on by hand."""

from __future__ import annotations

import asyncio


def loop_time() -> float:
    """Return the running loop's monotonic time, in seconds."""
    return asyncio.get_running_loop().time()
