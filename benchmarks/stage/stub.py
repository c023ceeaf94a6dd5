"""The platform's stub: as fast as can be, in a process of its own; notes when each POST was whole.

POST …                answered with {"message": "queued"} after the delay
GET  /delay/<ms>      sets the delay
GET  /count           how many POSTs since the last /take
GET  /take            {call_id: [CLOCK_MONOTONIC in ns, …]}, and forgets them
"""

import asyncio
import json
import re
import socket
import sys
import time

_LENGTH = re.compile(rb"content-length:\s*(\d+)", re.IGNORECASE)
_CALL_ID = re.compile(rb'"call_id":\s*"([^"]+)"')


def _answer(body: bytes) -> bytes:
    head = f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


_QUEUED = _answer(b'{"message": "queued"}')


class Platform:
    def __init__(self) -> None:
        self.delay_seconds = 0.0
        self.seen: dict[str, list[int]] = {}
        self.count = 0


class _Connection(asyncio.Protocol):
    def __init__(self, platform: Platform) -> None:
        self.platform, self.received = platform, b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport
        transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def data_received(self, data: bytes) -> None:
        now = time.monotonic_ns()
        self.received += data
        head, end, body = self.received.partition(b"\r\n\r\n")
        if not end:
            return
        length = _LENGTH.search(head)
        if length and len(body) < int(length[1]):
            return
        self.received = b""
        if head.startswith(b"POST"):
            self._note_post(body, now)
        else:
            self.transport.write(_answer(self._control(head.split()[1].decode())))

    def _note_post(self, body: bytes, now: int) -> None:
        platform = self.platform
        found = _CALL_ID.search(body)
        platform.seen.setdefault(found[1].decode() if found else "?", []).append(now)
        platform.count += 1
        if platform.delay_seconds:
            asyncio.get_running_loop().call_later(platform.delay_seconds, self._answer)
        else:
            self.transport.write(_QUEUED)

    def _answer(self) -> None:
        if not self.transport.is_closing():
            self.transport.write(_QUEUED)

    def _control(self, path: str) -> bytes:
        platform = self.platform
        if path == "/count":
            return str(platform.count).encode()
        if path == "/take":
            taken, platform.seen, platform.count = platform.seen, {}, 0
            return json.dumps(taken).encode()
        platform.delay_seconds = int(path.removeprefix("/delay/")) / 1000
        return b"{}"


async def _main() -> None:
    platform = Platform()
    server = await asyncio.get_running_loop().create_server(
        lambda: _Connection(platform), "127.0.0.1", 0, backlog=256
    )
    print(server.sockets[0].getsockname()[1], flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    server.close()


if __name__ == "__main__":
    asyncio.run(_main())
