"""Three sources that lose, double, delay, reorder and mix up hops, and pollers that die while they ask.

One verdict for each transfer, equal to what the sandbox did wherever anything true arrives; nothing is sent.
"""

from __future__ import annotations

import json
import random
from typing import TYPE_CHECKING

import pytest

from support import keys_without_ttl, wait_until
from support.ledger_bench import LedgerBench
from transfer_tasks.connection import ConnectionStatus
from transfer_tasks.intent import TransferIntent
from transfer_tasks.outcome import Reason, State
from transfer_tasks.redis.connection import connect
from transfer_tasks.registry.destinations import DestinationRegistry
from transfer_tasks.voice.room import read_platform_status
from transfer_worker.gateway.status import StatusClient
from transfer_worker.runtime.poller import MAX_POLLS, StatusPoller
from transfer_worker.sandbox import SandboxServer
from transfer_worker.webhooks.matching import Matcher

if TYPE_CHECKING:
    from collections.abc import Callable

CALLS = 40
FINALS = ("connected", "busy", "no_answer", "rejected", "unreachable", "no_answer_and_call_ended")
NUMBER = "12025550143"


class Silence:
    def info(self, *_: object, **__: object) -> None:
        """Say nothing."""

    warning = info


class Play:
    """One transfer for each of many calls, each with a course of its own."""

    def __init__(self, bench: LedgerBench, sandbox: SandboxServer, seed: int) -> None:
        self.bench, self.sandbox, self.random = bench, sandbox, random.Random(seed)
        self.transfers: dict[str, str] = {}  # call -> transfer
        self.named: set[str] = set()  # calls whose answer has named the request
        self.steps: list[Callable[[], object]] = []
        self.matcher = Matcher(bench.ledger, DestinationRegistry({}))

    def begin(self) -> None:
        """Have each request accepted, or its answer lost; the course goes on either way."""
        for _ in range(CALLS):
            intent = TransferIntent(call_id=random_id(self.random), destination=f"+{NUMBER}")
            transfer_id = self.bench.accept(
                call_id=intent.call_id, destination=f"+{NUMBER}", transfer_id=intent.transfer_id
            ).transfer_id
            self.bench.client.hset(self.bench.keys.record(transfer_id), "intent", intent.to_json())
            self.transfers[intent.call_id] = transfer_id
            claim = self.bench.claim(transfer_id)
            self.bench.begin(claim)
            self.sandbox.controls.set_course(intent.call_id, self.make_course())
            request_id = self.sandbox.controls.begin_course(intent.call_id, NUMBER)
            answer = json.dumps({"message": "queued", "request_id": request_id})
            kind = self.random.random()
            if kind < 0.5:
                self.named.add(intent.call_id)
                self.bench.end(claim, answer_json=answer)
            elif kind < 0.8:
                self.bench.end(claim)
            else:
                self.bench.end(claim, State.UNKNOWN, Reason.ANSWER_LOST, http_status=None)

    def make_course(self) -> list[str]:
        def way() -> str:
            return self.random.choice(["", "", "-lost", "-doubled"])

        course = [f"ringing{way()}", f"{self.random.choice(FINALS)}{way()}"]
        if self.random.random() < 0.3:
            course.insert(0, f"other-{self.random.choice(FINALS)}")
        return course

    def is_over(self) -> bool:
        return all(transfer["status"] != "queued" for transfer in self.sandbox.transfers())

    def gather(self) -> None:
        """Collect what the sources say; half of it comes twice, a fifth never, all in another order."""
        for entry in self.sandbox.room_messages():
            self.add(lambda message=entry["message"]: self.hear(message))
        for call_id, status in ((call, self.truth_of(call)["status"]) for call in self.transfers):
            leg = {"conversation_uuid": f"conversation-{call_id}", "leg": "a", "cmiuuid": call_id}
            self.add(
                lambda leg=leg: self.matcher.take(json.dumps({**leg, "status": "out_answered"}).encode())
            )
            word = "out_bridged" if status == "completed" else "missed"
            body = {**leg, "leg": "b", "to": int(NUMBER), "status": word}
            self.add_webhook(body)
            self.add_webhook({**body, "to": 12025550198, "status": "missed"})  # of others' transfer
        for _ in range(2 * CALLS):
            self.steps.append(self.poll)
        self.random.shuffle(self.steps)

    def add(self, step: Callable[[], object]) -> None:
        if self.random.random() < 0.2:
            return
        self.steps += [step] * self.random.choice([1, 2])

    def add_webhook(self, body: dict[str, object]) -> None:
        self.add(lambda: self.matcher.take(json.dumps(body).encode()))

    def hear(self, message: dict[str, str]) -> None:
        report = read_platform_status(message, call_id=message["call_id"])
        assert report is not None
        self.bench.run(self.bench.commands.report_connection(report))

    def poll(self) -> None:
        """Ask for one; a third of those who ask die before they have told, or even asked."""
        for request_id in self.bench.client.zrange(self.bench.keys.polls, 0, -1):
            self.bench.client.zadd(self.bench.keys.polls, {request_id: 1})
        self.bench.client.hdel(self.bench.keys.poll_notes, "*next_ms")
        if self.random.random() < 0.3:
            self.bench.run(self.bench.commands.take_poll(lease_ms=1, pace_ms=0, max_polls=MAX_POLLS))
            return
        client = StatusClient(token=self.sandbox.token, base_url=self.sandbox.url, timeout_seconds=30)
        StatusPoller(self.bench.ledger, client, log=Silence()).poll_once()
        client.close()

    def has_another(self, call_id: str) -> bool:
        said = {entry["message"]["request_id"] for entry in self.sandbox.room_messages(call_id)}
        return bool(said - {self.truth_of(call_id)["request_id"]})

    def truth_of(self, call_id: str) -> dict[str, str]:
        (transfer,) = self.sandbox.transfers(call_id)
        return transfer


def random_id(source: random.Random) -> str:
    return f"{source.getrandbits(32):08x}-0000-4000-8000-{source.getrandbits(48):012x}"


@pytest.mark.parametrize("seed", range(3))
def test_one_true_verdict_each_and_nothing_sent(redis_url, seed):
    with connect(redis_url, timeout_seconds=30) as client, SandboxServer() as sandbox:
        play = Play(LedgerBench(client), sandbox, seed)
        play.begin()
        wait_until(play.is_over)
        play.gather()
        for step in play.steps:
            step()
        verdicts = 0
        for call_id, transfer_id in play.transfers.items():
            record, truth = play.bench.ledger.read(transfer_id), play.truth_of(call_id)
            found = record.connection
            if found is None or not found.status.is_final:
                continue
            verdicts += 1
            assert record.state is State.SUBMITTED
            # A record without a request id takes the first one that is said of its call: it may be another's.
            if call_id in play.named or not play.has_another(call_id):
                is_connected = found.status is ConnectionStatus.CONNECTED
                assert is_connected == (truth["status"] == "completed"), call_id
        assert verdicts > CALLS / 2
        finals = [
            line["transfer_id"]
            for line in play.bench.audit()
            if line["event"] in {"transfer.connected", "transfer.not_connected"}
        ]
        assert len(finals) == len(set(finals)) == verdicts
        assert sandbox.post_count() == 0
        assert max(sandbox.controls.count_asked().values()) <= MAX_POLLS
        assert keys_without_ttl(client) == []
