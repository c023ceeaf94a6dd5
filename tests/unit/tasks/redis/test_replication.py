"""Steps that go out together count once replicas have them, whatever one of them was told."""

from __future__ import annotations

from typing import Any, Self

import pytest
import redis

from transfer_tasks.redis.replication import NotReplicated, ReplicatedRedis, Replication, run_scripts


class Answering(ReplicatedRedis):
    """A client whose one round trip brings these replies."""

    replication = Replication(replicas=1, patience_ms=10)

    def __init__(self, *replies: Any) -> None:
        super().__init__()
        self._replies = list(replies)

    def pipeline(self, **_: Any) -> Self:
        return self

    def execute_command(self, *_: Any, **__: Any) -> None:
        """Take it."""

    def execute(self, **_: Any) -> list[Any]:
        return self._replies


REFUSED = redis.ResponseError("refused")


@pytest.mark.parametrize("replies", [("done", REFUSED), (REFUSED, "done"), ("done", "done")])
def test_steps_that_too_few_replicas_have_do_not_count_whichever_is_refused(replies):
    with pytest.raises(NotReplicated):
        run_scripts(Answering(*replies, 0, 0), [["EVALSHA"], ["EVALSHA"]])


def test_where_all_are_refused_there_is_nothing_that_replicas_could_have():
    assert run_scripts(Answering(REFUSED, 0, 0), [["EVALSHA"]]) == [REFUSED]
