"""A worker's start, `doctor`, `send`, `status` and a publisher say the same of the same server."""

from __future__ import annotations

import json
import sys

import pytest
import redis

from support.cluster import OK_NUMBER, make_intent
from support.ports import pick_free_port
from support.redis_servers import add_user, app_url, cluster_mode, run
from transfer_tasks.errors import PublishUnavailable
from transfer_worker.roles import Place, describe_user


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
    port = pick_free_port()
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
    add_user(port, *describe_user(Place()).split())

    code, said = run(cluster_at(app_url(port)), "doctor", "--json")

    assert code == 0
    verdicts = {found["check"]: found["verdict"] for found in json.loads(said)["findings"]}
    assert verdicts["neighbours"] == "not checked"
    assert {"clocks", "memory", "disk", "workers"} <= verdicts.keys()
