"""Users who may not do all: what could not be looked at is said, and which permission it takes."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import redis

from support.cluster import OK_NUMBER, make_intent
from support.redis_servers import add_user, app_url, look
from transfer_tasks.errors import PublishOutcomeUnknown, PublishUnavailable, TransferNotFound
from transfer_tasks.outcome import State
from transfer_worker.roles import Place, describe_user
from transfer_worker.runtime.findings import Verdict


def test_a_user_with_the_rules_of_the_documents_may_do_everything(start, cluster_at):
    port = start()
    add_user(port, *describe_user(Place()).split())

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
        # redis-py tells its name by CLIENT, and goes on without; in 6.2 all of CLIENT is dangerous.
        assert {entry["object"] for entry in client.execute_command("ACL", "LOG")} <= {"client"}
    assert "NOPERM" not in worker.output()
    assert "no permissions" not in worker.output()


def test_the_documents_have_the_rules_that_doctor_prints():
    page = (Path(__file__).parents[3] / "docs" / "compatibility.md").read_text("utf-8")

    assert f"on >password {describe_user(Place())}\n" in page


def test_a_publisher_alone_does_with_less(start, cluster_at):
    port = start()
    page = (Path(__file__).parents[3] / "docs" / "compatibility.md").read_text("utf-8")
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
        ("~* resetchannels &transfer:* +@all", "PUBLISH /0.transfer.control.pidbox"),
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


@pytest.mark.parametrize("forbidden", ["xadd", "hset", "zadd", "lpush", "publish", "expire", "evalsha|eval"])
def test_what_a_publisher_says_was_not_queued_is_never_carried_out(start, cluster_at, forbidden):
    port = start()
    add_user(port, "~*", "resetchannels", "&*", "+@all", *(f"-{name}" for name in forbidden.split("|")))
    admin = cluster_at(f"redis://127.0.0.1:{port}/0")
    admin.start_worker()

    intent = make_intent(OK_NUMBER)
    refused = None
    with cluster_at(app_url(port)).publisher() as publisher:
        try:
            publisher.submit(intent)
        except (PublishUnavailable, PublishOutcomeUnknown) as error:
            refused = error

    with admin.publisher() as able:
        # What comes after it in the queue has been carried out, so it would have been.
        assert able.submit(make_intent(OK_NUMBER)).outcome(30).state is State.SUBMITTED
        if isinstance(refused, PublishUnavailable):
            with pytest.raises(TransferNotFound):
                able.handle(intent.transfer_id).outcome(5)
    is_moved = admin.sandbox.post_count(intent.call_id)
    assert not (is_moved and isinstance(refused, PublishUnavailable)), f"{refused} but it was carried out"
    assert refused is not None or forbidden in {"publish", "expire"}
