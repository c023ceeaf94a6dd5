"""Redis, the sandbox, three workers, and a fault proxy on every line between them.

publisher p1 ─ proxy ─┐          ┌─ proxy ─ worker w1 ─┐
publisher p2 ─ proxy ─┼─ Redis ──┼─ proxy ─ worker w2 ─┼─ proxy ─ middleman ─ sandbox
publisher p3 ─ proxy ─┘          └─ proxy ─ worker w3 ─┘
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
import urllib.request
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self

from chaos.schedule import PUBLISHERS, WORKERS
from support import FaultProxy, ProcessSpawner, SpawnedProcess, urlopen_directly
from support.audit_trails import AUDIT_KEY
from transfer_worker.local.embedded_redis import EmbeddedRedis
from transfer_worker.sandbox import DEFAULT_TOKEN

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

TESTS: Final = Path(__file__).parent.parent
WORKER_COMMAND: Final = (sys.executable, "-m", "transfer_worker", "worker")
CONCURRENCY: Final = 4
ATTEMPT_TIMEOUT_SECONDS: Final = 2.0
START_SECONDS: Final = 30.0
DRAIN_SECONDS: Final = 15.0
"""How long a worker may take to stop when it is asked to."""


class WorkerSlot:
    """One of the workers: a process after the other.

    Attributes:
        is_wanted: Whether a process that has ended is to be started again.
        nodes: The names of all Celery nodes that it was.
        ended_unasked: How often its command ended by itself.
    """

    def __init__(
        self, name: str, command: Sequence[str], env: Mapping[str, str], spawn: ProcessSpawner
    ) -> None:
        self.name, self._command, self._env, self._spawn = name, command, env, spawn
        self.lock = threading.RLock()
        self.is_wanted = False
        self.nodes: set[str] = set()
        self.ended_unasked = 0
        self._process: SpawnedProcess | None = None
        self._child_pid: int | None = None
        self._read_bytes = 0

    @property
    def process(self) -> SpawnedProcess:
        """The command's own process: the supervisor, where there is one."""
        assert self._process is not None, "started with the cluster"
        return self._process

    def start(self) -> None:
        """Start a process, and want it to run from now on."""
        with self.lock:
            if self._process is not None:
                self.find_child_pid()  # what it wrote last may name a node
            self.is_wanted, self._child_pid, self._read_bytes = True, None, 0
            self._process = self._spawn(self._command, env=self._env, name=self.name)

    def find_child_pid(self) -> int | None:
        """Return the id of the process that carries transfers out; None while there is none."""
        with self.lock:
            with self.process.output_path.open("rb") as output:
                output.seek(self._read_bytes)
                *news, _ = output.read().split(b"\n")
            self._read_bytes += sum(len(line) + 1 for line in news)
            for line in news:
                if b'"worker.started"' in line:
                    node, _, rest = json.loads(line)["worker"].partition("@")
                    self.nodes.add(node)
                    self._child_pid = int(rest.rpartition("/")[2].partition("-")[0])
            if self._child_pid is None or not self._is_ours(self._child_pid):
                return None
            return self._child_pid

    def tend(self) -> None:
        """Start it again if it ended and should not have."""
        with self.lock:
            if self.is_wanted and not self.process.is_running():
                self.ended_unasked += 1
                self.start()

    def _is_ours(self, pid: int) -> bool:
        """Whether the process is still there, and no other that was given its number."""
        try:
            parent = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1]
        except OSError:
            return False
        return self.process.pid in {pid, int(parent)}


class Cluster:
    """Everything, as a context manager: all of it runs inside the block, and nothing after it.

    Args:
        directory: Where logs and records go.
        command: Runs one worker; `%(name)s` in it is replaced by the worker's name.
        env: Added to the workers' environment.
        middleman: What the proxy in front of the sandbox does, and how likely (see `middleman`).
        seed: Where its chance comes from.
    """

    def __init__(
        self,
        directory: Path,
        *,
        command: Sequence[str] = WORKER_COMMAND,
        env: Mapping[str, str] | None = None,
        middleman: Mapping[str, float] | None = None,
        seed: int = 0,
    ) -> None:
        self._middleman, self._seed = dict(middleman or {}), seed
        self.middleman_path = directory / "middleman.jsonl"
        self.directory = directory
        self.audit_path = directory / "audit.jsonl"
        self.audit_path.touch()
        self.record_path = directory / "sandbox.jsonl"
        self._command, self._env = command, dict(env or {})
        self._entered = ExitStack()
        self._stopping = threading.Event()
        self._tender = threading.Thread(target=self._tend, name="tender", daemon=True)
        self._watchdog: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        with contextlib.ExitStack() as stack:
            self._start(stack)
            self._entered = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._entered.close()

    def _start(self, stack: ExitStack) -> None:
        self._watchdog = subprocess.Popen(
            [sys.executable, "-m", "chaos.watchdog"],
            stdin=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": str(TESTS)},
            start_new_session=True,
        )
        stack.callback(self._watchdog.communicate)
        self.redis = stack.enter_context(EmbeddedRedis(self.directory / "redis"))
        self.spawn = ProcessSpawner(self.directory)
        stack.callback(self._end_children)
        self.sandbox_origin = self._start_sandbox(stack)
        self.platform = stack.enter_context(FaultProxy.before(self.sandbox_origin))
        self.lines = {
            name: stack.enter_context(FaultProxy.before(self.redis.url)) for name in (*WORKERS, *PUBLISHERS)
        }
        self.workers = {name: self._make_slot(name) for name in WORKERS}
        for worker in self.workers.values():
            worker.start()
        self.wait_for_workers()
        self._tender.start()
        stack.callback(self._tender.join)
        stack.callback(self._stopping.set)

    def wait_for_workers(self) -> None:
        """Return once every worker consumes."""
        for worker in self.workers.values():
            worker.process.wait_for_output(r" ready\.", START_SECONDS)

    def watch(self, pid: int | None) -> None:
        """Have a process end with this one."""
        assert self._watchdog is not None
        assert self._watchdog.stdin is not None
        self._watchdog.stdin.write(f"{pid}\n".encode())
        self._watchdog.stdin.flush()

    def publisher_urls(self) -> dict[str, str]:
        """Return Redis's address on the line of each publisher."""
        return {name: self.redis_url_of(name) for name in PUBLISHERS}

    def redis_url_of(self, name: str) -> str:
        """Return Redis's address on the line of a worker or a publisher."""
        return self.lines[name].url_for(self.redis.url)

    def set_mix(self, mix: Mapping[str, float], seed: int) -> None:
        """Tell the sandbox what to do wrong, and how often."""
        self.ask_sandbox("faults", {"mix": mix, "seed": seed})

    def ask_sandbox(self, what: str, value: object = None) -> Any:
        """Choose what the sandbox does, or ask what it knows where there is nothing to choose."""
        request = urllib.request.Request(
            f"{self.sandbox_origin}/_sandbox/{what}",
            data=None if value is None else json.dumps(value).encode(),
            headers={"Authorization": f"Bearer {DEFAULT_TOKEN}"},
            method="GET" if value is None else "PUT",
        )
        with urlopen_directly(request, timeout=30) as answer:
            return json.loads(answer.read())

    def slots(self) -> dict[str, str]:
        """Return the worker behind the name of each Celery node."""
        for worker in self.workers.values():
            worker.find_child_pid()
        return {node: worker.name for worker in self.workers.values() for node in worker.nodes}

    def _start_sandbox(self, stack: ExitStack) -> str:
        sandbox = self.spawn(
            [
                *(sys.executable, "-m", "chaos.sandbox", self.record_path, self.middleman_path),
                *(json.dumps(self._middleman), str(self._seed)),
            ],
            env={"PYTHONPATH": str(TESTS)},
            name="sandbox",
        )
        stack.callback(sandbox.kill_group)
        self.watch(sandbox.pid)
        return sandbox.wait_for_output(r"http://\S+").group()

    def set_audit_full(self, name: str, *, is_full: bool) -> None:
        """Fill a worker's audit disk, or make room; a worker meets it with its next line."""
        link = self._audit_link(name)
        fresh = link.with_suffix(".fresh")
        fresh.symlink_to("/dev/full" if is_full else self.audit_path)
        fresh.replace(link)

    def _audit_link(self, name: str) -> Path:
        return self.directory / f"audit-of-{name}"

    def _make_slot(self, name: str) -> WorkerSlot:
        self.set_audit_full(name, is_full=False)
        env = {
            "PYTHONPATH": str(TESTS),
            "TRANSFER_REDIS_URL": self.redis_url_of(name),
            "PIOPIY_TOKEN": DEFAULT_TOKEN,
            "PIOPIY_API_URL": f"{self.platform.url_for(self.sandbox_origin)}/v3",
            "PIOPIY_NUMBER": "12025550199",
            "TRANSFER_ALLOW_UNLISTED": "US",
            "TRANSFER_REMOTE_CONTROL": "operator",  # revocations count
            "TRANSFER_CONCURRENCY": str(CONCURRENCY),
            "TRANSFER_ATTEMPT_TIMEOUT_SECONDS": str(ATTEMPT_TIMEOUT_SECONDS),
            "TRANSFER_AUDIT_FILE": str(self._audit_link(name)),
            "TRANSFER_AUDIT_KEY": f"{AUDIT_KEY.id}:{AUDIT_KEY.secret}",
            **self._env,
        }
        return WorkerSlot(name, [part % {"name": name} for part in self._command], env, self.spawn)

    def _tend(self) -> None:
        watched: set[int | None] = {None}
        while not self._stopping.wait(0.1):
            for worker in self.workers.values():
                worker.tend()
                for pid in {worker.process.pid, worker.find_child_pid()} - watched:
                    watched.add(pid)
                    self.watch(pid)

    def _end_children(self) -> None:
        for worker in getattr(self, "workers", {}).values():
            end_worker(worker)


def end_worker(worker: WorkerSlot) -> None:
    """Kill a worker, the process that carries transfers out first."""
    with worker.lock:
        worker.is_wanted = False
        child_pid = worker.find_child_pid()
        # Stopped first, or it would start another child.
        worker.process.send_signal(signal.SIGSTOP)
        if child_pid is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(child_pid, signal.SIGKILL)
        worker.process.kill_group()


def stop_worker(worker: WorkerSlot) -> bool:
    """Ask a worker to stop; say whether it did so in time. If not, it is killed."""
    with worker.lock:
        worker.is_wanted = False
        worker.process.send_signal(signal.SIGTERM)
    deadline = time.monotonic() + DRAIN_SECONDS
    while worker.process.is_running():
        if time.monotonic() >= deadline:
            end_worker(worker)
            return False
        time.sleep(0.02)
    return True
