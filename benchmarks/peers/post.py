"""The work: one POST through the vendor's client, one client a thread, its connection kept alive."""

import os
import threading

from piopiy_voice import RestClient

TOKEN = "benchmark-token"
PIPELINE = [
    {
        "action": "connect",
        "params": {"caller_id": "12025550199"},
        "endpoints": [{"type": "pstn", "number": "12025550100"}],
    }
]
REDIS_URL = os.environ.get("BENCH_REDIS_URL", "redis://127.0.0.1:6379/0")
CONCURRENCY = int(os.environ.get("BENCH_CONCURRENCY", "8"))

_of_thread = threading.local()


def post(call_id: str) -> None:
    client = getattr(_of_thread, "client", None)
    if client is None:
        client = _of_thread.client = RestClient(TOKEN, os.environ["BENCH_API_URL"], 10, max_retries=0)
    client.voice.transfer(call_id, PIPELINE)
