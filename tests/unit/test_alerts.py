"""Rules and dashboard ask for what is really exported, and every alert has its cases.

That an alert fires when it must and not otherwise is for promtool to say: the stage `alerts`.
"""

from __future__ import annotations

import json
import re
from pathlib import Path

import promql_parser as promql
import pytest
import yaml
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import generate_latest
from prometheus_client.parser import text_string_to_metric_families

from support.ledger_bench import LedgerBench
from transfer_tasks.redis.connection import connect
from transfer_worker.monitoring.metrics import LedgerCollector

RUNBOOK = Path(__file__).parents[2] / "docs" / "on-call.md"
MONITORING = Path(__file__).parents[2] / "monitoring"
RULES = {
    rule["alert"]: rule
    for group in yaml.safe_load((MONITORING / "alerts.yml").read_text())["groups"]
    for rule in group["rules"]
}
CASES = yaml.safe_load((MONITORING / "alerts_test.yml").read_text())
DASHBOARD = json.loads((MONITORING / "grafana" / "call-transfer.json").read_text())
QUERIES = [target["expr"] for panel in DASHBOARD["panels"] for target in panel["targets"]]


def test_every_alert_is_seen_to_fire_and_to_be_silent():
    seen = {
        (check["alertname"], bool(check["exp_alerts"]))
        for case in CASES["tests"]
        for check in case["alert_rule_test"]
    }
    assert seen == {(name, fires) for name in RULES for fires in (True, False)}


def test_every_alert_names_its_section_of_the_runbook_and_the_section_names_it():
    found = re.findall(r"^## (.+?)\n(.*?)(?=^## |\Z)", RUNBOOK.read_text(), re.MULTILINE | re.DOTALL)
    sections = {re.sub(r"[^\w -]", "", head.lower()).replace(" ", "-"): text for head, text in found}
    for name, rule in RULES.items():
        page, _, anchor = rule["annotations"]["runbook"].partition("#")
        assert page == "docs/on-call.md"
        assert f"`{name}`" in sections[anchor], name


# --- what is asked for is there


@pytest.fixture(scope="module")
def exported(redis_server):
    """The labels of every sample that /metrics has, by name, from a cluster in which something happened."""
    with connect(redis_server.url, timeout_seconds=30) as client:
        client.flushall()
        bench = LedgerBench(client)
        about = json.dumps({"restarts": 0, "up_seconds": 1})
        bench.run(bench.commands.heartbeat(worker="w1", lease_ms=60_000, about_json=about, queue=bench.queue))
        bench.client.hset(bench.keys.paused, "billing", "{}")
        claim = bench.claim(bench.accept().transfer_id)
        bench.begin(claim)
        bench.end(claim)
        bench.report("connected", transfer_id=claim.transfer_id)
        registry = CollectorRegistry()
        registry.register(LedgerCollector(bench.ledger))
        return {
            sample.name: set(sample.labels)
            for family in text_string_to_metric_families(generate_latest(registry).decode())
            for sample in family.samples
        }


def find_asked(expression):
    """Return what an expression asks for: names, each with labels that are used of it."""
    asked = []

    def visit(node):
        if isinstance(node, promql.VectorSelector):
            asked.append((node.name, {matcher.name for matcher in node.matchers.matchers}))
        if isinstance(node, promql.AggregateExpr) and node.modifier:
            asked.extend((name, set(node.modifier.labels)) for name, _ in find_asked(node.expr))

    promql.walk(expression, visit)
    return asked


@pytest.mark.parametrize("expression", [*(rule["expr"] for rule in RULES.values()), *QUERIES])
def test_rules_and_dashboard_ask_for_what_is_exported(exported, expression):
    asked = find_asked(promql.parse(expression.replace("$__rate_interval", "1m")))
    assert asked
    for name, labels in asked:
        assert labels <= exported[name], name


def test_whatever_is_exported_is_looked_at(exported):
    looked_at = " ".join([*QUERIES, *(rule["expr"] for rule in RULES.values())])
    assert [name for name in exported if name not in looked_at and not name.endswith("_count")] == []


def test_a_dashboard_shows_labels_that_its_queries_keep():
    for panel in DASHBOARD["panels"]:
        for target in panel["targets"]:
            for label in target["legendFormat"].split("{{")[1:]:
                assert label.split("}}")[0] in target["expr"], panel["title"]


def test_the_panels_lie_side_by_side_and_know_their_source():
    cells = set()
    for panel in DASHBOARD["panels"]:
        place = panel["gridPos"]
        own = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not own & cells, panel["title"]
        assert place["x"] + place["w"] <= 24
        assert panel["datasource"]["uid"] == source()["uid"]
        cells |= own
    assert len({panel["id"] for panel in DASHBOARD["panels"]}) == len(DASHBOARD["panels"])


def source():
    (found,) = yaml.safe_load((MONITORING / "grafana" / "datasources.yml").read_text())["datasources"]
    return found
