"""What is true of a call whichever framework its agent is made with."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from frameworks.platform import Caller
    from voice.cluster import Cluster
    from voice.model import Wits


async def check_that_it_was_moved(cluster: Cluster, caller: Caller) -> None:
    """The platform has been asked for the destination on offer, and has accepted."""
    (post,) = await asyncio.to_thread(cluster.wait_for_posts, caller.call_id, 1, 60)
    assert post.endpoint == {"type": "pstn", "number": "12025550100"}
    await asyncio.to_thread(cluster.wait_for_state, caller.call_id, "submitted", within_seconds=60)


async def check_that_it_was_busy(cluster: Cluster, caller: Caller) -> None:
    """The caller hears it, and it is on record."""
    await caller.hears("their line is busy")
    (record,) = cluster.records(caller.call_id)
    assert record.connection.status == "not_connected"


def check_tools(wits: Wits) -> None:
    """The model has one tool to transfer with, and that one is ours."""
    offered = wits.tools_offered
    assert sorted(offered) == ["end_call", "transfer_call"]
    assert "mode" not in offered["transfer_call"]["parameters"]["properties"], "it is Piopiy's own"
