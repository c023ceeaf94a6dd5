"""Child processes of tests: each in a process group of its own, its output in a file, gone at the end."""

from __future__ import annotations

import os
import re
import signal
import subprocess
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from support.waiting import DEADLINE_SECONDS, wait_until

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


def has_ended(pid: int) -> bool:
    """Say whether no process has this id any more, be it our child or not."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    status = Path(f"/proc/{pid}/stat")
    # Whoever adopts an orphan may be slow to collect it: a zombie has ended too.
    return status.exists() and status.read_text().rpartition(")")[2].split()[0] == "Z"


class SpawnedProcess:
    """A child with its own process group; signals go to the child, `kill_group` to all of it."""

    def __init__(self, process: subprocess.Popen[bytes], *, name: str, output_path: Path) -> None:
        self.process, self.name, self.output_path = process, name, output_path

    @property
    def pid(self) -> int:
        """The child's process id, which is also its group's."""
        return self.process.pid

    def output(self) -> str:
        """Return everything it has written so far, stdout and stderr in order."""
        return self.output_path.read_text(encoding="utf-8", errors="replace")

    def is_running(self) -> bool:
        """Say whether it has not ended yet."""
        return self.process.poll() is None

    def send_signal(self, number: signal.Signals) -> None:
        """Signal the child alone."""
        self.process.send_signal(number)

    def wait(self, deadline_seconds: float = DEADLINE_SECONDS) -> int:
        """Return its exit code; negative is the signal that ended it."""
        try:
            return self.process.wait(timeout=deadline_seconds)
        except subprocess.TimeoutExpired:
            raise AssertionError(
                f"{self.name} has not ended within {deadline_seconds:g} s:\n{self.output()}"
            ) from None

    def wait_for_output(self, pattern: str, deadline_seconds: float = DEADLINE_SECONDS) -> re.Match[str]:
        """Return the first match of the regular expression in its output; fail if it ends without one."""

        def look() -> re.Match[str] | None:
            has_ended = not self.is_running()
            found = re.search(pattern, self.output(), re.MULTILINE)
            if found is None and has_ended:
                raise AssertionError(
                    f"{self.name} ended ({self.process.returncode}) without {pattern!r}:\n{self.output()}"
                )
            return found

        found = wait_until(
            look,
            deadline_seconds,
            message=lambda: f"{pattern!r} in the output of {self.name}:\n{self.output()}",
        )
        assert found is not None
        return found

    def kill_group(self) -> None:
        """End the child and everything that it started in its group, at once."""
        with suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        self.process.wait()


class ProcessSpawner:
    """Starts child processes and ends them all.

    Args:
        directory: Where their outputs go.
        inherited: The environment that all of them get, instead of this process's own.
    """

    def __init__(self, directory: Path, *, inherited: Mapping[str, str] | None = None) -> None:
        self._directory = directory
        self._inherited = os.environ if inherited is None else inherited
        self._children: list[SpawnedProcess] = []

    def __call__(
        self,
        command: Sequence[str | Path],
        *,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        name: str = "",
    ) -> SpawnedProcess:
        """Start `command` with nothing on stdin.

        Args:
            command: Program and arguments.
            env: Added to the inherited environment; Python children write unbuffered.
            cwd: Where it runs; a directory of the test's own if not given.
            name: What failures call it.
        """
        name = name or Path(command[0]).name
        output_path = self._directory / f"{len(self._children)}-{name}.log"
        with output_path.open("wb") as output:
            process = subprocess.Popen(
                [str(part) for part in command],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd=cwd or self._directory,
                env={**self._inherited, "PYTHONUNBUFFERED": "1", **(env or {})},
                start_new_session=True,
            )
        child = SpawnedProcess(process, name=name, output_path=output_path)
        self._children.append(child)
        return child

    def end_all(self) -> None:
        """Kill what still runs, and print all outputs: pytest shows them for failed tests only."""
        for child in self._children:
            child.kill_group()
            print(f"--- {child.name} (pid {child.pid}, exit code {child.process.returncode})")
            print(child.output())
