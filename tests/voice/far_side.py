"""Redis and the sandbox, in the worker's environment. The voice tests start this with the worker's Python.

Prints one JSON line with the addresses, then obeys lines on stdin (``kill``, ``restart``, ``pause`` or
``resume`` Redis) and answers each with ``done``. Ends when stdin does.
"""

from __future__ import annotations

import json
import sys

from transfer_worker.local.embedded_redis import EmbeddedRedis
from transfer_worker.sandbox import SandboxServer


def main() -> None:
    with EmbeddedRedis() as redis_server, SandboxServer() as sandbox:
        addresses = {"redis_url": redis_server.url, "origin": sandbox.origin, "token": sandbox.token}
        print(json.dumps(addresses), flush=True)
        for line in sys.stdin:
            getattr(redis_server, line.strip())()
            print("done", flush=True)


if __name__ == "__main__":
    main()
