"""Which behaviour applies to a request: the call's own script, else a fault, else the magic number."""

from __future__ import annotations

import random
import threading
from collections import Counter, deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from transfer_worker.sandbox.behaviours import Behaviour, Script, parse_behaviour
from transfer_worker.sandbox.magic_numbers import MAGIC_COURSES, MAGIC_NUMBERS

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from transfer_worker.sandbox.courses import Course


@dataclass(slots=True)
class Faults:
    """What befalls requests whoever sends them.

    Attributes:
        upcoming: Behaviours for the next requests, one each.
        mix: Probability of each behaviour, once `upcoming` is used up; what is left of 1 is not a fault.
        random: Draws from the mix.
        delay_ms: Delay before every answer.
    """

    upcoming: deque[Behaviour] = field(default_factory=deque)
    mix: list[tuple[float, Behaviour]] = field(default_factory=list)
    random: random.Random = field(default_factory=random.Random)
    delay_ms: float = 0.0

    def draw(self) -> Behaviour | None:
        """Return the fault for one request, if there is one."""
        if self.upcoming:
            return self.upcoming.popleft()
        if not self.mix:
            return None
        chance = self.random.random()
        for probability, behaviour in self.mix:
            chance -= probability
            if chance < 0:
                return behaviour
        return None


def parse_faults(
    *,
    upcoming: Iterable[str] = (),
    mix: Mapping[str, float] | None = None,
    seed: int | None = None,
    delay_ms: float = 0.0,
) -> Faults:
    """Return the faults that are written as texts of behaviours.

    Raises:
        ValueError: A text is not a behaviour, or a number is out of range.
    """
    chances = [(float(probability), parse_behaviour(text)) for text, probability in (mix or {}).items()]
    if any(probability < 0 for probability, _ in chances) or sum(chance for chance, _ in chances) > 1.000001:
        raise ValueError("mix: probabilities are 0 or more, and at most 1 together")
    if not 0 <= delay_ms < 600_000:
        raise ValueError("delay_ms: 0 to 600000")
    return Faults(
        upcoming=deque(parse_behaviour(text) for text in upcoming),
        mix=chances,
        random=random.Random(seed),  # noqa: S311 - a repeatable schedule of faults
        delay_ms=delay_ms,
    )


class Director:
    """Decides what happens to each request: the call's own script, else a fault, else the magic number."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._scripts: dict[str, Script] = {}
        self._faults = Faults()
        self._status_faults = Faults()
        self._courses: dict[str, Course] = {}
        self._steps: Counter[tuple[str, str]] = Counter()

    def set_script(self, call_id: str, script: Script) -> None:
        """Give a call a script of its own, from its first step."""
        with self._lock:
            self._scripts[call_id] = script
            self._steps.pop((call_id, ""), None)

    def set_faults(self, faults: Faults) -> None:
        """Replace the faults."""
        with self._lock:
            self._faults = faults

    def set_course(self, call_id: str, course: Course) -> None:
        """Choose what becomes of a call's next transfers."""
        with self._lock:
            self._courses[call_id] = course

    def set_status_faults(self, faults: Faults) -> None:
        """Replace what befalls requests that ask how a transfer went."""
        with self._lock:
            self._status_faults = faults

    def choose_for_status(self) -> tuple[Behaviour | None, float]:
        """Return what befalls one request that asks how a transfer went, and the seconds before it."""
        with self._lock:
            fault, delay_seconds = self._status_faults.draw(), self._status_faults.delay_ms / 1000
        return fault, delay_seconds + (fault.delay_seconds if fault else 0.0)

    def choose_course(self, call_id: str, number: str) -> Course:
        """Return what becomes of a transfer that was accepted."""
        with self._lock:
            return self._courses.get(call_id) or MAGIC_COURSES.get(number, ())

    def forget_steps(self) -> None:
        """Let every script and magic number begin anew."""
        with self._lock:
            self._steps.clear()

    def choose(self, call_id: str, pipeline: list[dict[str, Any]]) -> tuple[Behaviour, float]:
        """Return the behaviour for one request, and how many seconds to wait before it."""
        with self._lock:
            delay_seconds = self._faults.delay_ms / 1000
            if call_id in self._scripts:
                chosen = self._advance(self._scripts[call_id], (call_id, ""))
            elif fault := self._faults.draw():
                chosen = fault
            else:
                number = find_first_number(pipeline)
                usual = _TRACKED if number in MAGIC_COURSES else _OK
                chosen = self._advance(MAGIC_NUMBERS.get(number, usual), (call_id, number))
            return chosen, delay_seconds + chosen.delay_seconds

    def _advance(self, script: Script, key: tuple[str, str]) -> Behaviour:
        if not script.first:
            return script.then
        self._steps[key] += 1
        return script.step(self._steps[key] - 1)


_OK: Final = Script()
_TRACKED: Final = Script(then=parse_behaviour("tracked"))


def find_first_number(pipeline: list[dict[str, Any]]) -> str:
    """Return the number of the first connect's first pstn endpoint; empty if there is none."""
    endpoints: list[dict[str, Any]] = next(
        (action["endpoints"] for action in pipeline if action["action"] == "connect"), []
    )
    return next((str(endpoint["number"]) for endpoint in endpoints if endpoint["type"] == "pstn"), "")
