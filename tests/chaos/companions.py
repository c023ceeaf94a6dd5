"""Sessions in processes of their own: with clocks that are wrong, and forked ones.

`python -m chaos.companions KIND URLS SEED PER_SECOND SECONDS FILE`. What they asked and heard goes to FILE,
one JSON object a line, with the times of a right clock.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import random
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Final

from chaos.history import Ask
from chaos.load import Load, make_lines
from chaos.sessions import Session

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from chaos.sessions import Line
    from support import ProcessSpawner, SpawnedProcess

SKEWS: Final = (-3600.0, -90.0, 360.0, 3600.0)
"""Seconds by which the clocks of four publishers are wrong."""

ENDING_SECONDS: Final = 60.0
"""How long the last sessions may take: their deadlines, and the publisher's patience."""

PARENT_EVERY: Final = 6


@dataclass(frozen=True, slots=True, kw_only=True)
class Companion:
    """One such process, and where it writes."""

    process: SpawnedProcess
    path: Path

    def collect(self) -> list[Ask]:
        """Wait for its end; return what its sessions asked and heard.

        Raises:
            AssertionError: It failed, did not end, or had something to say.
        """
        code = self.process.wait(ENDING_SECONDS)
        said = self.process.output()
        if code or said:
            raise AssertionError(f"{self.process.name} ended with {code}:\n{said}")
        asks = [Ask(**json.loads(line)) for line in self.path.read_text("utf-8").splitlines()]
        return [replace(ask, who=self.process.name) for ask in asks]


def start_companions(
    urls: Mapping[str, str],
    spawn: ProcessSpawner,
    tests: Path,
    directory: Path,
    *,
    seed: int,
    per_second: float,
    seconds: float,
) -> list[Companion]:
    """Start one for each skew and one that forks.

    Args:
        urls: Redis's address for each publisher.
        spawn: Starts the processes.
        tests: Where the modules of tests are.
        directory: Where they write.
        seed: Where every decision comes from.
        per_second: New sessions a second, of all together.
        seconds: How long new ones begin.
    """
    skewed = str(tests / "support" / "skewed")
    kinds = [(f"skewed{skew:+.0f}", {"SKEW_SECONDS": str(skew)}, [skewed, str(tests)]) for skew in SKEWS]
    kinds.append(("forked", {}, [str(tests)]))
    companions = []
    for name, env, folders in kinds:
        path = directory / f"{name}.asks.jsonl"
        arguments = [json.dumps(dict(urls)), f"{seed}/{name}", per_second / len(kinds), seconds, path]
        process = spawn(
            [sys.executable, "-m", "chaos.companions", name, *map(str, arguments)],
            env={**env, "PYTHONPATH": os.pathsep.join(folders)},
            name=name,
        )
        companions.append(Companion(process=process, path=path))
    return companions


def run_skewed(urls: Mapping[str, str], seed: str, per_second: float, seconds: float) -> list[Ask]:
    """Run sessions by a clock that is wrong; return what they asked and heard by the right one."""
    skew_ms = float(os.environ["SKEW_SECONDS"]) * 1000
    load = Load(urls, seed=seed, per_second=per_second, seconds=seconds)
    load.start()
    load.join(seconds + ENDING_SECONDS)
    return [
        replace(
            ask,
            at_ms=ask.at_ms - skew_ms,
            answered_ms=ask.answered_ms - skew_ms,
            expires_ms=ask.expires_ms - skew_ms,
        )
        for ask in load.asks
    ]


def run_forked(urls: Mapping[str, str], seed: str, per_second: float, seconds: float, path: str) -> None:
    """Fork a child for each session, from a parent whose publishers have connections in use."""
    lines = make_lines(urls, ThreadPoolExecutor(4))
    children: set[int] = set()
    started = time.monotonic()
    for number in range(int(seconds * per_second)):
        time.sleep(max(0.0, started + number / per_second - time.monotonic()))
        chance = random.Random(f"{seed}/{number}")
        if number % PARENT_EVERY == 0:
            _run_session(chance, lines, path)
            continue
        child = os.fork()
        if not child:
            _be_a_child(chance, lines, path)
        children.add(child)
        children -= {child for child in children if os.waitpid(child, os.WNOHANG)[0]}
    for child in children:
        if os.waitpid(child, 0)[1]:
            raise SystemExit(f"the forked session {child} failed")


def _be_a_child(chance: random.Random, lines: Iterable[Line], path: str) -> None:
    """Run one session by the publishers that the parent has made, and end."""
    code = 1
    try:
        # The pool's threads have stayed with the parent; the publishers are its own, as they are.
        executor = ThreadPoolExecutor(4)
        _run_session(chance, [line.with_executor(executor) for line in lines], path)
        code = 0
    finally:
        os._exit(code)


def _run_session(chance: random.Random, lines: Iterable[Line], path: str) -> None:
    asks: list[Ask] = []
    asyncio.run(Session(chance, chance.sample([*lines], 2), asks.append).run())
    _write(asks, path)


def _write(asks: Iterable[Ask], path: str) -> None:
    with open(path, "a", encoding="utf-8") as file:  # noqa: PTH123 - one write at the end of a shared file
        file.write("".join(json.dumps(asdict(ask)) + "\n" for ask in asks))


def main(kind: str, urls: str, seed: str, per_second: str, seconds: str, path: str) -> None:
    # That a clock is wrong is the point, and said once for each publisher.
    logging.getLogger("transfer_tasks").addHandler(logging.NullHandler())
    if kind == "forked":
        run_forked(json.loads(urls), seed, float(per_second), float(seconds), path)
    else:
        _write(run_skewed(json.loads(urls), seed, float(per_second), float(seconds)), path)


if __name__ == "__main__":
    main(*sys.argv[1:])
