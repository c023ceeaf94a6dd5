"""A primary, its replicas and three Sentinels: real processes on loopback, of the binary that we carry."""

from __future__ import annotations

import secrets
import signal
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import redis

from support.ports import pick_free_port
from support.waiting import wait_until
from transfer_worker.local.redis_executable import find_redis_server

if TYPE_CHECKING:
    from pathlib import Path

    from support.processes import ProcessSpawner, SpawnedProcess

SENTINELS = 3
MASTER_NAME = "transfers"

_REDIS = """\
bind 127.0.0.1
port {port}
dir "{directory}"
requirepass {password}
masterauth {password}
appendonly yes
appendfsync always
save ""
maxmemory-policy noeviction
repl-diskless-sync yes
repl-diskless-sync-delay 0
min-replicas-to-write {min_replicas}
"""

# More than a second until the primary counts as down: what a Sentinel knows of the replicas' offsets from
# before is then old enough to be asked for again, before it chooses (`sentinelSendPeriodicCommands`).
_SENTINEL = """\
bind 127.0.0.1
port {port}
dir "{directory}"
requirepass {sentinel_password}
sentinel sentinel-pass {sentinel_password}
sentinel monitor {name} 127.0.0.1 {primary} 2
sentinel auth-pass {name} {password}
sentinel down-after-milliseconds {name} 1200
sentinel failover-timeout {name} 3000
sentinel parallel-syncs {name} 1
"""


@dataclass
class Server:
    """One process, and where it listens."""

    process: SpawnedProcess
    port: int
    config: Path


@dataclass
class RedisGroup:
    """What `sentinel://` addresses lead to. Processes end with the spawner's test."""

    spawn: ProcessSpawner
    directory: Path
    replicas: int = 1
    servers: dict[int, Server] = field(default_factory=dict)
    sentinels: list[Server] = field(default_factory=list)
    password: str = field(default_factory=lambda: secrets.token_hex(8))
    sentinel_password: str = field(default_factory=lambda: secrets.token_hex(8))

    def start(self) -> None:
        """Return once all know each other, and the replicas follow."""
        primary = self.start_redis()
        for _ in range(self.replicas):
            self.start_redis(f"replicaof 127.0.0.1 {primary.port}\n")
        self.wait_for_replicas(primary.port, self.replicas)
        for _ in range(SENTINELS):
            self.start_sentinel(primary.port)
        wait_until(lambda: all(map(self._knows_all, self.sentinels)), 15, message="the Sentinels meet")

    def url(self, *, replicas: int | None = None) -> str:
        """Return the address for settings."""
        hosts = ",".join(f"127.0.0.1:{sentinel.port}" for sentinel in self.sentinels)
        waited_for = self.replicas if replicas is None else replicas
        return (
            f"sentinel://:{self.password}@{hosts}/0?master_name={MASTER_NAME}"
            f"&sentinel_password={self.sentinel_password}&replicas={waited_for}"
        )

    def client(self, port: int) -> redis.Redis:
        """Return a client of one Redis, whatever its role."""
        return redis.Redis(port=port, password=self.password, socket_timeout=1, decode_responses=True)

    def ask_sentinel(self, number: int, *command: str) -> Any:
        """Return what one Sentinel answers."""
        port = self.sentinels[number].port
        with redis.Redis(port=port, password=self.sentinel_password, decode_responses=True) as client:
            return client.execute_command(*command)

    def primary(self, sentinel: int = 0) -> Server:
        """Return whom a Sentinel names."""
        _, port = self.ask_sentinel(sentinel, "SENTINEL", "GET-MASTER-ADDR-BY-NAME", MASTER_NAME)
        return self.servers[int(port)]

    def a_replica(self) -> Server:
        """Return one that is not a primary."""
        primary = self.primary()
        return next(server for server in self.servers.values() if server is not primary)

    def wait_for_another_primary(self, before: Server, deadline_seconds: float = 20) -> Server:
        """Return the new primary, once every Sentinel names it."""
        wait_until(
            lambda: all(self.primary(number) is not before for number in range(SENTINELS)),
            deadline_seconds,
            message="the failover",
        )
        return self.primary()

    def wait_for_replicas(self, port: int, count: int, deadline_seconds: float = 20) -> None:
        """Return once a primary has so many replicas that follow it."""
        with self.client(port) as client:

            def follow() -> bool:
                info: Any = client.info("replication")
                states = [info.get(f"slave{number}", {}).get("state") for number in range(count)]
                return states == ["online"] * count

            wait_until(follow, deadline_seconds, message=f"{count} replicas follow")

    def kill(self, server: Server) -> None:
        """End a Redis as a crash would."""
        server.process.send_signal(signal.SIGKILL)
        server.process.wait()

    def bring_back(self, server: Server) -> None:
        """Start a Redis that was killed again, with its data, as a replica of the present primary."""
        server.config.write_text(server.config.read_text() + f"replicaof 127.0.0.1 {self.primary().port}\n")
        server.process = self._spawn(server.config, f"redis-{server.port}")

    def start_redis(self, more: str = "") -> Server:
        """Start a Redis, with more lines of configuration, and return once it answers."""
        port = pick_free_port()
        directory = self.directory / f"redis-{port}"
        directory.mkdir()
        config = directory / "redis.conf"
        text = _REDIS.format(
            port=port, directory=directory, password=self.password, min_replicas=min(1, self.replicas)
        )
        config.write_text(text + more)
        server = Server(self._spawn(config, f"redis-{port}"), port, config)
        self.servers[port] = server
        with self.client(port) as client:
            wait_until(lambda: _answers(client), 10, message=server.process.output)
        return server

    def start_sentinel(self, primary_port: int) -> Server:
        """Start one more Sentinel."""
        port = pick_free_port()
        directory = self.directory / f"sentinel-{port}"
        directory.mkdir()
        config = directory / "sentinel.conf"
        config.write_text(
            _SENTINEL.format(
                port=port,
                directory=directory,
                primary=primary_port,
                name=MASTER_NAME,
                password=self.password,
                sentinel_password=self.sentinel_password,
            )
        )
        sentinel = Server(self._spawn(config, f"sentinel-{port}", "--sentinel"), port, config)
        self.sentinels.append(sentinel)
        return sentinel

    def _spawn(self, config: Path, name: str, *options: str) -> SpawnedProcess:
        return self.spawn([find_redis_server(), config, *options], name=name)

    def _look(self, sentinel: Server) -> dict[str, Any]:
        client = redis.Redis(port=sentinel.port, password=self.sentinel_password, decode_responses=True)
        try:
            with client:
                seen: Any = client.sentinel_master(MASTER_NAME)
        except redis.RedisError:
            return {}
        return dict(seen)

    def _knows_all(self, sentinel: Server) -> bool:
        seen = self._look(sentinel)
        known = (seen.get("num-other-sentinels"), seen.get("num-slaves"))
        return known == (SENTINELS - 1, self.replicas)


def _answers(client: redis.Redis) -> bool:
    try:
        return bool(client.ping())
    except redis.RedisError:
        return False
