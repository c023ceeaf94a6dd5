"""The metrics, summed over their labels."""

from __future__ import annotations

from benchmarks.stage.scraper import sum_metrics

TEXT = """\
# HELP transfer_waiting Transfers that no worker has claimed yet.
# TYPE transfer_waiting gauge
transfer_waiting 3.0
transfer_outcomes_total{reason="accepted_by_platform",state="submitted"} 40.0
transfer_outcomes_total{reason="not {one}",state="failed"} 2.0
transfer_submit_to_post_seconds_bucket{le="+Inf"} 42.0
transfer_heartbeat_age_seconds +Inf
"""


def test_each_metric_is_summed_over_its_labels():
    assert sum_metrics(TEXT) == {
        "transfer_waiting": 3.0,
        "transfer_outcomes_total": 42.0,
        "transfer_submit_to_post_seconds_bucket": 42.0,
        "transfer_heartbeat_age_seconds": float("inf"),
    }
