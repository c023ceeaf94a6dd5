"""What a worker sends to Redis, watched by MONITOR, is what preflight tries (`roles/work.py`)."""

from __future__ import annotations

import re
import socket
import sys
import threading
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from support import wait_until
from support.cluster import make_intent
from transfer_tasks.ledger.keys import Keys
from transfer_tasks.outcome import State
from transfer_worker.roles import Place, Role, list_commands

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from support import ProcessSpawner
    from support.cluster import Cluster
    from transfer_tasks.publisher import TransferPublisher

# Whatever a connection begins with, and what preflight itself asks.
OF_CONNECTIONS = {"AUTH", "CLIENT", "CONFIG", "DISCARD", "EXEC", "HELLO", "INFO", "MULTI", "SELECT"}
WITHOUT_KEYS = {"EVAL", "EVALSHA", "PING", "PUBLISH", "PUNSUBSCRIBE", "PSUBSCRIBE", "SUBSCRIBE", "TIME"}
OF_IDS = "record|call|key|request|unmatched|limit|worker|reply|statistics|ended"
WORD = re.compile(r'"((?:\\.|[^"\\])*)"')
NAMED_BY_SUBCOMMAND = {"SCRIPT", "XGROUP", "XINFO"}


def shape(command: Iterable[str]) -> str:
    """Return a command and its key with ids, times and names of workers taken out."""
    name, *words = command
    name = name.upper()
    if name in NAMED_BY_SUBCOMMAND:
        name = f"{name} {words.pop(0).upper()}"
    if name in WITHOUT_KEYS or name.startswith("SCRIPT"):
        return name
    if name in {"XREADGROUP", "XREAD"}:
        words = words[[word.upper() for word in words].index("STREAMS") + 1 :]
    key = words[0] if words else ""
    key = re.sub(rf"^(transfer:(?:{OF_IDS})):.*", r"\1:*", key)
    key = re.sub(r"^(_kombu\.binding(?:_permanent)?)\..*", r"\1.*", key)
    key = re.sub(r"\x06\x16\d$", "", key)  # the lists of kombu's priorities
    key = re.sub(r"^\S+?\.(reply\.)?transfer\.control\.pidbox", r"*.\1transfer.control.pidbox", key)
    return f"{name} {key}"


class Monitor:
    """Everything that a Redis is sent, from now on."""

    def __init__(self, url: str) -> None:
        self.shapes: dict[str, str] = {}
        parts = urlsplit(url)
        self._socket = socket.create_connection((parts.hostname, parts.port))
        self._lines = self._socket.makefile("r", encoding="utf-8", errors="replace", newline="\r\n")
        self._socket.sendall(f"AUTH {parts.password}\r\nMONITOR\r\n".encode())
        assert [self._lines.readline().strip() for _ in range(2)] == ["+OK", "+OK"]
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> Monitor:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.shutdown(socket.SHUT_RDWR)
        self._thread.join(5)
        self._lines.close()
        self._socket.close()

    def _watch(self) -> None:
        for line in self._lines:
            words = [word.replace("\\x06\\x16", "\x06\x16") for word in WORD.findall(line)]
            if words and words[0].upper() not in OF_CONNECTIONS:
                self.shapes.setdefault(shape(words), line[:200])


def test_a_worker_sends_no_command_that_preflight_does_not_try(
    cluster: Cluster, publisher: TransferPublisher, spawn: ProcessSpawner, tmp_path: Path
) -> None:
    with Monitor(cluster.redis_url) as monitor:
        worker = cluster.start_worker(TRANSFER_AUDIT_FILE=str(tmp_path / "audit.jsonl"))
        retried = make_intent()
        cluster.sandbox.controls.script(retried.call_id, ["503", "ok"])
        assert publisher.submit(retried).outcome().state is State.SUBMITTED
        assert publisher.submit(make_intent("nowhere")).outcome().state is State.REJECTED
        cluster.ledger().client.lpush("transfers", "not JSON")
        inspected = spawn(
            [sys.executable, "-m", "celery", "-A", "transfer_worker", "inspect", "ping"],
            env=cluster.worker_environment(),
            name="inspect",
        )
        inspected.wait(30)
        wait_until(
            lambda: cluster.ledger().client.lrange(Keys().quarantine, 0, 0), message="the poison is set aside"
        )
        worker.send_signal(15)
        worker.wait(20)

    # `inspect` is an operator's.
    roles = (Role.WORKER, Role.OPERATOR)
    tried = {shape(command) for role in roles for command in list_commands(role, Place())}
    assert len(monitor.shapes) > 40, monitor.shapes
    assert "HSET transfer:audit_heads" in monitor.shapes
    untried = {what: example for what, example in monitor.shapes.items() if what not in tried}
    assert not untried, "\n".join(untried.values())
