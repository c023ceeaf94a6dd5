"""Redis servers that won't do, or not yet: `doctor`, a worker's start and a publisher say why, all the same.

Each is a real server, configured as people meet it.
"""

from __future__ import annotations

import json
import re
import socket
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import redis
import trustme

from support.cluster import OK_NUMBER, Cluster, make_intent
from support.tls_front import TlsFront
from support.waiting import wait_until
from transfer_tasks.errors import PublishUnavailable
from transfer_tasks.outcome import State
from transfer_tasks.redis.connection import connect
from transfer_tasks.redis.diagnosis import Trouble, diagnose
from transfer_worker.local.redis_executable import find_redis_server
from transfer_worker.runtime.findings import Finding, Verdict
from transfer_worker.runtime.redis_checks import check_redis
from transfer_worker.runtime.redis_commands import describe_rules
from transfer_worker.sandbox import SandboxServer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from support import ProcessSpawner


@pytest.fixture
def start(spawn: ProcessSpawner, tmp_path: Path) -> Callable[..., int]:
    """Start a server with these options; return its port."""

    def start_server(*options: str, port: int = 0) -> int:
        port = port or free_port()
        directory = tmp_path / f"redis-{port}"
        directory.mkdir()
        config = directory / "server.conf"
        config.write_text("")  # a Sentinel must have one
        spawn(
            [str(find_redis_server()), str(config), "--port", str(port), "--dir", str(directory), *options],
            env={},
            name=f"redis-{port}",
        )
        wait_until(lambda: _listens(port), 15, message="the server listens")
        return port

    return start_server


def free_port() -> int:
    while True:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = int(probe.getsockname()[1])
        if port < 55_000:  # a cluster talks 10000 ports higher, too
            return port


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@contextmanager
def cluster_mode(start: Callable[..., int]) -> Iterator[int]:
    """Run a cluster of one node, which has every slot."""
    port = start("--cluster-enabled", "yes")
    with redis.Redis(port=port, decode_responses=True) as client:
        client.execute_command("CLUSTER", "ADDSLOTS", *map(str, range(16384)))
        wait_until(
            lambda: client.execute_command("CLUSTER INFO")["cluster_state"] == "ok",
            20,
            message="the cluster is up",
        )
    yield port


def look(url: str, **options: Any) -> dict[str, Finding]:
    with connect(url, timeout_seconds=2) as client:
        return {found.check: found for found in check_redis(client, queue="transfers", **options)}


def refusal_of(url: str) -> Trouble:
    """Return what a step meets at an address, as the publisher and every command see it."""
    with connect(url, timeout_seconds=1) as client, pytest.raises(redis.RedisError) as met:
        client.eval("return redis.call('SET', 'transfer:x', 'y', 'EX', 1)", 0)
    return diagnose(met.value).trouble


def add_user(port: int, *rules: str, password: str = "") -> None:
    with redis.Redis(port=port, password=password or None) as client:
        client.execute_command("ACL", "SETUSER", "app", "reset", "on", ">app-password", *rules)


def app_url(port: int, database: int = 0) -> str:
    return f"redis://app:app-password@127.0.0.1:{port}/{database}"


# --- what an address may lead to


def test_a_wrong_password_no_password_and_a_stranger_are_told_apart(start):
    port = start("--requirepass", "right")

    assert refusal_of(f"redis://:wrong@127.0.0.1:{port}/0") is Trouble.WRONG_LOGIN
    assert refusal_of(f"redis://ann:right@127.0.0.1:{port}/0") is Trouble.WRONG_LOGIN
    assert refusal_of(f"redis://127.0.0.1:{port}/0") is Trouble.NO_LOGIN
    for address, said in [(":wrong@", "refuses the user or the password"), ("", "asks for a password")]:
        (found,) = look(f"redis://{address}127.0.0.1:{port}/0").values()
        assert (found.verdict, said in found.seen) == (Verdict.PROBLEM, True)
        assert "no answer" not in found.seen
        assert "TRANSFER_REDIS_URL" in found.fix


def test_a_big_request_without_a_password_is_told_as_such_too(start):
    port = start("--requirepass", "right")
    with (
        connect(f"redis://127.0.0.1:{port}/0", timeout_seconds=1) as client,
        pytest.raises(redis.RedisError, match="unauthenticated multibulk") as met,
    ):
        client.execute_command("EVALSHA", "0" * 40, "0", *["x"] * 20)

    assert diagnose(met.value).trouble is Trouble.NO_LOGIN


def test_a_password_that_is_not_asked_for_and_a_database_that_is_not_there(start):
    port = start("--databases", "1")

    assert refusal_of(f"redis://:any@127.0.0.1:{port}/0") is Trouble.PASSWORD_NOT_ASKED
    assert refusal_of(f"redis://127.0.0.1:{port}/3") is Trouble.NO_DATABASE
    (found,) = look(f"redis://127.0.0.1:{port}/3").values()
    assert found.verdict is Verdict.PROBLEM
    assert "End TRANSFER_REDIS_URL with /0" in found.fix


def test_a_replica_and_one_without_its_primary_are_told(start):
    primary = start()
    replica = start("--replicaof", "127.0.0.1", str(primary))
    orphan = start("--replicaof", "127.0.0.1", "1", "--replica-serve-stale-data", "no")

    assert refusal_of(f"redis://127.0.0.1:{orphan}/0") is Trouble.MASTER_DOWN
    wait_until(
        lambda: refusal_of(f"redis://127.0.0.1:{replica}/0") is Trouble.READ_ONLY, 15, message="a replica"
    )
    found = look(f"redis://127.0.0.1:{replica}/0")["redis"]
    assert (found.verdict, "is a replica" in found.seen) == (Verdict.WARNING, True)


def test_one_that_is_full_one_without_replicas_and_one_with_too_many_clients_are_told(start):
    port = start("--maxmemory", "1kb", "--min-replicas-to-write", "0")
    assert refusal_of(f"redis://127.0.0.1:{port}/0") is Trouble.FULL
    found = look(f"redis://127.0.0.1:{port}/0")
    assert (found["redis"].verdict, found["eviction"].verdict) == (Verdict.WARNING, Verdict.OK)

    lonely = start("--min-replicas-to-write", "1")
    assert refusal_of(f"redis://127.0.0.1:{lonely}/0") is Trouble.NO_REPLICAS

    with redis.Redis(port=lonely) as client:
        client.config_set("maxclients", 1)
        # What it says may be lost, when it hangs up before we have asked.
        wait_until(
            lambda: refusal_of(f"redis://127.0.0.1:{lonely}/0") is Trouble.MAX_CLIENTS,
            10,
            message="no more clients are taken",
        )


def test_a_sentinel_is_no_redis(start):
    (found,) = look(f"redis://127.0.0.1:{start('--sentinel')}/0").values()

    assert found.verdict is Verdict.PROBLEM
    assert "Write sentinel://" in found.fix


def test_tls_and_plain_are_told_when_they_meet(start, tmp_path):
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    port = start()
    with TlsFront(port, authority) as front:
        plain = refusal_of(f"redis://127.0.0.1:{front.port}/0")
        untrusted = refusal_of(f"rediss://127.0.0.1:{front.port}/0")
        misnamed = refusal_of(f"rediss://localhost:{front.port}/0?ssl_ca_certs={tmp_path}/ca.pem")

    assert (plain, untrusted, misnamed) == (Trouble.CLOSED, Trouble.UNTRUSTED, Trouble.UNTRUSTED)
    assert refusal_of(f"rediss://127.0.0.1:{port}/0") is Trouble.SILENT  # it waits for the end of a line


def test_what_is_no_redis_and_what_is_nothing_are_told():
    with SandboxServer() as sandbox:
        port = sandbox.url.split(":")[2].split("/")[0]
        assert refusal_of(f"redis://127.0.0.1:{port}/0") is Trouble.NO_REDIS
        assert refusal_of(f"rediss://127.0.0.1:{port}/0") is Trouble.PLAIN_PORT
    assert refusal_of("redis://127.0.0.1:1/0") is Trouble.UNREACHABLE
    assert refusal_of("redis://no.such.host.invalid:1/0") is Trouble.UNREACHABLE


# --- cluster mode


def test_a_redis_in_cluster_mode_is_refused_with_what_will_do_instead(start):
    with cluster_mode(start) as port:
        (found,) = look(f"redis://127.0.0.1:{port}/0").values()

        assert found.verdict is Verdict.PROBLEM
        assert "in cluster mode" in found.seen
        assert "Use one that is not" in found.fix


def test_cluster_mode_shows_to_a_user_who_may_ask_nothing(start):
    with cluster_mode(start) as port:
        add_user(port, "~*", "&*", "+@all", "-info", "-hello")

        (found,) = (of for of in look(app_url(port)).values() if of.check == "redis")

        assert (found.verdict, "in cluster mode" in found.seen) == (Verdict.PROBLEM, True)


# --- users who may not do all


def test_a_user_with_the_rules_of_the_documents_may_do_everything(start, cluster_at):
    port = start()
    add_user(port, *describe_rules("transfers", 0).split())

    findings = look(app_url(port))
    assert {found.check: found.verdict for found in findings.values()} == {
        "redis": Verdict.OK,
        "permissions": Verdict.OK,
        "eviction": Verdict.OK,
        "persistence": Verdict.WARNING,  # it is off here
    }

    cluster = cluster_at(app_url(port))
    worker = cluster.start_supervised()
    with cluster.publisher() as publisher:
        assert publisher.submit(make_intent(OK_NUMBER)).outcome(10).state is State.SUBMITTED
    with redis.Redis(port=port, decode_responses=True) as client:
        assert client.execute_command("ACL", "LOG") == []
    assert "NOPERM" not in worker.output()
    assert "no permissions" not in worker.output()


def test_the_documents_have_the_rules_that_doctor_prints():
    page = (Path(__file__).parents[2] / "docs" / "compatibility.md").read_text("utf-8")

    assert f"on >password {describe_rules('transfers', 0)}\n" in page


def test_a_publisher_alone_does_with_less(start, cluster_at):
    port = start()
    page = (Path(__file__).parents[2] / "docs" / "compatibility.md").read_text("utf-8")
    (rules,) = re.findall(r"A publisher alone does with `([^`]+)`", page)
    add_user(port, *rules.split())
    worker_url = f"redis://127.0.0.1:{port}/0"

    cluster_at(worker_url).start_worker()
    with cluster_at(app_url(port)).publisher() as publisher:
        handle = publisher.submit(make_intent(OK_NUMBER))
        assert handle.outcome(10).state is State.SUBMITTED
        assert handle.cancel() is False
        with redis.Redis(port=port, decode_responses=True) as client:
            assert client.execute_command("ACL", "LOG") == []


def test_a_user_without_info_is_not_taken_for_one_whose_redis_never_evicts(start):
    port = start("--maxmemory-policy", "volatile-lru")
    add_user(port, "~*", "&*", "+@all", "-@dangerous")

    found = look(app_url(port))["eviction"]

    assert found.verdict is Verdict.PROBLEM
    assert "INFO is refused" in found.seen
    assert "ACL SETUSER <user> +info" in found.fix
    vouched = look(app_url(port), is_said_never_to_evict=True)["eviction"]
    assert (vouched.verdict, "TRANSFER_REDIS_NEVER_EVICTS" in vouched.seen) == (Verdict.NOT_CHECKED, True)


def test_no_word_of_an_operator_outweighs_what_redis_says(start):
    port = start("--maxmemory-policy", "volatile-lru")

    found = look(f"redis://127.0.0.1:{port}/0", is_said_never_to_evict=True)["eviction"]

    assert (found.verdict, found.seen) == (Verdict.PROBLEM, "maxmemory-policy volatile-lru")


def test_config_tells_where_info_may_not(start):
    port = start()
    add_user(port, "~*", "&*", "+@all", "-info")

    assert look(app_url(port))["eviction"].verdict is Verdict.OK


@pytest.mark.parametrize(
    ("rules", "said"),
    [
        ("~transfer* &* +@all", "DEL preflight.transfer.control.pidbox"),
        ("~* &transfer:* +@all", "PUBLISH /0.transfer.control.pidbox"),
        ("~* resetchannels &/0.* +@all", "PUBLISH transfer:reply:preflight"),
        ("~* &* +@all -brpop", "BRPOP transfers"),
        ("~* &* +@all -@scripting", "EVALSHA"),
        ("~* &* +@all -xautoclaim", "XAUTOCLAIM transfer:audit"),
    ],
)
def test_whatever_a_user_may_not_do_is_found_before_it_is_done(start, rules, said):
    port = start()
    add_user(port, *rules.split())

    found = look(app_url(port))["permissions"]

    assert found.verdict is Verdict.PROBLEM
    assert said in found.seen
    assert "~transfer:* ~transfers* ~_kombu.binding*" in found.fix
    with redis.Redis(port=port, decode_responses=True) as client:
        assert client.keys() == []


def test_nothing_is_run_where_transactions_are_refused(start):
    port = start()
    add_user(port, "~*", "&*", "+@all", "-multi")

    found = look(app_url(port))

    assert [of.verdict for of in found.values()] == [Verdict.PROBLEM]
    with redis.Redis(port=port) as client:
        assert client.keys() == []


# --- the same words, wherever they are asked for


@pytest.fixture
def cluster_at(spawn: ProcessSpawner) -> Iterator[Callable[[str], Cluster]]:
    with SandboxServer() as sandbox:
        yield lambda url: Cluster(redis_url=url, sandbox=sandbox, spawn=spawn)


def run(cluster: Cluster, *arguments: str) -> tuple[int, str]:
    ended = subprocess.run(
        [sys.executable, "-m", "transfer_worker", *arguments],
        env=cluster.worker_environment() | {"USER": "ana", "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return ended.returncode, " ".join((ended.stdout + ended.stderr).split())


def test_worker_doctor_send_and_status_say_the_same_of_a_wrong_password(start, cluster_at):
    cluster = cluster_at(f"redis://:wrong@127.0.0.1:{start('--requirepass', 'right')}/0")
    said = "Redis refuses the user or the password"

    worker = cluster.spawn(
        [sys.executable, "-m", "transfer_worker", "worker"], env=cluster.worker_environment()
    )

    assert worker.wait(30) == 2
    assert said in worker.output()
    assert "Traceback" not in worker.output()
    for command, code in {"doctor": 1, "status": 3}.items():
        assert run(cluster, command) == (code, Contains(said))
    assert run(cluster, "send", "--call-id", "6f1c1f0e-5b0a-4d4e-9a51-0c9d6a3c2b11", "--to", OK_NUMBER) == (
        3,
        Contains(said),
    )


class Contains(str):
    """Equals every text that it is in."""

    __slots__ = ()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, str) and str(self) in other

    __hash__ = str.__hash__


def test_worker_and_publisher_refuse_a_cluster(start, cluster_at):
    with cluster_mode(start) as port:
        cluster = cluster_at(f"redis://127.0.0.1:{port}/0")
        worker = cluster.spawn(
            [sys.executable, "-m", "transfer_worker", "worker"], env=cluster.worker_environment()
        )

        assert worker.wait(30) == 2
        assert "in cluster mode" in worker.output()
        with cluster.publisher() as publisher, pytest.raises(PublishUnavailable, match="in cluster mode"):
            publisher.submit(make_intent(OK_NUMBER))
        with redis.Redis(port=port) as client:
            assert client.keys() == []


def test_status_does_without_info(start, cluster_at):
    port = start()
    add_user(port, "~*", "&*", "+@all", "-info")
    cluster = cluster_at(app_url(port))

    code, said = run(cluster, "status")

    assert (code, said) == (0, Contains("maxmemory-policy not told"))


def test_a_worker_looks_at_the_memory_policy_when_redis_comes_at_last(start, cluster_at):
    port = free_port()
    cluster = cluster_at(f"redis://127.0.0.1:{port}/0")
    worker = cluster.spawn(
        [sys.executable, "-m", "transfer_worker", "worker"], env=cluster.worker_environment()
    )
    worker.wait_for_output("preflight.waiting", deadline_seconds=30)

    start("--maxmemory-policy", "volatile-lru", port=port)

    assert worker.wait(30) == 2
    assert "maxmemory-policy volatile-lru" in worker.output()


def test_doctor_goes_on_where_the_user_may_not_look_at_other_applications_keys(start, cluster_at):
    port = start()
    add_user(port, *describe_rules("transfers", 0).split())

    code, said = run(cluster_at(app_url(port)), "doctor", "--json")

    assert code == 0
    verdicts = {found["check"]: found["verdict"] for found in json.loads(said)["findings"]}
    assert verdicts["neighbours"] == "not checked"
    assert {"clocks", "memory", "disk", "workers"} <= verdicts.keys()
