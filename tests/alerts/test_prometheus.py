"""A real Prometheus with the real rules, metrics and ledger: each alert is provoked, fires, and clears, once.

What waits for hours is made shorter: the spans of the rules are scaled down, and what has to be old is dated
back in Redis. That the spans themselves are right is for promtool to say: `monitoring/alerts_test.yml`.
"""

from __future__ import annotations

import json
import re
import sys
import threading
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from support import urlopen_directly, wait_until
from support.ledger_bench import LedgerBench, move_twice
from support.ports import pick_free_port
from transfer_tasks.connection import ConnectionReason
from transfer_tasks.ledger.ledger import Ledger
from transfer_tasks.ledger.operator_commands import OperatorCommands
from transfer_tasks.outcome import Reason, State
from transfer_tasks.redis.connection import connect
from transfer_worker.local.embedded_redis import EmbeddedRedis
from transfer_worker.monitoring.connections import SOURCES
from transfer_worker.monitoring.metrics import MetricsServer
from transfer_worker.operations.lookup import read_clock_ms

if TYPE_CHECKING:
    from collections.abc import Iterator

MONITORING = Path(__file__).parents[2] / "monitoring"
PROMETHEUS = Path(sys.executable).with_name("prometheus")
RULES = MONITORING / "alerts.yml"
ALERTS = {rule["alert"] for group in yaml.safe_load(RULES.read_text())["groups"] for rule in group["rules"]}
ALONE = {"NoWorker", "NothingIsSeen"}
"""Where one of these fires, others can't: nobody works, or nothing is seen."""
SECONDS = 120
MANY_LINES = 10_000


class Cluster:
    """A ledger, three workers that only beat, and the server of the metrics."""

    def __init__(self, url: str, port: int) -> None:
        self.client = connect(url, timeout_seconds=30)
        self.bench = LedgerBench(self.client)
        self.keys = self.bench.keys
        # Not `w1`, in whose name the bench acts: it dies in between.
        self.about: dict[str, dict[str, Any]] = {
            name: {"version": "1", "registry": "a", "settings": {"X": "1"}, "restarts": 0, "up_seconds": 900}
            for name in ("one", "two", "three")
        }
        self.are_working, self._stop = True, threading.Event()
        self._ledger, self._port, self._server = (
            Ledger(self.client, retention_seconds=10_000),
            port,
            ExitStack(),
        )
        self._beats = threading.Thread(target=self._beat, daemon=True)

    def __enter__(self) -> Cluster:
        self._beats.start()
        self.serve()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._beats.join()
        self.stop_serving()
        self.client.close()

    def serve(self) -> None:
        self._server.enter_context(MetricsServer(self._ledger, port=self._port))

    def stop_serving(self) -> None:
        self._server.close()

    def _beat(self) -> None:
        while not self._stop.wait(0.5):
            for name, about in self.about.items() if self.are_working else ():
                self.bench.run(
                    self.bench.commands.heartbeat(
                        worker=name, lease_ms=60_000, about_json=json.dumps(about), queue=self.bench.queue
                    )
                )

    def end(self, state: State, reason: Reason) -> str:
        """Let a transfer end so; return its id."""
        claim = self.bench.claim(self.bench.accept().transfer_id)
        self.bench.begin(claim)
        self.bench.end(claim, state, reason)
        return str(claim.transfer_id)

    def date_back(self, index: str, transfer_id: str, seconds: int) -> None:
        self.client.zadd(index, {transfer_id: read_clock_ms(self._ledger) - seconds * 1000})

    def count(self, field: str, by: int = 1) -> None:
        self.client.hincrby(self.keys.statistics, field, by)

    def provoke(self) -> None:
        """Let everything happen that an alert is about, besides those that stand alone."""
        now_ms = read_clock_ms(self._ledger)
        self.waiting = self.bench.accept().transfer_id
        self.date_back(self.keys.open_ids, self.waiting, 60)
        self.unknown = [self.end(State.UNKNOWN, Reason.ANSWER_LOST) for _ in range(2)]
        for transfer_id, seconds in zip(self.unknown, (120, 1200), strict=True):
            self.date_back(self.keys.unknown, transfer_id, seconds)
        self.end(State.FAILED, Reason.PLATFORM_UNREACHABLE)
        self.twice = self.bench.record(move_twice(self.bench)[0]).call_id
        self.bench.refuse("20000000-0000-4000-8000-000000000001", reason=Reason.SIGNATURE_INVALID)
        for field in ("limited|call", "limited|destination", "audit_lines_lost"):
            self.count(field)
        self.count(f"connection|not_connected|{next(iter(ConnectionReason))}|support", by=20)
        self.client.hset(self.keys.heard, SOURCES[0], f"{now_ms} 0")
        self.count(f"attempt|{Reason.ACCEPTED_BY_PLATFORM}", by=30)
        self.client.hset(self.keys.paused, "billing", json.dumps({"at_ms": now_ms - 3_600_000}))
        self.about["one"] |= {"restarts": 3, "up_seconds": 5}
        self.about["three"] |= {"registry": "b", "version": "2"}
        line = dict.fromkeys(("transfer_id", "call_id", "key", "hop"), "") | {
            "event": "x", "at_ms": now_ms, "attempt": 0, "labels": "{}", "data": "{}"
        }  # fmt: skip
        self.client.delete(self.keys.audit)
        with self.client.pipeline(transaction=False) as pipe:
            for number in range(MANY_LINES):
                pipe.xadd(self.keys.audit, line, id=f"{now_ms - 60_000}-{number + 1}")
            pipe.execute()
        self.client.hset(self.keys.limits, "call", "junk")
        used = self.client.info("memory")["used_memory"]
        self.client.config_set("maxmemory", round(used / 0.95))

    def settle(self) -> None:
        """Do what ends them."""
        self.client.config_set("maxmemory", 0)
        self.client.hdel(self.keys.limits, "call")
        self.client.delete(self.keys.audit, self.keys.heard)
        self.client.hdel(self.keys.paused, "billing")
        for about in self.about.values():
            about |= {"registry": "b", "version": "2", "restarts": 3, "up_seconds": 900}
        self.bench.cancel(self.waiting)
        for transfer_id in self.unknown:
            self.bench.resolve(transfer_id, transferred=True)
        commands = OperatorCommands(namespace="transfer", retention_seconds=10_000)
        self.bench.run(commands.acknowledge(self.twice, operator="ana", reason="looked"))


@pytest.fixture
def metrics_port() -> int:
    return pick_free_port()


@pytest.fixture
def cluster(metrics_port: int) -> Iterator[Cluster]:
    with EmbeddedRedis() as server, Cluster(server.url, metrics_port) as cluster:
        yield cluster


@pytest.fixture
def firing(spawn, tmp_path: Path, metrics_port: int, cluster: Cluster):
    """Start Prometheus; return a function that tells which alerts fire."""
    assert PROMETHEUS.exists(), "there is no Prometheus: make test-alerts fetches it"
    # Spans of minutes and hours are not what is looked at here; seconds stay.
    rules = re.sub(r"\[\d+[mh]\]", "[15s]", RULES.read_text())
    (tmp_path / "alerts.yml").write_text(re.sub(r"for: \d+m", "for: 3s", rules))
    config = yaml.safe_load((MONITORING / "prometheus.yml").read_text())
    config["scrape_configs"][0]["static_configs"] = [{"targets": [f"127.0.0.1:{metrics_port}"]}]
    # A scrape may take longer on a busy machine; what is missing is not what is looked at.
    config["global"] |= {"scrape_interval": "2s", "scrape_timeout": "2s"}
    (tmp_path / "prometheus.yml").write_text(yaml.safe_dump(config))
    port = pick_free_port()
    options = {
        "config.file": tmp_path / "prometheus.yml",
        "storage.tsdb.path": tmp_path / "data",
        "web.listen-address": f"127.0.0.1:{port}",
    }
    command = [PROMETHEUS, *(f"--{name}={value}" for name, value in options.items())]
    prometheus = spawn(command, env={}, name="prometheus")

    def ask(path: str) -> Any:
        with urlopen_directly(f"http://127.0.0.1:{port}/api/v1/{path}", timeout=30) as answer:
            return json.load(answer)["data"]

    def list_firing() -> set[str]:
        return {
            alert["labels"]["alertname"] for alert in ask("alerts")["alerts"] if alert["state"] == "firing"
        }

    def has_scraped_twice() -> bool:
        try:
            result = ask("query?query=count_over_time(transfer_ledger_up%5B1m%5D)")["result"]
        except OSError:
            return False
        return bool(result) and int(result[0]["value"][1]) >= 3

    wait_until(has_scraped_twice, deadline_seconds=SECONDS, message=prometheus.output)
    return list_firing


def see(firing, wanted, message):
    """Wait until exactly these fire."""
    wait_until(
        lambda: firing() == wanted,
        deadline_seconds=SECONDS,
        message=lambda: f"{message}: missing {wanted - firing()}, besides {firing() - wanted}",
    )


@pytest.mark.timeout(900)
def test_every_alert_fires_when_it_must_and_clears_when_it_is_over(cluster, firing):
    see(firing, set(), "nothing fires while all is well")

    cluster.provoke()
    seen: set[str] = set()

    def have_all_fired() -> bool:
        seen.update(firing())
        return seen >= ALERTS - ALONE

    wait_until(
        have_all_fired,
        deadline_seconds=SECONDS,
        message=lambda: f"not seen: {ALERTS - ALONE - seen}",
    )
    assert seen == ALERTS - ALONE
    cluster.settle()
    see(firing, set(), "everything is settled")

    cluster.are_working = False
    see(firing, {"NoWorker"}, "all workers are gone")
    cluster.are_working = True
    see(firing, set(), "they are back")

    cluster.stop_serving()
    see(firing, {"NothingIsSeen"}, "nobody serves metrics")
    cluster.serve()
    see(firing, set(), "somebody does")
