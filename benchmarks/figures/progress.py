"""How far a run is, and how long it will take."""

import time
from collections.abc import Callable

ROUGH_SECONDS = {
    "latency": 720,
    "counts": 90,
    "scripts": 40,
    "throughput": 400,
    "workers": 60,
    "processes": 90,
    "stages": 20,
    "backlog": 60,
    "ended": 900,
    "history": 300,
}
"""What each part of a whole run takes on two cores, until a run has measured it."""


class Progress:
    """Tells what is done and keeps it.

    Args:
        parts: In the order in which they run.
        known_seconds: What parts took in a run before, with the same options.
        share: How much of the usual work the options ask for, where nothing is known.
        keep: Called whenever something is done.
    """

    def __init__(
        self,
        parts: list[str],
        *,
        known_seconds: dict[str, float],
        keep: Callable[[], None],
        share: float = 1.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        rough = {part: share * seconds for part, seconds in ROUGH_SECONDS.items()}
        self._expected = {part: (rough | known_seconds).get(part, 60.0) for part in parts}
        self._keep, self._clock = keep, clock
        self._part, self._begun_at = "", 0.0
        self.took_seconds: dict[str, float] = {}

    def begin(self, part: str) -> None:
        self._part, self._begun_at = part, self._clock()

    def end(self) -> None:
        """Note what the part took; for one that failed, call `drop`."""
        self.took_seconds[self._part] = round(self._clock() - self._begun_at, 1)
        self.drop()

    def drop(self) -> None:
        """Expect no more of this part."""
        del self._expected[self._part]
        self._keep()

    def tell(self, text: str, share: float) -> None:
        """Say that this share of the part is done, and keep what it has brought."""
        self._keep()
        print(
            time.strftime("%H:%M:%S"),
            f"{text}; about {self.left_seconds(share) / 60:.0f} min left",
            flush=True,
        )

    def left_seconds(self, share: float) -> float:
        """Return the rest of this part at its pace so far, and the parts to come."""
        rest = (self._clock() - self._begun_at) / share * (1 - share)
        return rest + sum(seconds for part, seconds in self._expected.items() if part != self._part)
