"""Transfers that ring and end, and three sources that tell of it as badly as sources can.

::

    sandbox ─┬─ what is said in the room ── late, twice, in another order, never, contradicted ──▶ a publisher
             ├─ webhooks ── to a receiver that is killed again and again
             └─ GET /v3/transfers/… ── to the workers, which are killed as well

Courses tell of other transfers of the call, too. What truly happened is the sandbox's own list.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import random
import sys
import threading
import uuid
from typing import TYPE_CHECKING, Final

from chaos.history import Course
from support.ports import pick_free_port
from transfer_tasks.connection import ReportVerdict
from transfer_tasks.errors import LedgerUnavailable, PublishOutcomeUnknown, PublishUnavailable
from transfer_tasks.intent import TransferIntent
from transfer_tasks.publisher import AsyncTransferPublisher
from transfer_tasks.settings import PublisherSettings
from transfer_tasks.voice.room import read_platform_status
from transfer_worker.sandbox import DEFAULT_TOKEN

if TYPE_CHECKING:
    from chaos.cluster import Cluster
    from support import SpawnedProcess
    from transfer_tasks.connection import ConnectionReport

NUMBER: Final = "12025550143"
FINALS: Final = ("connected", "connected", "busy", "no_answer", "rejected", "no_answer_and_call_ended")
SECRET: Final = "a-secret-of-the-chaos-run"
LOOK_SECONDS: Final = 0.2
LATEST_SECONDS: Final = 2.0
"""How long what was said in the room is under way at most."""

HEARD_IN_ROOM: Final = 0.5
"""How much of what is said in the room arrives."""

NAMES_REQUEST: Final = 0.6
"""How many answers name their request, so that the platform can be asked; the mix befalls the others."""

LAST_WORDS_SECONDS: Final = 12.0
"""How long after the last request the last course and the last word may take."""

RECEIVER_LIVES_SECONDS: Final = (2.0, 6.0)


class Connections:
    """Such transfers, and the room and the receiver of webhooks; on a thread with an event loop of its own.

    Args:
        cluster: Who is asked.
        publisher: Whose line to Redis requests and reports take.
        seed: Where every decision comes from.
        per_second: New transfers a second; none at 0.
        seconds: How long new ones begin.
    """

    def __init__(
        self, cluster: Cluster, publisher: str, *, seed: int, per_second: float, seconds: float
    ) -> None:
        self._cluster, self._seed = cluster, seed
        self._redis_url = cluster.redis_url_of(publisher)
        self._per_second, self._seconds = per_second, seconds
        self._chance = random.Random(f"{seed}/connections")
        self._told: dict[str, set[ReportVerdict]] = {}
        self._calls: dict[str, list[str]] = {}
        self._receiver: SpawnedProcess | None = None
        self._port = pick_free_port()
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._run_thread, name="connections", daemon=True)
        self._error: BaseException | None = None

    def start(self) -> None:
        """Begin, once the receiver listens."""
        if not self._per_second:
            return
        self._start_receiver().wait_for_output(r"http://\S+")
        url = f"http://127.0.0.1:{self._port}/webhooks/{SECRET}"
        self._cluster.ask_sandbox("webhooks", {"url": url, "direction": "outbound"})
        self._thread.start()

    def stop(self) -> None:
        """Begin no more of them."""
        self._ending.set()

    def end(self) -> None:
        """Leave no process behind."""
        if self._receiver is not None:
            self._receiver.kill_group()

    def collect(self) -> list[Course]:
        """Wait for the last words; return what became of each call's transfer, and what was told of it."""
        if not self._per_second:
            return []
        self._thread.join(60)
        if self._thread.is_alive():
            raise AssertionError("connections are still told of 60 s after the load's end")
        if self._error is not None:
            raise self._error
        seen = self._cluster.ask_sandbox("transfers")
        truth = {one["call_id"]: one for one in seen["transfers"]}
        return [
            Course(
                call_id=call_id,
                request_id=truth.get(call_id, {}).get("request_id", ""),
                status=truth.get(call_id, {}).get("status", ""),
                has_another=any(step.startswith("other-") for step in steps),
                asked=seen["asked"].get(truth.get(call_id, {}).get("request_id", ""), 0),
                told=frozenset(verdict.value for verdict in self._told.get(call_id, ())),
            )
            for call_id, steps in self._calls.items()
        ]

    def _run_thread(self) -> None:
        try:
            asyncio.run(self._run())
        except BaseException as error:  # noqa: BLE001 - raised again by `collect`, where somebody sees it
            self._error = error

    async def _run(self) -> None:
        async with AsyncTransferPublisher(PublisherSettings(redis_url=self._redis_url)) as publisher:
            passing_on = asyncio.create_task(self._pass_on(publisher))
            killing = asyncio.create_task(self._kill_receivers())
            loop = asyncio.get_running_loop()
            started = loop.time()
            for number in itertools.count():
                at = started + number / self._per_second
                if self._ending.is_set() or at - started > self._seconds:
                    break
                await asyncio.sleep(at - loop.time())
                await self._ask(publisher)
            await asyncio.sleep(LAST_WORDS_SECONDS)
            for task in (killing, passing_on):
                task.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await task

    async def _ask(self, publisher: AsyncTransferPublisher) -> None:
        call_id = str(uuid.UUID(int=self._chance.getrandbits(128), version=4))
        self._calls[call_id] = course = self._make_course()
        await asyncio.to_thread(self._cluster.ask_sandbox, f"courses/{call_id}", course)
        if self._chance.random() < NAMES_REQUEST:
            await asyncio.to_thread(self._cluster.ask_sandbox, f"behaviours/{call_id}", ["tracked"])
        intent = TransferIntent(call_id=call_id, destination=f"+{NUMBER}", expires_in_seconds=6)
        with contextlib.suppress(PublishUnavailable, PublishOutcomeUnknown):  # the ledger knows better
            await publisher.submit(intent)

    def _make_course(self) -> list[str]:
        def way() -> str:
            return self._chance.choice(["", "", "-lost", "-doubled"])

        course = [
            f"ringing{way()}:0.1",
            f"{self._chance.choice(FINALS)}{way()}:{self._chance.choice((0, 1))}",
        ]
        if self._chance.random() < 0.2:
            course.insert(0, f"other-{self._chance.choice(FINALS)}")
        return course

    async def _pass_on(self, publisher: AsyncTransferPublisher) -> None:
        """Take what is said in the rooms to the ledger, as unreliably as it gets."""
        since, words = 0, asyncio.TaskGroup()
        async with words:
            while True:
                said = await asyncio.to_thread(self._cluster.ask_sandbox, f"room?since={since}")
                for entry in said["messages"]:
                    since = max(since, entry["sequence"])
                    if entry["message"]["call_id"] in self._calls and self._chance.random() < HEARD_IN_ROOM:
                        for _ in range(self._chance.choice((1, 1, 2))):
                            words.create_task(self._tell(publisher, entry["message"]))
                await asyncio.sleep(LOOK_SECONDS)

    async def _tell(self, publisher: AsyncTransferPublisher, message: dict[str, str]) -> None:
        await asyncio.sleep(self._chance.uniform(0, LATEST_SECONDS))
        if await self._report(publisher, message) and self._chance.random() < 0.3:
            other = {"status": "failed", "reason": "busy"}
            if message["status"] == "failed":
                other = {"status": "completed"}
            await self._report(publisher, {**message, "reason": "", **other})

    async def _report(self, publisher: AsyncTransferPublisher, message: dict[str, str]) -> bool:
        """Say it; return whether it was a final word of the call's own transfer, and is on record."""
        report = read_platform_status(message, call_id=message["call_id"])
        assert report is not None
        try:
            result = await publisher.report_connection(report)
        except LedgerUnavailable:
            return False
        if not _is_final(report):
            return False
        self._told.setdefault(message["call_id"], set()).add(result.verdict)
        return result.verdict in {ReportVerdict.MATCHED, ReportVerdict.REPEATED}

    async def _kill_receivers(self) -> None:
        while True:
            await asyncio.sleep(self._chance.uniform(*RECEIVER_LIVES_SECONDS))
            self.end()
            self._start_receiver()

    def _start_receiver(self) -> SpawnedProcess:
        self._receiver = self._cluster.spawn(
            [sys.executable, "-m", "transfer_worker", "webhooks", "--port", str(self._port)],
            env={
                "TRANSFER_REDIS_URL": self._redis_url,
                "PIOPIY_TOKEN": DEFAULT_TOKEN,
                "TRANSFER_WEBHOOK_SECRET": SECRET,
                "TRANSFER_WEBHOOK_RATE": "1000",
            },
            name="webhooks",
        )
        self._cluster.watch(self._receiver.pid)
        return self._receiver


def _is_final(report: ConnectionReport) -> bool:
    return report.status is not None and report.status.is_final
