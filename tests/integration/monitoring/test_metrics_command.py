"""`call-transfer metrics` as Prometheus and an engineer meet it."""

from __future__ import annotations

import signal
import socket
import sys

import pytest

from support import urlopen_directly

COMMAND = [sys.executable, "-m", "transfer_worker", "metrics"]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_serves_what_the_ledger_counted_until_it_is_told_to_stop(spawn, redis_url, number):
    server = spawn([*COMMAND, "--port", "0"], env={"TRANSFER_REDIS_URL": redis_url}, name="metrics")
    url = server.wait_for_output(r"^http://127\.0\.0\.1:\d+/metrics$")[0]

    with urlopen_directly(url, timeout=5) as answer:
        assert answer.headers["Content-Type"].startswith("text/plain")
        assert "transfer_ledger_up 1.0" in answer.read().decode()
    server.send_signal(number)

    assert server.wait() == 0
    assert "Traceback" not in server.output()


def test_under_nohup_it_outlives_the_terminal(spawn, redis_url):
    server = spawn(["nohup", *COMMAND, "--port", "0"], env={"TRANSFER_REDIS_URL": redis_url}, name="metrics")
    url = server.wait_for_output(r"^http://127\.0\.0\.1:\d+/metrics$")[0]

    server.send_signal(signal.SIGHUP)

    with urlopen_directly(url, timeout=5) as answer:
        assert answer.status == 200
    server.send_signal(signal.SIGTERM)
    assert server.wait() == 0


def test_it_starts_and_says_so_while_redis_is_away(spawn):
    server = spawn([*COMMAND, "--port", "0"], env={"TRANSFER_REDIS_URL": "redis://127.0.0.1:1/0"})
    url = server.wait_for_output(r"^http://127\.0\.0\.1:\d+/metrics$")[0]

    with urlopen_directly(url, timeout=5) as answer:
        assert "transfer_ledger_up 0.0" in answer.read().decode()


def test_a_port_that_is_taken_is_exit_code_1_in_one_line(spawn, redis_url):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        server = spawn([*COMMAND, "--port", port], env={"TRANSFER_REDIS_URL": redis_url})
        assert server.wait() == 1
    assert server.output().startswith("call-transfer: --host/--port: ")
    assert len(server.output().splitlines()) == 1
