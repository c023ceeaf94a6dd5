"""In the place of a model's address: answers that stream as OpenAI's do, from a script."""

from __future__ import annotations

import json
import time
import uuid
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from aiohttp import web

if TYPE_CHECKING:
    from collections.abc import Callable


@dataclass(frozen=True)
class Step:
    """One answer of the model: text, or calls of tools."""

    text: str = ""
    calls: tuple[tuple[str, dict[str, Any]], ...] = ()


def say(text: str) -> Step:
    return Step(text=text)


def transfer(*destinations: str, reason: str = "the caller asked") -> Step:
    arguments = ({"destination": destination, "reason": reason} for destination in destinations)
    return Step(calls=tuple(("transfer_call", each) for each in arguments))


def call_tool(name: str, **arguments: Any) -> Step:
    return Step(calls=((name, arguments),))


@dataclass
class Wits:
    """In the place of the model's: answers from a script, then with small talk. Keeps what it was asked."""

    script: list[Step]
    requests: list[dict[str, Any]] = field(default_factory=list)
    answered_at: list[float] = field(default_factory=list)
    tool_calls_at: list[float] = field(default_factory=list)
    clock: Callable[[], float] = time.time

    def think(self, request: dict[str, Any]) -> Step:
        self.requests.append(request)
        step = self.script.pop(0) if self.script else say("Anything else?")
        (self.tool_calls_at if step.calls else self.answered_at).append(self.clock())
        return step

    @property
    def tools_offered(self) -> dict[str, dict[str, Any]]:
        """The tools in the last request, by name."""
        return {tool["function"]["name"]: tool["function"] for tool in self.requests[-1].get("tools", [])}

    def tool_results(self) -> list[dict[str, Any]]:
        """What the model was told by tools, as far as it is JSON, in the last request."""
        found = []
        for message in self.requests[-1]["messages"]:
            if message["role"] == "tool":
                with suppress(ValueError):
                    found.append(json.loads(message["content"]))
        return found


async def stream_answer(request: web.Request, step: Step) -> web.StreamResponse:
    """Answer one request for a completion."""
    response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
    await response.prepare(request)
    deltas: list[dict[str, Any]] = [{"content": step.text}] if step.text else []
    for index, (name, arguments) in enumerate(step.calls):
        function = {"name": name, "arguments": json.dumps(arguments)}
        tool_call = {"index": index, "id": f"call_{uuid.uuid4().hex[:8]}", "type": "function"}
        deltas.append({"tool_calls": [{**tool_call, "function": function}]})
    reasons = [None] * len(deltas) + ["tool_calls" if step.calls else "stop"]
    for delta, finish_reason in zip([*deltas, {}], reasons, strict=True):
        choice = {"index": 0, "delta": delta, "finish_reason": finish_reason}
        chunk = {"id": "x", "object": "chat.completion.chunk", "created": 1, "model": "m"}
        await response.write(f"data: {json.dumps({**chunk, 'choices': [choice]})}\n\n".encode())
    await response.write(b"data: [DONE]\n\n")
    return response
