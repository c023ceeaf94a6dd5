"""The other side of the queue: Redis, the sandbox and workers, each a process in the worker's environment."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import urllib.request
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self

from redis import Redis

from support import ProcessSpawner, urlopen_directly, wait_until
from transfer_tasks.ledger.keys import Keys
from transfer_tasks.ledger.ledger import Ledger
from transfer_tasks.ledger.record import TransferRecord
from transfer_tasks.redis.connection import connect

if TYPE_CHECKING:
    from collections.abc import Iterator

    from support import SpawnedProcess
    from transfer_tasks.connection import ConnectionReport

HERE = Path(__file__).parent
DESTINATIONS = HERE / "destinations.toml"
PIOPIY_NUMBER = "12025550199"
SIGNING_KEY = f"voice:{'v' * 32}"
"""Workers carry out what is signed with it, and nothing else."""

PATIENT: Final = {"publish_budget_seconds": 10, "expires_in_seconds": 120, "holding_after_seconds": 30}
"""What no busy machine exhausts. A test that is about one of these says what it is."""

WORKER_PYTHON_VARIABLE = "TRANSFER_WORKER_PYTHON"


def find_worker_python() -> str:
    """Return the Python of the worker's environment, which must be another one than this."""
    python = os.environ.get(WORKER_PYTHON_VARIABLE, "")
    if not python or not Path(python).exists() or Path(python).parent == Path(sys.executable).parent:
        raise RuntimeError(
            f"{WORKER_PYTHON_VARIABLE} must name the Python of the worker's environment, not {python!r}. "
            "`make test-voice` sets it."
        )
    return python


@contextmanager
def open_cluster(directory: Path, *, has_worker: bool) -> Iterator[Cluster]:
    """Open a cluster, with one worker or with none yet."""
    spawner = ProcessSpawner(directory)
    with Cluster(spawner) as opened:
        try:
            if has_worker:
                opened.start_worker()
            yield opened
        finally:
            spawner.end_all()


@dataclass(frozen=True)
class Post:
    """One request that reached the sandbox."""

    call_id: str
    at: float
    carried_out: bool
    pipeline: list[dict[str, Any]]

    @property
    def endpoint(self) -> dict[str, Any]:
        return self.pipeline[0]["endpoints"][0]


class Cluster:
    """One Redis, one sandbox, and as many workers as a test starts."""

    def __init__(self, spawn: ProcessSpawner) -> None:
        self.python = find_worker_python()
        self._spawn = spawn
        self._worker_count = 0
        self._far_side = subprocess.Popen(
            [self.python, str(HERE / "far_side.py")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        line = self._far_side.stdout.readline()
        if not line:
            raise RuntimeError("Redis and the sandbox did not start; their output is above.")
        addresses = json.loads(line)
        self.redis_url: str = addresses["redis_url"]
        self.origin: str = addresses["origin"]
        self.token: str = addresses["token"]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._far_side.stdin.close()
        self._far_side.wait(timeout=10)
        self._far_side.stdout.close()

    def redis(self, order: str) -> None:
        """Kill, restart, pause or resume Redis."""
        self._far_side.stdin.write(order + "\n")
        self._far_side.stdin.flush()
        assert self._far_side.stdout.readline() == "done\n"

    def start_worker(self, **environment: str) -> SpawnedProcess:
        """Start a worker and wait until it consumes."""
        self._worker_count += 1
        name = f"w{self._worker_count}"
        arguments = ["-m", "celery", "-A", "transfer_worker", "worker", "-c", "32", "-n", f"{name}@voice"]
        worker = self._spawn(
            [self.python, *arguments], env=self.worker_environment() | environment, name=name
        )
        worker.wait_for_output(r"ready\.")
        return worker

    def worker_environment(self) -> dict[str, str]:
        """Return what a worker needs to know."""
        return {
            "TRANSFER_REDIS_URL": self.redis_url,
            "TRANSFER_DESTINATIONS_FILE": str(DESTINATIONS),
            "TRANSFER_VERIFY_KEYS": SIGNING_KEY,
            "PIOPIY_TOKEN": self.token,
            "PIOPIY_API_URL": f"{self.origin}/v3",
            "PIOPIY_NUMBER": PIOPIY_NUMBER,
            "TRANSFER_ATTEMPT_TIMEOUT_SECONDS": "3",
        }

    def _control(self, address: str, body: bytes | None = None) -> bytes:
        """Ask the sandbox what it saw or, with a body, tell it what to do."""
        request = urllib.request.Request(
            f"{self.origin}/_sandbox/{address}",
            body,
            {"Authorization": f"Bearer {self.token}"},
            method="GET" if body is None else "PUT",
        )
        with urlopen_directly(request) as answer:
            return bytes(answer.read())

    def script(self, call_id: str, *behaviours: str) -> None:
        """Tell the sandbox how to treat a call, request by request; `ok` after that."""
        self._control(f"behaviours/{call_id}", json.dumps(behaviours).encode())

    def delay_answers(self, milliseconds: int) -> None:
        """Let the sandbox take its time with every answer."""
        body = json.dumps({"delay_ms": milliseconds}).encode()
        self._control("faults", body)

    def posts(self, call_id: str | None = None) -> list[Post]:
        """Return what reached the sandbox, of one call or of all."""
        query = f"?call_id={call_id}" if call_id else ""
        entries = json.loads(self._control(f"requests{query}"))["requests"]
        return [
            Post(entry["call_id"], entry["received_at_ms"] / 1000, entry["carried_out"], entry["pipeline"])
            for entry in entries
        ]

    def wait_for_posts(self, call_id: str, count: int = 1, within_seconds: float = 60.0) -> list[Post]:
        """Wait until so many requests of a call have reached the sandbox."""
        wait_until(lambda: len(self.posts(call_id)) >= count, within_seconds, message="POSTs at the sandbox")
        return self.posts(call_id)

    def records(self, call_id: str) -> list[TransferRecord]:
        """Return a call's transfers as the ledger has them, in the order of their hops."""
        with Redis.from_url(self.redis_url, decode_responses=True) as client:
            keys = Keys()
            transfer_ids = client.lrange(keys.call(call_id), 0, -1)
            return [
                TransferRecord.from_hash(transfer_id, client.hgetall(keys.record(transfer_id)))
                for transfer_id in transfer_ids
            ]

    def report(self, said: ConnectionReport) -> None:
        """Put a source's word on record, as another process does: no call's event loop is in its way."""
        with connect(self.redis_url, timeout_seconds=30) as client:
            ledger = Ledger(client, retention_seconds=3600)
            ledger.run(ledger.commands.report_connection(said))

    def wait_for_state(
        self, call_id: str, *states: str, within_seconds: float = 60.0
    ) -> list[TransferRecord]:
        """Wait until a call's transfers stand as given, in the order of their hops."""
        deadline = time.monotonic() + within_seconds
        while [record.state for record in self.records(call_id)] != list(states):
            seen = [(str(record.state), str(record.reason)) for record in self.records(call_id)]
            assert time.monotonic() < deadline, f"not {states} within {within_seconds:g} s but {seen}"
            time.sleep(0.02)
        return self.records(call_id)
