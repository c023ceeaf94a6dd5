"""What an address may lead to: a server that won't do is refused in words, with what will do instead."""

from __future__ import annotations

import pytest
import redis
import trustme

from support.redis_servers import add_user, app_url, cluster_mode, look, refusal_of
from support.tls_front import TlsFront
from support.waiting import wait_until
from transfer_tasks.redis.connection import connect
from transfer_tasks.redis.diagnosis import Trouble, diagnose
from transfer_worker.runtime.findings import Verdict
from transfer_worker.sandbox import SandboxServer


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
