"""Who has a turn in which round. Needs no system: tests plan without any."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from benchmarks.stage.systems import System


def few_of(rounds: int) -> int:
    """Return how many of the rounds there are of what no target is about, so that a whole run stays short."""
    return max(1, rounds * 2 // 5)


class Turn(NamedTuple):
    """A system's turns, in one variant; its figures go into `into`, under its name."""

    system: System
    variant: str
    into: dict[str, list[dict]]
    rounds: int

    def is_due(self, number: int, *, of: int) -> bool:
        """Say whether it has a turn in this round; one with fewer rounds has them spread over the whole."""
        return number * self.rounds // of != (number - 1) * self.rounds // of


def plan_rounds(turns: list[Turn]) -> list[list[Turn]]:
    """Return each round's turns. Each round begins elsewhere: nobody always has the same neighbour."""
    rounds = max(turn.rounds for turn in turns)
    planned = []
    for number in range(rounds):
        first = number * (len(turns) // rounds or 1) % len(turns)
        planned.append([turn for turn in turns[first:] + turns[:first] if turn.is_due(number, of=rounds)])
    return planned
