"""What is refused where it stands in the queue, and what stays there."""

from __future__ import annotations

import json
import uuid
from typing import TYPE_CHECKING, Any

import pytest
import redis

from transfer_tasks.publisher.message import build_message
from transfer_tasks.redis.connection import connect
from transfer_tasks.signature import Written
from transfer_worker.queue.ahead import BATCH, LookAhead
from transfer_worker.queue.poison import read_element

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from transfer_worker.queue.element import Element

QUEUE = "transfers"


def message(destination: str) -> str:
    return build_message(
        transfer_id=str(uuid.uuid4()),
        call_id=str(uuid.uuid4()),
        labels={"destination": destination},
        queue=QUEUE,
        written=Written(""),
    )


class Stage:
    """A queue, and a refusal of whatever goes to `bad`."""

    def __init__(self, client: redis.Redis) -> None:
        self.client, self.refused = client, 0

    def refuse(self, elements: Sequence[Element]) -> list[bool]:
        ended = ["'bad'" in element["headers"]["kwargsrepr"] for element in elements]
        self.refused += sum(ended)
        return ended

    def turn_away(self, text: str) -> bool:
        """Take one, as the worker does."""
        return LookAhead(self.client, self.refuse).turn_away(read_element(text.encode(), queue=QUEUE))

    def put(self, *texts: str | bytes) -> None:
        self.client.lpush(QUEUE, *texts)

    def standing(self) -> list[Any]:
        """What will be taken, next first."""
        found: Any = self.client.execute_command("LRANGE", QUEUE, 0, -1, NEVER_DECODE=True)  # type: ignore[no-untyped-call]
        return list(reversed(found))


@pytest.fixture
def stage(redis_url: str) -> Iterator[Stage]:
    with connect(redis_url, timeout_seconds=30) as client:
        yield Stage(client)


def test_who_is_not_refused_waits_for_nothing(stage: Stage) -> None:
    good = message("good")
    stage.put(good)
    assert not stage.turn_away(message("good"))
    assert stage.standing() == [good.encode()]


def test_what_is_refused_is_gone_and_the_others_keep_their_places(stage: Stage) -> None:
    good = [message("good") for _ in range(3)]
    bad = [message("bad") for _ in range(2 * BATCH)]
    stage.put(*bad[: BATCH + 3], good[0], *bad[BATCH + 3 : BATCH + 7], good[1], good[2], *bad[BATCH + 7 :])
    assert stage.turn_away(message("bad"))
    standing = stage.standing()
    assert [one for one in standing if one in {g.encode() for g in good}] == [g.encode() for g in good]
    assert standing[0] == good[0].encode(), "it is taken next"
    assert stage.refused == 1 + 2 * BATCH - (len(standing) - 3)


def test_the_whole_queue_is_read_where_there_is_nothing_else(stage: Stage) -> None:
    stage.put(*(message("bad") for _ in range(BATCH)))
    assert stage.turn_away(message("bad"))
    assert stage.standing() == []
    assert stage.refused == BATCH + 1


@pytest.mark.parametrize("poison", [b"\xff", b"{", json.dumps({"headers": {}}).encode()])
def test_poison_stays_until_its_turn_comes(stage: Stage, poison: bytes) -> None:
    stage.put(message("bad"), poison, message("bad"))
    assert stage.turn_away(message("bad"))
    assert stage.standing() == [poison]


def test_an_outage_behind_a_refusal_changes_nothing_of_it(stage: Stage, monkeypatch: Any) -> None:
    def fail(*_: object, **__: object) -> None:
        raise redis.ConnectionError

    stage.put(message("bad"))
    monkeypatch.setattr(stage.client, "execute_command", fail)
    assert stage.turn_away(message("bad"))
