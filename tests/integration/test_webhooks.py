"""Webhooks, from the platform's post to the record: matched by call, conversation and number, or not."""

from __future__ import annotations

import json
import signal
import socket
import sys
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import requests

from support import keys_without_ttl, wait_until
from support.cluster import make_intent
from support.ledger_bench import LedgerBench
from support.role_users import add_roles, parts_permissions, refusals
from transfer_tasks.connection import ConnectionStatus, ReportSource
from transfer_tasks.errors import LedgerUnavailable
from transfer_tasks.intent import TransferIntent
from transfer_tasks.ledger.ledger import Ledger
from transfer_tasks.ledger.verdicts import Claim
from transfer_tasks.outcome import State
from transfer_tasks.redis.connection import connect
from transfer_tasks.registry.destinations import DestinationRegistry
from transfer_worker.roles import Role
from transfer_worker.webhooks.matching import Matcher
from transfer_worker.webhooks.server import ImpatientProtocol

if TYPE_CHECKING:
    from support.cluster import Cluster
    from transfer_tasks.publisher import TransferPublisher

NUMBER, OTHER_NUMBER = "12025550143", "12025550142"
SECRET = "s3cret-of-twenty-four-chars"
BODIES = Path(__file__).parents[1] / "unit" / "worker" / "webhooks" / "fixtures" / "bodies.json"
CONVERSATION = "GQqYoKtVxkS3mJ0aTzWfUe7hPb2cRdLi5yNv8wEsXg4"


@pytest.fixture
def bench(redis_url):
    with connect(redis_url, timeout_seconds=30) as client:
        yield LedgerBench(client)
        assert keys_without_ttl(client) == []


@pytest.fixture
def matcher(bench, redis_url):
    """As the user of the role, where there are roles; at the end it was refused nothing."""
    if not parts_permissions(bench.client):
        yield Matcher(bench.ledger, DestinationRegistry({}))
        return
    with connect(add_roles(redis_url)[Role.RECEIVER], timeout_seconds=30) as client:
        yield Matcher(Ledger(client, retention_seconds=1000), DestinationRegistry({}))
    assert refusals(redis_url) == []


def submit(bench, *, call_id: str | None = None, destination: Any = f"+{NUMBER}") -> tuple[str, str]:
    """Have a request accepted by the platform; return transfer and call."""
    intent = TransferIntent(
        call_id=call_id or str(uuid.uuid4()), destination=destination, expires_in_seconds=60
    )
    accepted = bench.run(
        bench.commands.accept(
            transfer_id=intent.transfer_id,
            call_id=intent.call_id,
            idempotency_key="",
            destination_digest=intent.destination_digest(),
            content_digest=intent.content_digest(),
            intent_json=intent.to_json(),
            signature="",
            labels_json=json.dumps(intent.labels()),
            message="{}",
            queue="transfers",
            remaining_ms=60_000,
            repeat_window_ms=0,
            reply_to="",
            asked_json="{}",
            after="",
            latest_ms=10**14,
        )
    )
    assert accepted.verdict == "accepted"
    claim = bench.claim(intent.transfer_id)
    assert isinstance(claim, Claim)
    bench.begin(claim)
    bench.end(claim)
    return intent.transfer_id, intent.call_id


def leg_a(call_id: str, conversation: str = CONVERSATION, **fields: Any) -> bytes:
    body = {"conversation_uuid": conversation, "leg": "a", "status": "out_answered", "cmiuuid": call_id}
    return json.dumps({**body, "to": 19170000000, "from": 440000000000, **fields}).encode()


def leg_b(status: str, conversation: str = CONVERSATION, to: Any = int(NUMBER), **fields: Any) -> bytes:
    body = {"conversation_uuid": conversation, "leg": "b", "status": status, "cmiuuid": str(uuid.uuid4())}
    return json.dumps({**body, "to": to, "balance": "76.349024", **fields}).encode()


def seconds_from_now(bench, seconds: int) -> int:
    return bench.client.time()[0] + seconds


def connection_of(bench, transfer_id: str):
    return bench.ledger.read(transfer_id).connection


# ── matching ──────────────────────────────────────────────────────────────────────────────────────────────


def test_leg_b_of_a_known_conversation_to_the_number_that_was_called_is_proof(bench, matcher):
    transfer_id, call_id = submit(bench)
    assert matcher.take(leg_a(call_id)) == ["learned"]
    assert matcher.take(leg_b("out_started")) == ["matched"]
    assert connection_of(bench, transfer_id).status is ConnectionStatus.RINGING
    at_ms = 1000 * seconds_from_now(bench, 3)
    assert matcher.take(leg_b("out_bridged", time=at_ms)) == ["matched"]
    found = connection_of(bench, transfer_id)
    assert (found.status, found.source) == (ConnectionStatus.CONNECTED, ReportSource.WEBHOOK)
    assert found.at_ms == at_ms


def test_an_inbound_call_is_its_own_conversation(bench, matcher):
    transfer_id, call_id = submit(bench)
    assert matcher.take(leg_b("in_bridged", call_id.upper())) == ["matched"]
    assert connection_of(bench, transfer_id).status is ConnectionStatus.CONNECTED


def test_what_comes_before_leg_a_waits_for_it(bench, matcher):
    transfer_id, call_id = submit(bench)
    assert matcher.take(leg_b("out_bridged")) == ["held"]
    assert connection_of(bench, transfer_id) is None
    assert 0 < bench.client.ttl(bench.keys.webhooks(CONVERSATION)) <= 60
    assert matcher.take(leg_a(call_id)) == ["learned", "matched"]
    assert connection_of(bench, transfer_id).status is ConnectionStatus.CONNECTED


def test_not_more_than_twenty_wait_and_a_repeat_waits_once(bench, matcher):
    for _ in range(3):
        matcher.take(leg_b("out_started", cmiuuid="same"))
    assert bench.client.llen(bench.keys.webhooks(CONVERSATION)) == 1
    for _ in range(30):
        matcher.take(leg_b("out_started"))
    assert bench.client.llen(bench.keys.webhooks(CONVERSATION)) == 20


def test_repeats_change_nothing(bench, matcher):
    transfer_id, call_id = submit(bench)
    missed = leg_b("missed", type="cdr", start_time=seconds_from_now(bench, 0))
    assert matcher.take(leg_a(call_id)) == matcher.take(leg_a(call_id)) == ["learned"]
    assert [matcher.take(missed) for _ in range(4)] == [["matched"]] + [["repeated"]] * 3
    found = connection_of(bench, transfer_id)
    assert (found.status, found.reason) == (ConnectionStatus.NOT_CONNECTED, None)
    events = [line["event"] for line in bench.audit()]
    assert events.count("transfer.not_connected") == 1


def test_a_contradiction_is_kept_beside_the_first_final(bench, matcher):
    transfer_id, call_id = submit(bench)
    matcher.take(leg_a(call_id))
    assert matcher.take(leg_b("out_bridged")) == ["matched"]
    assert matcher.take(leg_b("missed", type="cdr")) == ["contradiction"]
    assert connection_of(bench, transfer_id).status is ConnectionStatus.CONNECTED


@pytest.mark.parametrize("to", [OTHER_NUMBER, "", None, [NUMBER], True])
def test_a_leg_to_another_number_is_nobodys(bench, matcher, to):
    transfer_id, call_id = submit(bench)
    matcher.take(leg_a(call_id))
    assert matcher.take(leg_b("out_bridged", to=to)) == ["of_another"]
    assert connection_of(bench, transfer_id) is None


def test_a_call_without_transfers_is_nobodys(bench, matcher):
    matcher.take(leg_a(str(uuid.uuid4())))
    assert matcher.take(leg_b("out_bridged")) == ["of_another"]


def test_one_of_several_that_did_not_pick_up_says_nothing_of_the_others(bench, matcher):
    transfer_id, call_id = submit(bench, destination=[f"+{NUMBER}", f"+{OTHER_NUMBER}"])
    matcher.take(leg_a(call_id))
    assert matcher.take(leg_b("missed", type="cdr")) == ["one_of_several"]
    assert connection_of(bench, transfer_id) is None
    assert matcher.take(leg_b("out_bridged", to=OTHER_NUMBER)) == ["matched"]
    assert connection_of(bench, transfer_id).status is ConnectionStatus.CONNECTED


def test_a_named_destination_is_found_by_the_registrys_number(bench, tmp_path):
    (tmp_path / "destinations.toml").write_text(
        f'[desk]\ndescription = "A desk"\nendpoints = ["+{NUMBER}"]\n'
    )
    matcher = Matcher(bench.ledger, DestinationRegistry.load(tmp_path / "destinations.toml"))
    transfer_id, call_id = submit(bench, destination="desk")
    matcher.take(leg_a(call_id))
    assert matcher.take(leg_b("out_bridged")) == ["matched"]
    assert connection_of(bench, transfer_id).status is ConnectionStatus.CONNECTED


def test_a_sip_destination_is_found_by_its_address(bench, matcher):
    transfer_id, call_id = submit(bench, destination="sip:desk@pbx.example.com")
    matcher.take(leg_a(call_id))
    assert matcher.take(leg_b("out_bridged", to="sip:Desk@PBX.example.com")) == ["matched"]
    assert connection_of(bench, transfer_id).status is ConnectionStatus.CONNECTED


def test_a_leg_that_began_before_the_transfer_was_asked_for_is_another(bench, matcher):
    transfer_id, call_id = submit(bench)
    matcher.take(leg_a(call_id))
    assert matcher.take(leg_b("missed", type="cdr", start_time=seconds_from_now(bench, -60))) == [
        "of_another"
    ]
    assert connection_of(bench, transfer_id) is None


def test_the_same_number_twice_is_told_apart_by_the_legs_beginning_or_not_at_all(bench, matcher):
    first, call_id = submit(bench)
    matcher.take(leg_a(call_id))
    second, _ = submit(bench, call_id=call_id)
    # Within the clocks' slack it may be either of them: kept, and nobody guesses.
    assert matcher.take(leg_b("out_bridged", time=1000 * seconds_from_now(bench, 1))) == ["unmatched"]
    assert (connection_of(bench, first), connection_of(bench, second)) == (None, None)
    assert matcher.take(leg_b("out_bridged", time=1000 * seconds_from_now(bench, 30))) == ["matched"]
    assert connection_of(bench, second).status is ConnectionStatus.CONNECTED


@pytest.mark.parametrize(
    "body",
    [leg_b("cancelled"), leg_b("out_hangup"), leg_a("no-uuid"), b"{}", b'{"type":"event","status":"hangup"}'],
)
def test_what_says_nothing_is_taken_and_forgotten(bench, matcher, body):
    assert matcher.take(body) == ["says_nothing"]
    assert bench.client.keys("transfer:[cw]*") == []


def test_where_redis_is_away_it_is_not_taken(private_redis):
    with connect(private_redis.url, timeout_seconds=5) as client:
        matcher = Matcher(LedgerBench(client).ledger, DestinationRegistry({}))
        private_redis.stop()
        with pytest.raises(LedgerUnavailable):
            matcher.take(leg_b("out_bridged"))


# ── the process ───────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def receiver(cluster: Cluster):
    """A running `call-transfer webhooks`, and its root."""
    process = cluster.spawn(
        [sys.executable, "-m", "transfer_worker", "webhooks", "--port", "0"],
        env=cluster.worker_environment() | {"TRANSFER_WEBHOOK_SECRET": SECRET},
        name="webhooks",
    )
    process.root = process.wait_for_output(r"^http://\S+$")[0]
    return process


@pytest.fixture
def http():
    with requests.Session() as session:
        session.trust_env = False
        yield session


def post(http, receiver, body: bytes, *, secret: str = SECRET):
    return http.post(f"{receiver.root}/webhooks/{secret}", data=body, timeout=30).status_code


def test_from_the_sandboxs_post_to_the_record(cluster: Cluster, publisher: TransferPublisher, receiver):
    cluster.sandbox.controls.set_webhooks(url=f"{receiver.root}/webhooks/{SECRET}", direction="outbound")
    cluster.start_worker(TRANSFER_ASK_PLATFORM="false")
    intent = make_intent("+12025550131")  # rings, then is busy
    handle = publisher.submit(intent)
    assert handle.outcome().state is State.SUBMITTED

    def find_final():
        found = cluster.ledger().read(handle.transfer_id).connection
        return found if found and found.status.is_final else None

    found = wait_until(find_final)
    assert (found.status, found.source) == (ConnectionStatus.NOT_CONNECTED, ReportSource.WEBHOOK)
    assert cluster.sandbox.controls.count_asked() == {}
    assert cluster.sandbox.post_count(intent.call_id) == 1
    assert {sent.get("status") for sent in cluster.sandbox.webhooks()} == {204}


def test_strangers_junk_and_floods_are_refused_and_nothing_is_logged(cluster: Cluster, receiver, http):
    body = leg_b("out_bridged")
    assert post(http, receiver, body, secret="wrong") == 404
    assert post(http, receiver, b"no JSON") == 400
    assert post(http, receiver, b"x" * 70_000) == 413
    assert post(http, receiver, body) == 204
    assert http.get(f"{receiver.root}/webhooks/{SECRET}", timeout=30).status_code == 405
    assert http.get(f"{receiver.root}/health", timeout=30).text == "ok\n"
    receiver.send_signal(signal.SIGTERM)
    assert receiver.wait() == 0
    said = receiver.output()
    assert not any(text in said for text in (NUMBER, "76.349024", SECRET, CONVERSATION))


def test_the_vendors_own_bodies_are_taken(cluster: Cluster, receiver, http):
    for body in json.loads(BODIES.read_text("utf-8")).values():
        assert post(http, receiver, json.dumps(body).encode()) == 204


def test_a_repeated_post_is_a_204_each_time(cluster: Cluster, receiver, http):
    body = leg_b("out_bridged")
    assert {post(http, receiver, body) for _ in range(5)} == {204}


def test_a_client_that_says_nothing_is_shown_the_door(receiver):
    assert ImpatientProtocol.head_seconds < 30
    host, port = receiver.root.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=60) as silent:
        silent.sendall(b"POST /webhooks/")
        assert silent.recv(1) == b""  # ended, not left open


def test_wrong_settings_are_exit_code_2_and_the_secret_is_not_shown(cluster: Cluster):
    process = cluster.spawn(
        [sys.executable, "-m", "transfer_worker", "webhooks", "--port", "0"],
        env=cluster.worker_environment() | {"TRANSFER_WEBHOOK_SECRET": "too-short-secret"},
        name="wrong",
    )
    assert process.wait() == 2
    assert "TRANSFER_WEBHOOK_SECRET is wrong" in process.output()
    assert "too-short-secret" not in process.output()
