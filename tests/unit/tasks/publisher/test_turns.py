"""A hundred who come at once share the loop's turns: counted on a clock that goes by what they do."""

from __future__ import annotations

import asyncio

import pytest

from transfer_tasks.publisher.turns import KEEP_SECONDS, Turns

AT_ONCE = 100


class Clock:
    """Stands still but for the work that is done."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def turns(clock):
    return Turns(clock)


class TurnCounter:
    """Counts the turns of the running loop, from the next on."""

    def __init__(self) -> None:
        self.number = 0
        self._count()

    def _count(self) -> None:
        self.number += 1
        asyncio.get_running_loop().call_soon(self._count)


async def test_a_hundred_at_once_are_spread_over_turns_in_the_order_they_came_in(turns, clock):
    counter, began = TurnCounter(), []

    async def work(number):
        await turns.take()
        began.append((number, counter.number))
        clock.seconds += 0.3 * KEEP_SECONDS

    await asyncio.gather(*(work(number) for number in range(AT_ONCE)))
    assert [number for number, _ in began] == list(range(AT_ONCE))
    in_each = [sum(turn == each for _, turn in began) for each in {turn for _, turn in began}]
    assert max(in_each) == 4, "a turn is kept for so long and no longer"


async def test_whoever_comes_alone_goes_on_in_the_same_turn(turns, clock):
    counter = TurnCounter()
    for _ in range(3):
        before = counter.number
        await turns.take()
        assert counter.number == before
        clock.seconds += 10 * KEEP_SECONDS
        await asyncio.sleep(0)
        await asyncio.sleep(0)


async def test_whoever_comes_later_waits_behind_those_who_wait_already(turns, clock):
    began = []

    async def work(name):
        await turns.take()
        began.append(name)
        clock.seconds += KEEP_SECONDS

    first = [asyncio.create_task(work(number)) for number in range(5)]
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    await asyncio.gather(*first, asyncio.create_task(work("later")))
    assert began == [0, 1, 2, 3, 4, "later"]


async def test_one_that_is_cancelled_while_it_waits_holds_nobody_up(turns, clock):
    began = []

    async def work(number):
        await turns.take()
        began.append(number)
        clock.seconds += KEEP_SECONDS

    tasks = [asyncio.create_task(work(number)) for number in range(5)]
    await asyncio.sleep(0)
    tasks[1].cancel()
    tasks[2].cancel()
    await asyncio.wait(tasks)
    assert began == [0, 3, 4]
