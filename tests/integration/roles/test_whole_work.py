"""Each role does its whole work as its own user at a real server, and is refused nothing."""

from __future__ import annotations

import json
import sys
import uuid
from typing import TYPE_CHECKING, Any

import pytest

from support import urlopen_directly, wait_until
from support.cluster import Cluster, make_intent
from support.flower import read_queue_length
from support.ledger_bench import LedgerBench, move_twice
from support.operating import COMMAND, REGISTRY, findings
from support.ports import pick_free_port
from support.role_users import add_roles, refusals
from transfer_tasks.outcome import State
from transfer_tasks.publisher import TransferPublisher
from transfer_tasks.redis.connection import connect
from transfer_tasks.settings import PublisherSettings
from transfer_worker.audit.outbox import GROUP
from transfer_worker.roles import Role

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from click.testing import Result

    from support.processes import SpawnedProcess

Logins = dict[Role, str]


@pytest.fixture
def logins(redis_url: str) -> Iterator[Logins]:
    """Where each role logs in; at the end, nobody was refused anything."""
    logins = add_roles(redis_url)
    yield logins
    assert refusals(redis_url) == []


@pytest.fixture
def worker(cluster: Cluster, logins: Logins, tmp_path: Path) -> SpawnedProcess:
    """A worker as the user `worker`, with a registry and an audit file."""
    (tmp_path / "registry.toml").write_text(REGISTRY)
    cluster.environment |= {
        "TRANSFER_DESTINATIONS_FILE": str(tmp_path / "registry.toml"),
        "TRANSFER_AUDIT_FILE": str(tmp_path / "audit.jsonl"),
    }
    return cluster.start_worker(redis_url=logins[Role.WORKER])


@pytest.fixture
def bench(cluster: Cluster) -> Iterator[LedgerBench]:
    """The ledger as a user who may do everything."""
    ledger = cluster.ledger()
    with ledger.client:
        yield LedgerBench(ledger.client)


@pytest.fixture
def judge(ask_as: Callable[..., Result], redis_url: str) -> Callable[[Role], dict[str, str]]:
    """Have `doctor` judge the permissions of a role; what it tries and is refused is no refusal of work."""

    def run(role: Role) -> dict[str, str]:
        with connect(redis_url, timeout_seconds=10) as client:
            before = refusals(redis_url)
            found = findings(ask_as(role, "doctor", "--json"))["permissions"]
            client.execute_command("ACL", "LOG", "RESET")
        assert before == []
        return found

    return run


def publisher_of(logins: Logins) -> TransferPublisher:
    return TransferPublisher(PublisherSettings(redis_url=logins[Role.PUBLISHER], publish_budget_seconds=10))


@pytest.fixture
def ask_as(
    ask: Callable[..., Result], logins: Logins, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., Result]:
    """Run one command as the user of a role."""

    def run(role: Role, *arguments: str, **options: Any) -> Result:
        monkeypatch.setenv("TRANSFER_REDIS_URL", logins[role])
        return ask(*arguments, **options)

    return run


def test_publisher_and_worker(
    cluster: Cluster, worker: SpawnedProcess, logins: Logins, bench: LedgerBench
) -> None:
    retried, lost, slow = make_intent(), make_intent(), make_intent()
    cluster.sandbox.controls.script(retried.call_id, ["503", "ok"])
    cluster.sandbox.controls.script(lost.call_id, ["silence"])
    with publisher_of(logins) as publisher:
        assert publisher.submit(retried).outcome(30).state is State.SUBMITTED
        assert publisher.submit(lost).outcome(30).state is State.UNKNOWN
        assert publisher.submit(make_intent("nowhere")).outcome(30).state is State.REJECTED
        bench.client.rpush("transfers", "not JSON")
        bench.client.lpush("transfers\x06\x163", json.dumps({"headers": {"id": str(uuid.uuid4())}}))
        wait_until(lambda: bench.client.llen(bench.keys.quarantine) == 2, message="poison is set aside")
        worker.send_signal(15)
        worker.wait(30)
        handle = publisher.submit(slow)
        assert handle.cancel() is True
        assert publisher.submit(make_intent(expires_in_seconds=1)).outcome(30).state is State.EXPIRED
    # A second one takes over what the first has left, and says what its user may do.
    successor = cluster.start_supervised(redis_url=logins[Role.WORKER])
    with publisher_of(logins) as publisher:
        assert publisher.submit(make_intent("support")).outcome(30).state is State.SUBMITTED
    for process in (worker, successor):
        assert "permission" not in process.output()


def test_viewer(
    cluster: Cluster,
    worker: SpawnedProcess,
    logins: Logins,
    ask_as: Callable[..., Result],
    judge: Callable[[Role], dict[str, str]],
) -> None:
    with publisher_of(logins) as publisher:
        intent = make_intent("support")
        assert publisher.submit(intent).outcome(30).state is State.SUBMITTED
    for command in (
        ["status", "--json"],
        ["list", "--json"],
        ["list", "--state", "submitted"],
        ["tail", "--json", "--no-follow"],
        ["show", intent.call_id],
        ["show", intent.call_id[:8]],
        ["why", intent.call_id],
        ["quarantine", "list"],
    ):
        answer = ask_as(Role.VIEWER, *command)
        assert (answer.exit_code, command) == (0, command), answer.output
    assert judge(Role.VIEWER)["verdict"] == "ok"
    metrics = cluster.spawn(
        [*COMMAND, "metrics", "--port", "0"], env={"TRANSFER_REDIS_URL": logins[Role.VIEWER]}, name="metrics"
    )
    url = metrics.wait_for_output(r"^http://127\.0\.0\.1:\d+/metrics$")[0]
    with urlopen_directly(url, timeout=30) as answer:
        assert "transfer_ledger_up 1.0" in answer.read().decode()


def test_operator(
    cluster: Cluster,
    worker: SpawnedProcess,
    logins: Logins,
    ask_as: Callable[..., Result],
    judge: Callable[[Role], dict[str, str]],
    bench: LedgerBench,
) -> None:
    def act(*arguments: str, code: int = 0) -> Any:
        answer = ask_as(Role.OPERATOR, *arguments, "--json")
        assert answer.exit_code == code, (arguments, answer.output)
        return json.loads(answer.stdout)

    sent = act("send", "--call-id", str(uuid.uuid4()), "--to", "support")
    assert sent["outcome"]["state"] == "submitted", sent
    act("pause", "support", "--reason", "r")
    refused = act("send", "--call-id", str(uuid.uuid4()), "--to", "support", code=1)
    act("resume", "support")
    act("replay", refused["transfer_id"], "--reason", "r", "--for-seconds", "30", "--no-wait")
    lost, kept = (bench.accept(queue="elsewhere").transfer_id for _ in range(2))
    bench.heartbeat("w9")
    claim = bench.claim(lost, worker="w9")
    bench.begin(claim)
    bench.lose_answer(claim)
    act("resolve", lost, "--transferred", "--reason", "r")
    act("cancel", kept, "--reason", "r")
    first = move_twice(bench)[0]
    act("acknowledge", bench.record(first).call_id, "--reason", "r")
    bench.client.rpush("transfers", "not JSON")
    wait_until(lambda: bench.client.llen(bench.keys.quarantine), message="the poison is set aside")
    leave_behind(bench)
    act("quarantine", "list")
    act("quarantine", "adopt", "--reason", "r")
    act("quarantine", "drop", "--all", "--reason", "r")
    act("status")
    act("show", first, "--reveal", "--reason", "r")
    act("erase", kept, "--reason", "r", "--wait", "60")
    assert judge(Role.OPERATOR)["verdict"] == "ok"
    inspect = cluster.spawn(
        [
            sys.executable,
            "-m",
            "celery",
            "-A",
            "transfer_worker",
            "inspect",
            "ping",
            "-t",
            "20",
            "-d",
            "w1@test",
        ],
        env=cluster.worker_environment(redis_url=logins[Role.OPERATOR]),
        name="inspect",
    )
    assert inspect.wait(60) == 0, inspect.output()
    assert "pong" in inspect.output()


def leave_behind(bench: LedgerBench) -> None:
    """Put a message of ours under kombu's default names, as an older worker did."""
    message = {"headers": {"task": "transfer_tasks.transfer_call", "id": str(uuid.uuid4())}}
    bench.client.hset("unacked", "tag", json.dumps([message, "transfers", "transfers"]))
    bench.client.expire("unacked", 1000)


@pytest.mark.asyncio
async def test_flower(cluster: Cluster, worker: SpawnedProcess, logins: Logins, tmp_path: Path) -> None:
    port = pick_free_port()
    cluster.spawn(
        [sys.executable, "-m", "celery", "-A", "transfer_worker", "flower", f"--port={port}"],
        env={
            "TRANSFER_REDIS_URL": logins[Role.FLOWER],
            "FLOWER_UNAUTHENTICATED_API": "true",
            "FLOWER_DB": str(tmp_path / "flower.db"),
        },
        name="flower",
    )

    def look(path: str) -> str:
        try:
            with urlopen_directly(f"http://127.0.0.1:{port}{path}", timeout=30) as answer:
                return str(answer.read().decode())
        except OSError:
            return ""

    wait_until(lambda: look("/healthcheck"), 60, message="Flower answers")
    wait_until(lambda: "w1@test" in look("/api/workers?refresh=1"), 60, message="Flower sees the worker")
    wait_until(lambda: "w1@test" in look("/workers"), 60, message="by its events")
    with publisher_of(logins) as publisher:
        handle = publisher.submit(make_intent("support"))
        assert handle.outcome(30).state is State.SUBMITTED
    wait_until(lambda: handle.transfer_id in look("/api/tasks"), 60, message="Flower sees the transfer")
    assert '"transfers"' in look("/api/queues/length")
    assert await read_queue_length(logins[Role.FLOWER]) == 0


def test_auditor(
    cluster: Cluster,
    worker: SpawnedProcess,
    logins: Logins,
    ask_as: Callable[..., Result],
    bench: LedgerBench,
    tmp_path: Path,
) -> None:
    file = tmp_path / "audit.jsonl"
    with publisher_of(logins) as publisher:
        assert publisher.submit(make_intent("support")).outcome(30).state is State.SUBMITTED
    wait_until(lambda: file.exists() and "transfer.finished" in file.read_text(), message="it is written")
    wait_until(lambda: not bench.client.xpending(bench.keys.audit, GROUP)["pending"], message="settled")

    assert "transfer.finished" in ask_as(Role.AUDITOR, "tail", "--json", "--no-follow").stdout
    for options in ([], ["--complete"]):
        answer = ask_as(Role.AUDITOR, "audit", "verify", str(file), *options)
        assert answer.exit_code == 0, answer.output


@pytest.mark.parametrize("role", [Role.VIEWER, Role.FLOWER, Role.AUDITOR, Role.PUBLISHER, Role.RECEIVER])
def test_a_worker_does_not_start_as_somebody_else_and_says_as_whom(
    cluster: Cluster, redis_url: str, role: Role
) -> None:
    url = add_roles(redis_url)[role]
    worker = cluster.spawn([*COMMAND, "worker"], env=cluster.worker_environment(redis_url=url), name="worker")
    assert worker.wait(60) == 2
    assert f"as {role}" in worker.output()
    assert f"Log in as the user worker (TRANSFER_REDIS_URL): {role} has another role" in worker.output()


def test_doctor_names_the_role_and_what_is_missing_and_what_is_too_much(
    judge: Callable[[Role], dict[str, str]], redis_url: str
) -> None:
    with connect(redis_url, timeout_seconds=10) as client:

        def change(*rules: str) -> dict[str, str]:
            client.execute_command("ACL", "SETUSER", "viewer", *rules)
            return judge(Role.VIEWER)

        found = change("+hset", "%W~transfer:paused")
        assert found["verdict"] == "warning"
        assert found["seen"].startswith("as viewer; too much: HSET transfer:paused")
        assert found["fix"].startswith("ACL SETUSER viewer resetchannels resetkeys -@all %R~transfer:audit ")
        client.execute_command("ACL", "SETUSER", "viewer", *found["fix"].split()[3:])
        assert change()["verdict"] == "ok"
        found = change("-zcard")
        assert (found["verdict"], "as viewer, refused: ZCARD" in found["seen"]) == ("problem", True)
        client.execute_command("ACL", "LOG", "RESET")
