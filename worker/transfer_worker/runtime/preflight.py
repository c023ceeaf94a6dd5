"""What must be true before a worker starts, and what is better true. `doctor` shows the same list."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Final

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from transfer_tasks.redis.diagnosis import Trouble, diagnose
from transfer_tasks.redis.sentinel import make_sentinel_options
from transfer_tasks.redis.sentinel_url import SentinelUrl, is_sentinel_url
from transfer_worker.runtime.findings import Finding, Verdict
from transfer_worker.runtime.redis_checks import LOOK_IT_UP, check_redis, read_config
from transfer_worker.settings import MAX_ATTEMPT_TIMEOUT_SECONDS, VISIBILITY_TIMEOUT_SECONDS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from transfer_tasks.settings import PublisherSettings
    from transfer_worker.settings import WorkerSettings

SENTINEL_TIMEOUT_SECONDS: Final = 2.0

_STRANGER: Final = "No such master"
_SILENT: Final = "silent: "


def check_packages() -> Finding:
    """Both Piopiy packages write `piopiy/__init__.py`: in one environment, one of them is broken."""
    found = []
    for name in ("piopiy", "piopiy-ai"):
        try:
            found.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            continue
    if len(found) > 1:
        return Finding.problem(
            "packages",
            seen=" and ".join(found) + " in one environment",
            fix="Make a new environment with call-transfer[worker] only; the voice process gets its own.",
        )
    return Finding.ok("packages", seen=", ".join(found))


def check_timing(settings: WorkerSettings) -> Finding:
    """A message must not be given to another worker while an attempt can still be under way."""
    longest = settings.attempt_timeout_seconds
    if longest >= VISIBILITY_TIMEOUT_SECONDS:
        return Finding.problem(
            "timing",
            seen=f"an attempt may take {longest:g} s, visibility timeout {VISIBILITY_TIMEOUT_SECONDS} s",
            fix=f"Set TRANSFER_ATTEMPT_TIMEOUT_SECONDS to at most {MAX_ATTEMPT_TIMEOUT_SECONDS}.",
        )
    return Finding.ok(
        "timing",
        seen=f"attempt {longest:g} s, visibility timeout {VISIBILITY_TIMEOUT_SECONDS} s",
    )


def check_sentinels(url: SentinelUrl, client: redis.Redis) -> Iterator[Finding]:
    """Whether a failover could happen, and whether the replicas are there that each step waits for."""
    answers = [_ask_quorum(url, address) for address in url.sentinels]
    silent = [told for told in answers if told.startswith(_SILENT)]
    heard = [told for told in answers if not told.startswith(_SILENT)]
    if heard and all(_STRANGER in told for told in heard):
        yield Finding.problem(
            "sentinels",
            seen=f"none knows {url.master_name!r}",
            fix="Correct master_name in TRANSFER_REDIS_URL: it is the name in `sentinel monitor`.",
        )
    elif silent or any(not told.startswith("OK") for told in heard):
        seen = f"{len(heard)} of {len(answers)} answer"
        yield Finding.warning(
            "sentinels",
            seen="; ".join([seen, *(told.removeprefix(_SILENT) for told in silent), *sorted(set(heard))]),
            fix="Start those that are missing, or correct sentinel_username and sentinel_password: without "
            "a majority nobody takes over from a dead primary.",
        )
    else:
        yield Finding.ok("sentinels", seen=f"all {len(answers)} answer: {heard[0]}")
    yield _check_replicas(url, client)
    if read_config(client, "min-replicas-to-write") == "0":
        yield Finding.warning(
            "split",
            seen="min-replicas-to-write 0",
            fix=f"Set min-replicas-to-write 1{LOOK_IT_UP}: else workers read on at a replaced primary.",
        )


def _check_replicas(url: SentinelUrl, client: redis.Redis) -> Finding:
    try:
        following = client.info("replication").get("connected_slaves")
    except redis.RedisError as error:
        following, why = None, diagnose(error).seen
    else:
        why = "INFO has no connected_slaves"
    if following is None:
        return Finding.not_checked(
            "replicas",
            seen=f"how many follow is not known: {why}",
            fix="Permit INFO to this user: ACL SETUSER <user> +info.",
        )
    return _judge_replicas(url.replicas, int(following))


def _ask_quorum(url: SentinelUrl, address: tuple[str, int]) -> str:
    """Return what one Sentinel says of its quorum, or, after `_SILENT`, why it says nothing."""
    host, port = address
    options = make_sentinel_options(url, SENTINEL_TIMEOUT_SECONDS)
    with redis.Redis(host, port, decode_responses=True, retry=Retry(NoBackoff(), 0), **options) as sentinel:
        try:
            return str(sentinel.execute_command("SENTINEL", "CKQUORUM", url.master_name))
        except redis.RedisError as error:
            found = diagnose(error)
            if found.trouble in {Trouble.REFUSED, Trouble.NO_REPLICAS}:
                return str(error)
            return f"{_SILENT}{host}:{port} does not: {found.seen}"


def _judge_replicas(waited_for: int, following: int) -> Finding:
    if not waited_for:
        verdict, seen = Verdict.WARNING, "replicas=0"
        fix = "Write replicas=1 in TRANSFER_REDIS_URL: what the primary alone has is lost with it."
    elif following < waited_for:
        verdict, seen = Verdict.WARNING, f"{following} of {waited_for} follow the primary"
        fix = "Start what is missing: until then no step counts, so that nothing is accepted or sent."
    elif following > waited_for:
        verdict, seen = Verdict.WARNING, f"{following} follow the primary, {waited_for} are waited for"
        fix = (
            f"Write replicas={following} in TRANSFER_REDIS_URL, or never switch while the old primary lives: "
            "docs/capacity.md."
        )
    else:
        verdict, seen, fix = Verdict.OK, f"{following} follow the primary, and are waited for", ""
    return Finding(check="replicas", verdict=verdict, seen=seen, fix=fix)


def check_worker(settings: WorkerSettings, client: redis.Redis) -> list[Finding]:
    """Run every check that a worker runs before it starts."""
    return [
        check_packages(),
        check_timing(settings),
        *check_ledger(settings, client, is_said_never_to_evict=settings.redis_never_evicts),
    ]


def check_ledger(
    settings: PublisherSettings,
    client: redis.Redis,
    *,
    is_for_worker: bool = True,
    is_said_never_to_evict: bool = False,
) -> list[Finding]:
    """Whether Redis can carry transfers, and what is behind its address; see `check_redis`."""
    findings = list(
        check_redis(
            client,
            queue=settings.queue,
            is_for_worker=is_for_worker,
            is_said_never_to_evict=is_said_never_to_evict,
        )
    )
    address = settings.redis_url.get_secret_value()
    if is_sentinel_url(address):
        findings += check_sentinels(SentinelUrl.parse(address), client)
    return findings
