"""What a measurement needs around it: one Redis, one platform stub, one system's producer and worker."""

import http.client
import json
import os
import shutil
import socket
import sys
import tempfile
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import redis

from benchmarks.stage.processes import ROOT, ProcessTree, Talker, python_of
from benchmarks.stage.systems import System, environment
from transfer_worker.local.embedded_redis import EmbeddedRedis

PATIENCE_SECONDS = 120.0


class Stub:
    """The platform stub, told and asked over HTTP."""

    def __init__(self) -> None:
        self.talker = Talker([sys.executable, "-m", "benchmarks.stage.stub"], env={"PYTHONPATH": str(ROOT)})
        self.port: int = self.talker.greeting
        self.url = f"http://127.0.0.1:{self.port}/v3"

    def _get(self, path: str) -> object:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        connection.request("GET", path)
        body = connection.getresponse().read()
        connection.close()
        return json.loads(body)

    def set_delay(self, *, delay_ms: int) -> None:
        self._get(f"/delay/{delay_ms}")

    def take(self) -> dict[str, list[int]]:
        return self._get("/take")

    def count(self) -> int:
        return self._get("/count")

    def wait_for(self, count: int, *, worker: ProcessTree | None = None) -> None:
        give_up_at = time.monotonic() + PATIENCE_SECONDS
        while (seen := self.count()) < count:
            if worker:
                worker.check()
            if time.monotonic() > give_up_at:
                raise TimeoutError(f"{seen} of {count} POSTs\n{worker.log()[-2000:] if worker else ''}")
            time.sleep(0.02)


class Stage:
    """Redis and the stub, for all systems of a run. A context manager.

    Attributes:
        is_kept: Whether what is in Redis stays there from one measurement to the next.
    """

    def __init__(self) -> None:
        self.redis = EmbeddedRedis()
        self.directory = Path(tempfile.mkdtemp(prefix="bench-"))
        self.is_kept = False

    def __enter__(self) -> "Stage":
        self.redis.start()
        self.stub = Stub()
        self.client = redis.Redis.from_url(self.redis.url)
        self.redis_process = psutil.Process(self.redis.pid)
        return self

    def __exit__(self, *_: object) -> None:
        self.client.close()
        self.stub.talker.stop()
        self.redis.stop()
        shutil.rmtree(self.directory, ignore_errors=True)

    def clear(self, *, delay_ms: int) -> None:
        if not self.is_kept:
            self.client.flushall()
        self.reset_stub(delay_ms=delay_ms)

    def start_aof_anew(self) -> None:
        """Have the AOF begin with what there is, and be rewritten by Redis's own rule, as shipped."""
        self.client.config_set("auto-aof-rewrite-percentage", 100)
        self.client.bgrewriteaof()
        while True:
            seen = self.client.info("persistence")
            if not seen["aof_rewrite_in_progress"] and not seen["aof_rewrite_scheduled"]:
                return
            time.sleep(0.05)

    def set_durability(self, appendfsync: str) -> None:
        """`always`, as this project ships, or `everysec`, as queues are often run."""
        self.client.config_set("appendfsync", appendfsync)

    def redis_cpu_seconds(self) -> float:
        used = self.redis_process.cpu_times()
        return used.user + used.system

    def reset_stub(self, *, delay_ms: int) -> None:
        self.stub.take()
        self.stub.set_delay(delay_ms=delay_ms)

    def environment(self, *, concurrency: int, sources: tuple[str, ...] = ()) -> dict[str, str]:
        return {
            "PYTHONPATH": os.pathsep.join([*sources, str(ROOT)]),
            **environment(
                redis_url=self.redis.url,
                api_url=self.stub.url,
                concurrency=concurrency,
                directory=self.directory,
            ),
        }

    @contextmanager
    def producer(self, system: System) -> Iterator[Talker]:
        talker = Talker(
            [python_of(system.venv), "-m", "benchmarks.stage.producer", system.peer],
            env=self.environment(concurrency=8, sources=system.sources),
        )
        try:
            yield talker
        finally:
            talker.stop()

    @contextmanager
    def worker(
        self, system: System, *, concurrency: int, settings: dict[str, str] | None = None
    ) -> Iterator[ProcessTree]:
        tree = ProcessTree(
            system.worker(concurrency),
            env=self.environment(concurrency=concurrency, sources=system.sources) | (settings or {}),
        )
        try:
            yield tree
        finally:
            tree.stop()

    def monitor(self) -> "Monitor":
        return Monitor(self.redis.port, password=self.redis.url.split(":")[2].split("@")[0])


class Monitor:
    """Every command that Redis carries out, as MONITOR tells it. For counting; it slows Redis down."""

    def __init__(self, port: int, *, password: str) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port))
        self._socket.sendall(f"AUTH {password}\r\nMONITOR\r\n".encode())
        self._socket.settimeout(0.2)
        self._received: list[bytes] = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._is_closing = False
        self._reader.start()
        time.sleep(0.1)

    def _read(self) -> None:
        while not self._is_closing:
            try:
                self._received.append(self._socket.recv(1 << 20))
            except TimeoutError:
                continue

    def read_at_once(self) -> list[tuple[str, str, str]]:
        """Return (client address or ``lua``, command name, first argument) of all so far, in order."""
        lines = b"".join(self._received).decode("utf-8", "replace").splitlines()
        return [parsed for line in lines if (parsed := _parse_line(line))]

    def close(self) -> None:
        self._is_closing = True
        self._reader.join()
        self._socket.close()


def _parse_line(line: str) -> tuple[str, str, str] | None:
    """Read ``+1700000000.123456 [0 127.0.0.1:5000] "EVALSHA" "…"``."""
    head, opened, rest = line.partition("[")
    source, closed, command = rest.partition("] ")
    if not (head.startswith("+") and opened and closed):
        return None
    words = command.split('"')
    return source.split(" ", 1)[1], words[1].upper(), words[3] if len(words) > 3 else ""


def new_calls(count: int) -> list[str]:
    return [str(uuid.uuid4()) for _ in range(count)]
