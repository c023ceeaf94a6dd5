"""Child processes with all that they start: their processor time, their memory, their end."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil

ROOT = Path(__file__).resolve().parents[2]


class ProcessTree:
    """A child in a process group of its own, and everything below it."""

    def __init__(self, command: list[str], *, env: dict[str, str]) -> None:
        self._log = tempfile.NamedTemporaryFile(prefix="bench-", suffix=".log", delete=False)  # noqa: SIM115
        self.process = subprocess.Popen(
            command,
            env=os.environ | {"PYTHONUNBUFFERED": "1"} | env,
            cwd=tempfile.gettempdir(),  # no .env of the project is read
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        self._root = psutil.Process(self.process.pid)

    def members(self) -> list[psutil.Process]:
        try:
            return [self._root, *self._root.children(recursive=True)]
        except psutil.NoSuchProcess:
            return []

    def cpu_seconds(self) -> float:
        """What all have used, including children that have ended (rq forks one for each job)."""
        total = 0.0
        for member in self.members():
            try:
                used = member.cpu_times()
            except psutil.NoSuchProcess:
                continue
            total += used.user + used.system + used.children_user + used.children_system
        return total

    def memory_mb(self) -> float:
        """Proportional set size: what is shared among the processes counts once."""
        return sum(member.memory_full_info().pss for member in self.members()) / 1e6

    def rss_mb(self) -> float:
        """Resident set size, shared pages counted in each process."""
        return sum(member.memory_info().rss for member in self.members()) / 1e6

    def open_files(self) -> int:
        return sum(member.num_fds() for member in self.members())

    def log(self) -> str:
        return Path(self._log.name).read_text(errors="replace")

    def check(self) -> None:
        if self.process.poll() is not None:
            raise RuntimeError(f"ended with {self.process.returncode}:\n{self.log()[-3000:]}")

    def stop(self) -> None:
        """SIGTERM, and SIGKILL to whatever is left after a few seconds. Only to what we started."""
        members = self.members()
        if self.process.poll() is None:
            self.process.terminate()
        _, alive = psutil.wait_procs(members, timeout=6)
        for member in alive:
            member.kill()
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        Path(self._log.name).unlink()


class MachineLoad:
    """What others use of the machine from now on: all that is busy, without us and what we started."""

    def __init__(self) -> None:
        self._begun = time.monotonic()
        self._busy_before, self._ours_before = self._busy_seconds(), self._our_seconds()

    def others_cores(self) -> float:
        busy = self._busy_seconds() - self._busy_before
        ours = self._our_seconds() - self._ours_before
        return max(0.0, busy - ours) / (time.monotonic() - self._begun)

    @staticmethod
    def _busy_seconds() -> float:
        times = psutil.cpu_times()
        return (
            times.user + times.nice + times.system + times.irq + times.softirq + getattr(times, "steal", 0.0)
        )

    @staticmethod
    def _our_seconds() -> float:
        total, us = 0.0, psutil.Process()
        for member in (us, *us.children(recursive=True)):
            with contextlib.suppress(psutil.NoSuchProcess):
                used = member.cpu_times()
                total += used.user + used.system
        return total


class Talker:
    """A child that answers each line with one, as JSON."""

    def __init__(self, command: list[str], *, env: dict[str, str]) -> None:
        self.process = subprocess.Popen(
            command,
            env=os.environ | env,
            cwd=tempfile.gettempdir(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,  # a Ctrl-C is for us; it ends when its standard input does
        )
        self.greeting = json.loads(self._read())

    def _read(self) -> str:
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError(f"{self.process.args} ended with {self.process.wait()}")
        return line

    def ask(self, command: dict) -> dict:
        self.process.stdin.write(json.dumps(command) + "\n")
        self.process.stdin.flush()
        return json.loads(self._read())

    def stop(self) -> None:
        self.process.stdin.close()
        try:
            self.process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.process.stdout.close()


def python_of(venv: str) -> str:
    """The interpreter of a venv beside this project; our own for an empty name."""
    return str(ROOT / venv / "bin" / "python") if venv else sys.executable
