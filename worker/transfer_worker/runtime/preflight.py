"""What must be true before a worker starts, and what is better true. `doctor` shows the same list."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Final

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from transfer_tasks.redis.sentinel import make_sentinel_options
from transfer_tasks.redis.sentinel_url import SentinelUrl, is_sentinel_url
from transfer_worker.settings import MAX_ATTEMPT_TIMEOUT_SECONDS, VISIBILITY_TIMEOUT_SECONDS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from transfer_worker.settings import WorkerSettings

MIN_REDIS: Final = (6, 2)
SENTINEL_TIMEOUT_SECONDS: Final = 2.0

_STRANGER: Final = "No such master"


class Verdict(StrEnum):
    """What a check found."""

    OK = "ok"
    WARNING = "warning"
    PROBLEM = "problem"
    NOT_CHECKED = "not checked"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One check's result.

    Attributes:
        check: What was looked at.
        verdict: Whether a worker may start.
        seen: What was found.
        mend: What to do about it; empty where nothing is to be done.
    """

    check: str
    verdict: Verdict
    seen: str
    mend: str = ""


def check_packages() -> Finding:
    """Both Piopiy packages write `piopiy/__init__.py`: in one environment, one of them is broken."""
    found = []
    for name in ("piopiy", "piopiy-ai"):
        try:
            found.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            continue
    if len(found) > 1:
        return Finding(
            check="packages",
            verdict=Verdict.PROBLEM,
            seen=" and ".join(found) + " in one environment",
            mend="Make a new environment with call-transfer[worker] only; the voice process gets its own.",
        )
    return Finding(check="packages", verdict=Verdict.OK, seen=", ".join(found))


def check_timing(settings: WorkerSettings) -> Finding:
    """A message must not be given to another worker while an attempt can still be under way."""
    longest = settings.attempt_timeout_seconds
    if longest >= VISIBILITY_TIMEOUT_SECONDS:
        return Finding(
            check="timing",
            verdict=Verdict.PROBLEM,
            seen=f"an attempt may take {longest:g} s, visibility timeout {VISIBILITY_TIMEOUT_SECONDS} s",
            mend=f"Set TRANSFER_ATTEMPT_TIMEOUT_SECONDS to at most {MAX_ATTEMPT_TIMEOUT_SECONDS}.",
        )
    return Finding(
        check="timing",
        verdict=Verdict.OK,
        seen=f"attempt {longest:g} s, visibility timeout {VISIBILITY_TIMEOUT_SECONDS} s",
    )


def check_redis(client: redis.Redis) -> Iterator[Finding]:
    """Whether Redis answers, is new enough, never evicts, and keeps its data."""
    try:
        info = client.info()
    except redis.RedisError as error:
        yield Finding(
            check="redis",
            verdict=Verdict.WARNING,
            seen=f"no answer: {type(error).__name__}",
            mend="Start Redis, or correct TRANSFER_REDIS_URL. The worker waits; nothing is sent meanwhile.",
        )
        return
    text = str(info["redis_version"])
    if tuple(int(part) for part in text.split(".")[:2]) < MIN_REDIS:
        yield Finding(
            check="redis",
            verdict=Verdict.PROBLEM,
            seen=f"version {text}",
            mend="Use Redis 6.2 or newer: recovery of audit lines needs XAUTOCLAIM.",
        )
    else:
        yield Finding(check="redis", verdict=Verdict.OK, seen=f"version {text}")
    policy = str(info.get("maxmemory_policy", "unknown"))
    if policy != "noeviction":
        yield Finding(
            check="eviction",
            verdict=Verdict.PROBLEM,
            seen=f"maxmemory-policy {policy}",
            mend="CONFIG SET maxmemory-policy noeviction: an evicted record is a doubled transfer.",
        )
    else:
        yield Finding(check="eviction", verdict=Verdict.OK, seen="maxmemory-policy noeviction")
    fsync = _read_fsync(client)
    if not int(info.get("aof_enabled", 0)):
        yield Finding(
            check="persistence",
            verdict=Verdict.WARNING,
            seen="append-only file off",
            mend="CONFIG SET appendonly yes: without it, a restart of Redis forgets what was accepted.",
        )
    elif fsync not in {"always", ""}:
        yield Finding(
            check="persistence",
            verdict=Verdict.WARNING,
            seen=f"append-only file on, appendfsync {fsync}",
            mend="CONFIG SET appendfsync always: else a crash of Redis can forget the last two seconds.",
        )
    else:
        yield Finding(check="persistence", verdict=Verdict.OK, seen="append-only file on")


def _read_fsync(client: redis.Redis) -> str:
    """Return when Redis puts its file on disk; empty where it does not say (hosted ones hide it)."""
    try:
        return str(client.config_get("appendfsync").get("appendfsync", ""))
    except redis.RedisError:
        return ""


def check_sentinels(url: SentinelUrl, client: redis.Redis) -> Iterator[Finding]:
    """Whether a failover could happen, and whether the replicas are there that each step waits for."""
    answers = [_ask_quorum(url, address) for address in url.sentinels]
    silent = [f"{host}:{port}" for (host, port), told in zip(url.sentinels, answers, strict=True) if not told]
    heard = [told for told in answers if told]
    if heard and all(_STRANGER in told for told in heard):
        yield Finding(
            check="sentinels",
            verdict=Verdict.PROBLEM,
            seen=f"none knows {url.master_name!r}",
            mend="Correct master_name in TRANSFER_REDIS_URL: it is the name in `sentinel monitor`.",
        )
    elif silent or any(not told.startswith("OK") for told in heard):
        seen = f"{len(heard)} of {len(answers)} answer"
        yield Finding(
            check="sentinels",
            verdict=Verdict.WARNING,
            seen="; ".join([seen, *(f"{address} does not" for address in silent), *sorted(set(heard))]),
            mend="Start those that are missing: without a majority nobody takes over from a dead primary.",
        )
    else:
        yield Finding(check="sentinels", verdict=Verdict.OK, seen=f"all {len(answers)} answer: {heard[0]}")
    try:
        following = int(client.info("replication").get("connected_slaves", 0))
        fewest = str(client.config_get("min-replicas-to-write").get("min-replicas-to-write", ""))
    except redis.RedisError:
        return  # told above, by `check_redis`
    yield _judge_replicas(url.replicas, following)
    if fewest == "0":
        yield Finding(
            check="split",
            verdict=Verdict.WARNING,
            seen="min-replicas-to-write 0",
            mend="CONFIG SET min-replicas-to-write 1: else workers read on at a primary that was replaced.",
        )


def _ask_quorum(url: SentinelUrl, address: tuple[str, int]) -> str:
    """Return what one Sentinel says of its quorum; empty where it says nothing."""
    host, port = address
    options = make_sentinel_options(url, SENTINEL_TIMEOUT_SECONDS)
    with redis.Redis(host, port, decode_responses=True, retry=Retry(NoBackoff(), 0), **options) as sentinel:
        try:
            return str(sentinel.execute_command("SENTINEL", "CKQUORUM", url.master_name))
        except redis.ResponseError as error:
            return str(error)
        except redis.RedisError:
            return ""


def _judge_replicas(waited_for: int, following: int) -> Finding:
    if not waited_for:
        verdict, seen = Verdict.WARNING, "replicas=0"
        mend = "Write replicas=1 in TRANSFER_REDIS_URL: what the primary alone has is lost with it."
    elif following < waited_for:
        verdict, seen = Verdict.WARNING, f"{following} of {waited_for} follow the primary"
        mend = "Start what is missing: until then no step counts, so that nothing is accepted or sent."
    elif following > waited_for:
        verdict, seen = Verdict.WARNING, f"{following} follow the primary, {waited_for} are waited for"
        mend = (
            f"Write replicas={following} in TRANSFER_REDIS_URL, or never switch while the old primary lives: "
            "docs/capacity.md."
        )
    else:
        verdict, seen, mend = Verdict.OK, f"{following} follow the primary, and are waited for", ""
    return Finding(check="replicas", verdict=verdict, seen=seen, mend=mend)


def check_worker(settings: WorkerSettings, client: redis.Redis) -> list[Finding]:
    """Run every check that a worker runs before it starts."""
    findings = [check_packages(), check_timing(settings), *check_redis(client)]
    address = settings.redis_url.get_secret_value()
    if is_sentinel_url(address):
        findings += check_sentinels(SentinelUrl.parse(address), client)
    return findings
