"""Each service's exact command of docker-compose.yml, outside of Docker; host names and folders differ."""

from __future__ import annotations

import os
import socket
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import redis
import yaml

from support import urlopen_directly, wait_until
from transfer_worker.local.redis_executable import find_redis_server

if TYPE_CHECKING:
    from support import ProcessSpawner, SpawnedProcess

ROOT = Path(__file__).parents[2]
SERVICES: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Machine:
    """Runs services the way the containers would."""

    def __init__(self, spawn: ProcessSpawner, folder: Path) -> None:
        self._spawn, self._folder = spawn, folder
        self.redis_port = free_port()
        for name in ("lib/call-transfer", "lib/flower", "bin"):
            (folder / name).mkdir(parents=True)
        # By the image's name, whichever server this machine has.
        (folder / "bin" / "redis-server").symlink_to(find_redis_server())

    def start(self, name: str, *more: str, **environment: str) -> SpawnedProcess:
        """Start a service; `more` are arguments that only this machine needs."""
        service = SERVICES[name]
        declared = {key: self._translate(str(value)) for key, value in service.get("environment", {}).items()}
        command = [self._translate(part) for part in service["command"]]
        path = f"{Path(sys.executable).parent}:{self._folder / 'bin'}:{os.environ['PATH']}"
        return self._spawn([*command, *more], env={"PATH": path} | declared | environment, name=name)

    def _translate(self, text: str) -> str:
        for container, here in {
            "redis://redis:6379": f"redis://127.0.0.1:{self.redis_port}",
            "/app/flowerconfig.py": str(ROOT / "worker" / "flowerconfig.py"),
            "/app/destinations.toml": str(ROOT / "destinations.example.toml"),
            "/var/lib": str(self._folder / "lib"),
            "${FLOWER_READ_ONLY:-true}": "true",
        }.items():
            text = text.replace(container, here)
        return text


@pytest.fixture
def machine(spawn: ProcessSpawner, tmp_path: Path) -> Machine:
    machine = Machine(spawn, tmp_path)
    machine.start("redis", "--port", str(machine.redis_port), "--dir", str(tmp_path))
    with redis.Redis(port=machine.redis_port) as client:
        wait_until(lambda: answers(client), 10, message="Redis answers")
    return machine


def answers(client: redis.Redis) -> bool:
    try:
        return bool(client.ping())
    except redis.ConnectionError:
        return False


def fetch(url: str) -> str:
    try:
        with urlopen_directly(url, timeout=5) as answer:
            return str(answer.read().decode())
    except OSError:
        return ""


def test_the_redis_of_the_compose_file_passes_the_preflight(machine: Machine) -> None:
    with redis.Redis(port=machine.redis_port) as client:
        settings = client.config_get("maxmemory-policy") | client.config_get("append*")

    assert settings["maxmemory-policy"] == "noeviction"
    assert (settings["appendonly"], settings["appendfsync"]) == ("yes", "always")


def test_the_worker_starts(machine: Machine) -> None:
    worker = machine.start("worker", PIOPIY_TOKEN="the-token", PIOPIY_NUMBER="12025550199")

    worker.wait_for_output(r"ready\.", deadline_seconds=20)

    assert "preflight.warning" not in worker.output()


@pytest.mark.parametrize("name", ["flower", "flower-operator"])
def test_flower_starts_with_a_login_and_not_without(machine: Machine, name: str) -> None:
    port = free_port()
    flower = machine.start(name, FLOWER_BASIC_AUTH="on-call:correct-horse", FLOWER_PORT=str(port))
    wait_until(lambda: fetch(f"http://127.0.0.1:{port}/healthcheck"), 20, message="Flower answers")
    assert flower.is_running()

    assert machine.start(name, FLOWER_BASIC_AUTH="", FLOWER_PORT=str(free_port())).wait(20) != 0


def test_only_the_operators_flower_has_buttons() -> None:
    look, act = SERVICES["flower"], SERVICES["flower-operator"]

    assert look["environment"]["FLOWER_READ_ONLY"] == "${FLOWER_READ_ONLY:-true}"
    assert (act["environment"]["FLOWER_READ_ONLY"], act["profiles"]) == ("false", ["operator"])
    assert all(port.startswith("127.0.0.1:") for port in look["ports"] + act["ports"])


@pytest.mark.parametrize(
    ("name", "url", "text"),
    [
        ("sandbox", "http://127.0.0.1:8900/_sandbox/health", "ok"),
        ("metrics", "http://127.0.0.1:9808/metrics", "transfer_"),
    ],
)
def test_the_other_services_answer(machine: Machine, name: str, url: str, text: str) -> None:
    machine.start(name)

    assert text in wait_until(lambda: fetch(url), 20, message=f"{name} answers")


def test_no_service_of_ours_is_forgotten_here() -> None:
    ours = {name for name, service in SERVICES.items() if "build" in service or name == "redis"}

    assert ours == {"redis", "worker", "flower", "flower-operator", "sandbox", "metrics"}
