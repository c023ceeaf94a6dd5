"""Whether Redis can carry transfers: what it is, whether it forgets, and whether it permits all that we do.

A check that can't look says so; it never passes for one that has looked.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import redis

from transfer_tasks.redis.diagnosis import Diagnosis, Trouble, diagnose
from transfer_worker.roles import (
    Place,
    Role,
    Trial,
    describe_role,
    describe_user,
    find_user,
    name_role,
    try_role,
)
from transfer_worker.runtime.findings import Finding, Verdict

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from transfer_worker.roles.work import Command

MIN_REDIS: Final = (6, 2)
KEYS_ARE_PARTED: Final = (7, 0)
"""Since when permissions to read and to write a key are two; Valkey tells of a Redis 7.2."""
LOOK_IT_UP: Final = " (CONFIG SET and redis.conf; of a managed service, its console)"

_CLUSTER: Final = diagnose(redis.exceptions.ClusterCrossSlotError())
_NOT_OURS: Final = frozenset({Trouble.NO_PERMISSION, Trouble.UNKNOWN_COMMAND})
_SHOWN: Final = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class _Facts:
    """What Redis says of itself.

    Attributes:
        info: Empty where it does not say.
        hello: As `info`; what every client may ask.
        refusal: Why `info` is empty.
        user: As whom we have logged in; empty where it does not say.
    """

    info: Mapping[str, Any]
    hello: Mapping[str, Any]
    refusal: str
    user: str

    @property
    def version(self) -> str:
        return str(self.info.get("redis_version") or self.hello.get("version") or "")

    @property
    def number(self) -> tuple[int, ...]:
        """The version's first two numbers; none where it is not told."""
        found = re.match(r"(\d+)\.(\d+)", self.version)
        return (int(found[1]), int(found[2])) if found else ()

    @property
    def mode(self) -> str:
        if str(self.info.get("cluster_enabled", 0)) == "1":
            return "cluster"
        return str(self.info.get("redis_mode") or self.hello.get("mode") or "")


def check_redis(
    client: redis.Redis, *, queue: str, is_for_worker: bool = True, is_said_never_to_evict: bool = False
) -> Iterator[Finding]:
    """Whether Redis answers, is one that will do, permits the work, never evicts, and keeps its data.

    Args:
        client: As the user whose permissions are tried.
        queue: The Celery queue.
        is_for_worker: Whether a worker's work is tried, whoever the user is; else that of its own role.
        is_said_never_to_evict: The operator's word for a Redis that does not say.
    """
    at = Place(queue=queue, database=_database_of(client))
    try:
        facts = _read_facts(client)
        role = (None if is_for_worker else name_role(facts.user)) or Role.WORKER
        # A Sentinel knows no transactions, and a wrong mode is told in words of its own.
        is_tried = facts.mode not in {"sentinel", "cluster"}
        trial = (
            try_role(client, role, at, is_alone=role == facts.user and not is_for_worker)
            if is_tried
            else Trial(refused={}, excess=())
        )
    except redis.RedisError as error:
        yield _tell(diagnose(error))
        return
    troubles = {command: diagnose(error) for command, error in trial.refused.items()}
    yield from _check_kind(facts, troubles.values())
    if not is_tried:
        return
    excess = trial.excess if facts.number >= KEYS_ARE_PARTED else ()
    yield _check_permissions(troubles, excess, user=facts.user, role=role, at=at)
    yield _check_eviction(facts, client, role, is_said_never_to_evict=is_said_never_to_evict)
    yield _check_persistence(facts, client)


def read_config(client: redis.Redis, name: str, *, user: str = "") -> str:
    """Return one setting of Redis; empty where it does not say (managed services hide CONFIG).

    The user of a role is not asked for: CONFIG GET tells passwords, too, and Redis notes each refusal.
    """
    if name_role(user) is not None:
        return ""
    try:
        return str(client.config_get(name).get(name, ""))
    except redis.RedisError:
        return ""


def _database_of(client: redis.Redis) -> int:
    return int(client.connection_pool.connection_kwargs.get("db") or 0)


def _read_facts(client: redis.Redis) -> _Facts:
    hello, _ = _ask(client, "HELLO")
    info, refusal = _ask(client, "INFO")
    return _Facts(info=info, hello=hello, refusal=refusal, user=find_user(client))


def _ask(client: redis.Redis, question: str) -> tuple[Mapping[str, Any], str]:
    """Return an answer, or nothing and why it is refused.

    Raises:
        redis.RedisError: Redis can't be used at all.
    """
    try:
        answer: Any = client.execute_command(question)  # type: ignore[no-untyped-call]
    except redis.ResponseError as error:
        found = diagnose(error)
        if found.trouble not in _NOT_OURS:
            raise
        return {}, f"{question} is refused: {found.seen}"
    if isinstance(answer, list):  # RESP2
        answer = dict(zip(answer[::2], answer[1::2], strict=False))
    return answer, ""


def _tell(found: Diagnosis) -> Finding:
    if not found.passes:
        return Finding.problem("redis", seen=found.seen, fix=found.fix)
    return Finding.warning(
        "redis",
        seen=found.seen,
        fix=f"{found.fix} A worker waits.",
        must_wait=True,
    )


def _check_kind(facts: _Facts, troubles: Iterable[Diagnosis]) -> Iterator[Finding]:
    """Whether it is a Redis, new enough, and takes writes."""
    if facts.mode == "sentinel":
        yield Finding.problem(
            "redis",
            seen="this is a Sentinel, which keeps no data",
            fix="Write sentinel://… with master_name in TRANSFER_REDIS_URL: docs/capacity.md.",
        )
        return
    if facts.mode == "cluster":
        yield _tell(_CLUSTER)
        return
    others = {found.trouble: found for found in troubles if found.trouble not in _NOT_OURS}
    for found in others.values():
        verdict = Verdict.WARNING if found.passes else Verdict.PROBLEM
        yield Finding(check="redis", verdict=verdict, seen=found.seen, fix=found.fix)
    if others:
        return
    if facts.number and facts.number < MIN_REDIS:
        yield Finding.problem(
            "redis",
            seen=f"version {facts.version}",
            fix="Use Redis 6.2 or newer, or Valkey: recovery of audit lines needs XAUTOCLAIM.",
        )
    elif facts.number:
        yield Finding.ok("redis", seen=f"version {facts.version}")
    else:
        # XAUTOCLAIM, which came with 6.2, is among the commands that are tried.
        seen = f"it answers; its version is not told ({facts.refusal or 'INFO has no redis_version'})"
        yield Finding.not_checked("redis", seen=seen)


def _check_permissions(
    troubles: Mapping[Command, Diagnosis], excess: Sequence[Command], *, user: str, role: Role, at: Place
) -> Finding:
    """Whether the user may do all of a role's work; and no more, where the user is that role's own."""
    refused = {command: found for command, found in troubles.items() if found.trouble in _NOT_OURS}
    has_role = user == role
    who = f"as {role}" if has_role else f"as {user or 'a user that Redis does not name'}, no role of its own"
    too_much = f"too much: {_name(excess)}" if has_role and excess else ""
    rules = f"ACL SETUSER {role} {describe_role(role, at)}"
    if not refused:
        if too_much:
            return Finding.warning("permissions", seen=f"{who}; {too_much}", fix=rules)
        return Finding.ok("permissions", seen=f"{who}: every command of a {role}, on its keys")
    first = next(iter(refused.values()))
    fix = first.fix
    if name_role(user) not in {None, role}:
        fix = f"Log in as the user {role} (TRANSFER_REDIS_URL): {user} has another role."
    elif first.trouble is Trouble.NO_PERMISSION:
        fix = rules if has_role else f"ACL SETUSER <user> {describe_user(at)}"
    more = f"; {too_much}" if too_much else ""
    return Finding.problem(
        "permissions", seen=f"{who}, refused: {_name(list(refused))}: {first.seen}{more}", fix=fix
    )


def _name(commands: Sequence[Command]) -> str:
    names = [" ".join(command[:2]) for command in commands[:_SHOWN]]
    more = f" and {len(commands) - len(names)} more" if len(commands) > len(names) else ""
    return f"{', '.join(names)}{more}"


def _check_eviction(
    facts: _Facts, client: redis.Redis, role: Role, *, is_said_never_to_evict: bool
) -> Finding:
    policy = str(
        facts.info.get("maxmemory_policy") or read_config(client, "maxmemory-policy", user=facts.user)
    )
    if policy == "noeviction":
        return Finding.ok("eviction", seen="maxmemory-policy noeviction")
    if policy:
        return Finding.problem(
            "eviction",
            seen=f"maxmemory-policy {policy}",
            fix=f"Set maxmemory-policy noeviction{LOOK_IT_UP}: an evicted record is a doubled transfer.",
        )
    why = facts.refusal or "INFO has no maxmemory_policy, and CONFIG GET does not tell"
    if is_said_never_to_evict:
        return Finding.not_checked(
            "eviction",
            seen=f"maxmemory-policy is not told ({why}); TRANSFER_REDIS_NEVER_EVICTS vouches for noeviction",
        )
    if role is not Role.WORKER:
        return Finding.not_checked(
            "eviction", seen=f"maxmemory-policy is not told ({why}); each worker looks"
        )
    return Finding.problem(
        "eviction",
        seen=f"maxmemory-policy is not told ({why})",
        fix="Permit INFO to this user: ACL SETUSER <user> +info. Of a service that hides it, make sure that "
        "it is noeviction, and set TRANSFER_REDIS_NEVER_EVICTS=true: an evicted record doubles a transfer.",
    )


def _check_persistence(facts: _Facts, client: redis.Redis) -> Finding:
    if "aof_enabled" not in facts.info:
        return Finding.not_checked(
            "persistence",
            seen=f"the append-only file is not told of ({facts.refusal or 'INFO has no aof_enabled'})",
            fix="Permit INFO to this user (ACL SETUSER <user> +info), or see that it is on: without it, a "
            "restart of Redis forgets what was accepted.",
        )
    if not int(facts.info["aof_enabled"]):
        return Finding.warning(
            "persistence",
            seen="append-only file off",
            fix=f"Set appendonly yes{LOOK_IT_UP}: without it, a restart of Redis forgets what was accepted.",
        )
    fsync = read_config(client, "appendfsync", user=facts.user)
    if not fsync:
        permit = "" if name_role(facts.user) else "Permit it (ACL SETUSER <user> +config|get), or see"
        return Finding.not_checked(
            "persistence",
            seen="append-only file on; when it gets to the disk is not told (CONFIG GET appendfsync)",
            fix=f"{permit or 'See'} that appendfsync is always.",
        )
    if fsync != "always":
        return Finding.warning(
            "persistence",
            seen=f"append-only file on, appendfsync {fsync}",
            fix=f"Set appendfsync always{LOOK_IT_UP}: else a crash of Redis may forget two seconds.",
        )
    return Finding.ok("persistence", seen="append-only file on")
