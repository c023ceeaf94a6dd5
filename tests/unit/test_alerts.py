"""The alert rules fire when they must and not otherwise; rules and dashboard ask for what is really exported.

Two judges read the same file of cases, monitoring/alerts_test.yml: our small evaluator always, and promtool
where it is installed.
"""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import promql_parser as promql
import pytest
import yaml
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import generate_latest
from prometheus_client.parser import text_string_to_metric_families

from support.ledger_bench import LedgerBench
from support.promql import Evaluator, Series, is_firing, read_seconds
from transfer_tasks.redis.connection import connect
from transfer_worker.monitoring.metrics import LedgerCollector

MONITORING = Path(__file__).parents[2] / "monitoring"
RULES = {
    rule["alert"]: rule
    for group in yaml.safe_load((MONITORING / "alerts.yml").read_text())["groups"]
    for rule in group["rules"]
}
CASES = yaml.safe_load((MONITORING / "alerts_test.yml").read_text())
DASHBOARD = json.loads((MONITORING / "grafana" / "call-transfer.json").read_text())
QUERIES = [target["expr"] for panel in DASHBOARD["panels"] for target in panel["targets"]]
PROMTOOL = shutil.which("promtool")


def checks():
    for case in CASES["tests"]:
        series = [Series.read(line["series"], str(line["values"])) for line in case["input_series"]]
        for check in case["alert_rule_test"]:
            yield pytest.param(series, check, id=f"{check['alertname']}-{check['eval_time']}")


@pytest.mark.parametrize(("series", "check"), list(checks()))
def test_an_alert_fires_when_it_must_and_not_otherwise(series, check):
    rule = RULES[check["alertname"]]
    expected = (
        [{"exp_labels": rule["labels"], "exp_annotations": rule["annotations"]}]
        if is_firing(rule, series, read_seconds(check["eval_time"]))
        else []
    )
    assert check["exp_alerts"] == expected


def test_every_alert_is_seen_to_fire_and_to_be_silent():
    seen = {
        (check["alertname"], bool(check["exp_alerts"]))
        for case in CASES["tests"]
        for check in case["alert_rule_test"]
    }
    assert seen == {(name, fires) for name in RULES for fires in (True, False)}


@pytest.mark.skipif(PROMTOOL is None, reason="no promtool here; the evaluator has judged")
@pytest.mark.parametrize(
    "arguments",
    [["test", "rules", "alerts_test.yml"], ["check", "config", "prometheus.yml"]],
    ids=["rules", "config"],
)
def test_promtool_says_the_same(arguments):
    judged = subprocess.run(
        [PROMTOOL, *arguments], cwd=MONITORING, capture_output=True, text=True, timeout=60, check=False
    )
    assert judged.returncode == 0, judged.stdout + judged.stderr


@pytest.mark.parametrize(
    ("values", "at", "expected"),
    [("0+1x10", 5, 5.0), ("0+1x3 0+1x3", 7, 6.0), ("7x10", 5, 0.0), ("5 8 2", 2, 5.0)],
)
def test_the_evaluator_counts_an_increase_over_restarts(values, at, expected):
    evaluator = Evaluator([Series.read("c_total", values)])
    assert evaluator.evaluate(promql.parse("increase(c_total[1m])"), at) == {(): expected}


# --- what is asked for is there


@pytest.fixture(scope="module")
def exported(redis_server):
    """The labels of every sample that /metrics has, by name, from a house in which something happened."""
    with connect(redis_server.url, timeout_seconds=5) as client:
        client.flushall()
        bench = LedgerBench(client)
        bench.beat()
        claim = bench.claim(bench.accept().transfer_id)
        bench.begin(claim)
        bench.end(claim)
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
