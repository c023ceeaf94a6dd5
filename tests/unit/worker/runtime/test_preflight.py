from __future__ import annotations

import importlib.metadata
from typing import TYPE_CHECKING, Any

import pytest
import redis

from transfer_worker.runtime import preflight
from transfer_worker.runtime.preflight import Verdict, check_packages, check_redis, check_timing
from transfer_worker.settings import VISIBILITY_TIMEOUT_SECONDS, WorkerSettings

if TYPE_CHECKING:
    from collections.abc import Mapping

HEALTHY: dict[str, Any] = {"redis_version": "7.4.1", "maxmemory_policy": "noeviction", "aof_enabled": 1}


class FakeRedis:
    def __init__(self, info: Mapping[str, Any] | None, *, fsync: str | None = "always") -> None:
        self._info, self._fsync = info, fsync

    def info(self) -> Mapping[str, Any]:
        if self._info is None:
            raise redis.ConnectionError("refused")
        return self._info

    def config_get(self, name: str) -> dict[str, str]:
        if self._fsync is None:
            raise redis.ResponseError("unknown command 'CONFIG'")
        return {name: self._fsync}


def verdicts(**changes: Any) -> dict[str, Verdict]:
    return {found.check: found.verdict for found in check_redis(FakeRedis(HEALTHY | changes))}


def test_a_healthy_redis_passes() -> None:
    assert set(verdicts().values()) == {Verdict.OK}


@pytest.mark.parametrize(
    ("change", "check", "verdict"),
    [
        ({"maxmemory_policy": "allkeys-lru"}, "eviction", Verdict.PROBLEM),
        ({"redis_version": "6.0.16"}, "redis", Verdict.PROBLEM),
        ({"redis_version": "6.2.0"}, "redis", Verdict.OK),
        ({"redis_version": "10.0.1"}, "redis", Verdict.OK),
        ({"aof_enabled": 0}, "persistence", Verdict.WARNING),
    ],
)
def test_each_fault_of_redis_is_found(change: dict[str, Any], check: str, verdict: Verdict) -> None:
    assert verdicts(**change)[check] is verdict


@pytest.mark.parametrize(
    ("fsync", "verdict"), [("always", Verdict.OK), ("everysec", Verdict.WARNING), (None, Verdict.OK)]
)
def test_a_redis_that_puts_its_file_on_disk_late_is_told(fsync: str | None, verdict: Verdict) -> None:
    findings = {found.check: found for found in check_redis(FakeRedis(HEALTHY, fsync=fsync))}

    assert findings["persistence"].verdict is verdict


def test_a_redis_that_is_away_is_a_warning_because_the_worker_waits_for_it() -> None:
    (finding,) = check_redis(FakeRedis(None))

    assert finding.verdict is Verdict.WARNING


def test_every_finding_that_is_not_ok_says_what_to_do() -> None:
    sick = HEALTHY | {"maxmemory_policy": "volatile-ttl", "redis_version": "5.0.0", "aof_enabled": 0}

    findings = list(check_redis(FakeRedis(sick)))

    assert all(found.mend for found in findings if found.verdict is not Verdict.OK)
    assert len(findings) == 3


def test_both_piopiy_packages_in_one_environment_are_a_problem(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(preflight, "version", lambda _name: "1.0")

    finding = check_packages()

    assert finding.verdict is Verdict.PROBLEM
    assert "new environment" in finding.mend


def test_the_rest_sdk_alone_is_fine() -> None:
    assert importlib.metadata.version("piopiy") == "1.2.2"
    assert check_packages().verdict is Verdict.OK


def test_a_message_is_never_given_away_during_an_attempt(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIOPIY_TOKEN", "a-token")
    settings = WorkerSettings.load()

    assert check_timing(settings).verdict is Verdict.OK
    too_long = settings.model_copy(update={"attempt_timeout_seconds": float(VISIBILITY_TIMEOUT_SECONDS)})
    assert check_timing(too_long).verdict is Verdict.PROBLEM


@pytest.mark.parametrize(
    ("waited_for", "following", "verdict", "said"),
    [
        (1, 1, Verdict.OK, "1 follow the primary, and are waited for"),
        (2, 1, Verdict.WARNING, "1 of 2 follow the primary"),
        (1, 2, Verdict.WARNING, "2 follow the primary, 1 are waited for"),
        (0, 1, Verdict.WARNING, "replicas=0"),
    ],
)
def test_all_replicas_should_be_there_and_be_waited_for(
    waited_for: int, following: int, verdict: Verdict, said: str
) -> None:
    found = preflight._judge_replicas(waited_for, following)

    assert (found.verdict, found.seen) == (verdict, said)
    assert bool(found.mend) is (verdict is not Verdict.OK)
