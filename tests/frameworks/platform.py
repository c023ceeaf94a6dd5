"""The far ends of an agent's process on 127.0.0.1: TeleCMI's register over gRPC, and the model's address."""

from __future__ import annotations

import asyncio
import json
import time
import uuid
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Self

import grpc
from aiohttp import web
from piopiy_agent._pb import agent_pb2, agent_pb2_grpc

from voice.model import Step, Wits, stream_answer

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

ACCEPT_WITHIN_MS = 60_000
"""The platform's is 400; a test that waits for words need not fail for a busy machine."""


@dataclass
class Caller:
    """One call as its caller lives through it.

    Attributes:
        heard: What the agent said, each sentence with its time.
        is_accepted: The agent has taken the call, so its caller is let in.
        is_over: The agent's process is done with the call.
    """

    call_id: str
    heard: list[tuple[float, str]] = field(default_factory=list)
    is_accepted: asyncio.Event = field(default_factory=asyncio.Event)
    is_over: asyncio.Event = field(default_factory=asyncio.Event)

    def hear(self, text: str) -> None:
        self.heard.append((time.time(), text.strip()))

    async def hears(self, words: str, within_seconds: float = 60) -> float:
        """Wait until these words are heard; return when."""
        deadline = time.monotonic() + within_seconds
        while not (found := [at for at, text in self.heard if words in text]):
            assert time.monotonic() < deadline, f"{words!r} was not heard, but {self.heard}"
            await asyncio.sleep(0.01)
        return found[0]


def room_message(caller: Caller, status: str, **more: str) -> bytes:
    """Return what the platform says in the room of a call's only transfer."""
    said = {"type": "transfer_status", "status": status, "request_id": f"of-{caller.call_id}"}
    return json.dumps({**said, "call_id": caller.call_id, **more}).encode()


class Platform(agent_pb2_grpc.AgentGatewayServicer):
    """Offers calls to the one worker that registers, and answers as its model from a script.

    Attributes:
        origin: Where the model is.
        register: Where the worker registers.
    """

    def __init__(self) -> None:
        self.wits = Wits([])
        self.callers: dict[str, Caller] = {}
        self._to_worker: asyncio.Queue[Any] = asyncio.Queue()

    async def __aenter__(self) -> Self:
        app = web.Application()
        app.router.add_post("/v1/chat/completions", self._think)
        self._runner = web.AppRunner(app, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        self.origin = f"http://127.0.0.1:{site._server.sockets[0].getsockname()[1]}"
        self._server = grpc.aio.server()
        agent_pb2_grpc.add_AgentGatewayServicer_to_server(self, self._server)
        self.register = f"127.0.0.1:{self._server.add_insecure_port('127.0.0.1:0')}"
        await self._server.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._server.stop(grace=0)
        await self._runner.cleanup()

    async def ring(self, *script: Step, call_id: str | None = None) -> Caller:
        """Offer a call, whose model will answer by the script; return when the agent has taken it."""
        caller = Caller(call_id or str(uuid.uuid4()))
        self.wits.script[:] = script
        self.callers[caller.call_id] = caller
        job = agent_pb2.JobAssignment(
            job_id=caller.call_id,
            room_name=f"room-{caller.call_id}",
            livekit_url="ws://nowhere",
            access_token="a-token",
            accept_deadline_ms=ACCEPT_WITHIN_MS,
        )
        job.call.call_uuid, job.call.direction = caller.call_id, "inbound"
        await self._to_worker.put(agent_pb2.DispatcherMessage(job=job))
        async with asyncio.timeout(60):
            await caller.is_accepted.wait()
        return caller

    async def Connect(self, told: AsyncIterator[Any], context: Any) -> AsyncIterator[Any]:  # noqa: N802 - gRPC's name
        """Hold the stream of one worker."""
        assert dict(context.invocation_metadata())["authorization"] == "Bearer agent-token"
        listening = asyncio.create_task(self._listen(told))
        try:
            yield agent_pb2.DispatcherMessage(
                registered=agent_pb2.Registered(accept_deadline_ms=ACCEPT_WITHIN_MS)
            )
            while True:
                yield await self._to_worker.get()
        finally:
            listening.cancel()

    async def _listen(self, told: AsyncIterator[Any]) -> None:
        async for message in told:
            kind = message.WhichOneof("payload")
            if kind == "accepted":
                self.callers[message.accepted.job_id].is_accepted.set()
            elif kind in {"completed", "rejected"}:
                self.callers[getattr(message, kind).job_id].is_over.set()

    async def _think(self, request: web.Request) -> web.StreamResponse:
        return await stream_answer(request, self.wits.think(await request.json()))
