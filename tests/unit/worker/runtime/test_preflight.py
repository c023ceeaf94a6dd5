from __future__ import annotations

import importlib.metadata
from typing import TYPE_CHECKING, Any

import pytest
import redis

from transfer_worker.runtime import preflight
from transfer_worker.runtime.findings import Finding, Verdict
from transfer_worker.runtime.preflight import check_packages, check_timing
from transfer_worker.runtime.redis_checks import check_redis
from transfer_worker.settings import VISIBILITY_TIMEOUT_SECONDS, WorkerSettings

if TYPE_CHECKING:
    from collections.abc import Mapping

HEALTHY: dict[str, Any] = {"redis_version": "7.4.1", "maxmemory_policy": "noeviction", "aof_enabled": 1}


class FakeRedis:
    """Answers what the checks ask; a transaction takes every command, but those that `refused` names."""

    def __init__(
        self,
        info: Mapping[str, Any] | Exception,
        *,
        fsync: str | None = "always",
        hello: Mapping[str, Any] | Exception | None = None,
        refused: Mapping[str, Exception] | None = None,
    ) -> None:
        self._info, self._fsync, self._hello, self._refused = info, fsync, hello or {}, refused or {}
        self._replies: list[Any] = []
        self.connection_pool, self.connection_kwargs = self, {"db": 0}

    def execute_command(self, *question: str) -> Any:
        answer = {"INFO": self._info, "HELLO": self._hello, "ACL WHOAMI": "default"}[" ".join(question)]
        if isinstance(answer, Exception):
            raise answer
        return answer

    def config_get(self, name: str) -> dict[str, str]:
        if self._fsync is None:
            raise redis.ResponseError("unknown command 'CONFIG'")
        return {name: self._fsync} if name == "appendfsync" else {}

    def get_connection(self) -> FakeRedis:
        return self

    def release(self, connection: object) -> None:
        """Nothing is kept."""

    def disconnect(self) -> None:
        """Nothing is open."""

    def pack_commands(self, commands: list[tuple[str, ...]]) -> list[tuple[str, ...]]:
        return commands

    def send_packed_command(self, commands: list[tuple[str, ...]]) -> None:
        self._replies += [self._refused.get(command[0], "QUEUED") for command in commands]

    def send_command(self, name: str) -> None:
        self._replies.append(self._refused.get(name, "QUEUED"))

    def read_response(self) -> Any:
        reply = self._replies.pop(0)
        if isinstance(reply, Exception):
            raise reply
        return reply


def look(
    info: Mapping[str, Any] | Exception, *, never_evicts: bool = False, **more: Any
) -> dict[str, Finding]:
    client: Any = FakeRedis(info, **more)
    found = check_redis(client, queue="transfers", is_said_never_to_evict=never_evicts)
    return {finding.check: finding for finding in found}


def verdicts(**changes: Any) -> dict[str, Verdict]:
    return {check: found.verdict for check, found in look(HEALTHY | changes).items()}


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
    ("fsync", "verdict"), [("always", Verdict.OK), ("everysec", Verdict.WARNING), (None, Verdict.NOT_CHECKED)]
)
def test_a_redis_that_puts_its_file_on_disk_late_is_told(fsync: str | None, verdict: Verdict) -> None:
    assert look(HEALTHY, fsync=fsync)["persistence"].verdict is verdict


def test_a_redis_that_is_away_is_a_warning_because_the_worker_waits_for_it() -> None:
    (finding,) = look(redis.ConnectionError("refused")).values()

    assert (finding.verdict, finding.must_wait) == (Verdict.WARNING, True)


@pytest.mark.parametrize(
    "error",
    [
        redis.AuthenticationError("invalid username-password pair"),
        redis.ResponseError("DB index is out of range"),
    ],
)
def test_what_waiting_does_not_fix_is_a_problem(error: Exception) -> None:
    (finding,) = look(error, hello=error).values()

    assert (finding.verdict, finding.must_wait) == (Verdict.PROBLEM, False)


@pytest.mark.parametrize(
    "answer", [{"redis_mode": "cluster"}, {"cluster_enabled": 1}, {"redis_mode": "sentinel"}]
)
def test_another_mode_than_a_redis_alone_is_a_problem(answer: dict[str, Any]) -> None:
    (finding,) = look(HEALTHY | answer).values()

    assert finding.verdict is Verdict.PROBLEM


def test_what_can_not_be_looked_at_is_never_ok() -> None:
    without = {name: value for name, value in HEALTHY.items() if name == "redis_version"}

    assert {check: found.verdict for check, found in look(without).items()} == {
        "redis": Verdict.OK,
        "permissions": Verdict.OK,
        "eviction": Verdict.PROBLEM,
        "persistence": Verdict.NOT_CHECKED,
    }
    assert look(without, never_evicts=True)["eviction"].verdict is Verdict.NOT_CHECKED
    refused = look(redis.exceptions.NoPermissionError("no"), hello={"version": "8.0.1", "mode": "standalone"})
    assert (refused["redis"].verdict, refused["eviction"].verdict) == (Verdict.OK, Verdict.PROBLEM)
    both = look(redis.exceptions.NoPermissionError("no"), hello=redis.exceptions.NoPermissionError("no"))
    assert both["redis"].verdict is Verdict.NOT_CHECKED


def test_a_command_that_a_service_has_taken_away_is_named() -> None:
    found = look(HEALTHY, refused={"XAUTOCLAIM": redis.ResponseError("unknown command 'XAUTOCLAIM'")})

    assert found["permissions"].verdict is Verdict.PROBLEM
    assert "XAUTOCLAIM transfer:audit" in found["permissions"].seen


def test_every_finding_that_is_not_ok_says_what_to_do() -> None:
    sick = HEALTHY | {"maxmemory_policy": "volatile-ttl", "redis_version": "5.0.0", "aof_enabled": 0}

    findings = [found for found in look(sick).values() if found.verdict is not Verdict.OK]

    assert all(found.fix for found in findings)
    assert len(findings) == 3


def test_both_piopiy_packages_in_one_environment_are_a_problem(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(preflight, "version", lambda _name: "1.0")

    finding = check_packages()

    assert finding.verdict is Verdict.PROBLEM
    assert "new environment" in finding.fix


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
    assert bool(found.fix) is (verdict is not Verdict.OK)
