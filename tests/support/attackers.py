"""Who has the password of one role, and tries: Redis refuses it, or it comes to the same end as anybody's."""

from __future__ import annotations

import re
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import redis
from kombu.exceptions import OperationalError

from support.signing import NUMBERS, Visitor
from transfer_tasks.errors import TransferTasksError
from transfer_tasks.redis.diagnosis import Trouble, diagnose
from transfer_worker.sandbox.director import find_first_number

if TYPE_CHECKING:
    from collections.abc import Iterator

    from support.signing import SignedCluster
    from transfer_tasks.intent import TransferIntent
    from transfer_tasks.publisher import TransferPublisher
    from transfer_worker.roles import Role

PAGE: Final = (Path(__file__).parents[2] / "docs" / "security.md").read_text("utf-8")
LET_THROUGH: Final = {
    attempt: frozenset(who.split(", ")) - {"nobody"}
    for attempt, who in re.findall(
        r"^\| ([a-zA-Z' ]+) \| ([a-z, ]+) \|$",
        PAGE.partition("| attempt | let through |")[2].partition("\n\n")[0],
        re.MULTILINE,
    )
}
"""By the page: what somebody may try, and the roles that Redis lets try it."""


NOT_PERMITTED: Final = "does not permit"
"""In whatever people read of a refusal."""


class Refused(Exception):
    """Redis has refused an attempt, and the page says so: the test has come to its end."""

    def __init__(self, attacker: Attacker) -> None:
        self.attacker = attacker
        super().__init__(attacker.role)


@dataclass
class Attacker(Visitor):
    """Somebody at a cluster's Redis by the password of a role; without one, as a user who may do everything.

    Attributes:
        signed: The cluster; its own means are those of the honest.
        role: Whose password it is.
    """

    signed: SignedCluster
    role: Role | None

    def __post_init__(self) -> None:
        requests = self.signed.cluster.sandbox.requests()
        self._last = requests[-1]["sequence"] if requests else 0
        self._asked_before = len(self.signed.asked)

    @contextmanager
    def trying(self, attempt: str) -> Iterator[None]:
        """Try what the page's table has under this name.

        Raises:
            Refused: By Redis, as the page says. The test ends here, and has passed.
        """
        try:
            yield
        except (redis.RedisError, OperationalError, TransferTasksError) as error:
            if _is_refusal(error) and not self._may(attempt):
                raise Refused(self) from error
            raise
        assert self._may(attempt), f"{self.role} may {attempt}: docs/security.md"

    @contextmanager
    def publisher(self, key: str | None) -> Iterator[TransferPublisher]:
        """Yield a publisher that signs with a key, or with none."""
        with self.trying("ask for a transfer"), super().publisher(key) as publisher:
            yield publisher

    def submit(self, key: str | None, intent: TransferIntent | None = None) -> str:
        """Submit, and return the transfer's id."""
        with self.trying("ask for a transfer"):
            return super().submit(key, intent)

    def send(self, *messages: str, is_next: bool = False) -> None:
        """Put messages on the queue as they are, behind the others or before them."""
        with self.trying("put a message on the queue"), self.bench() as bench:
            (bench.client.rpush if is_next else bench.client.lpush)("transfers", *messages)

    def alter(self, transfer_id: str, **fields: Any) -> None:
        """Overwrite fields of a record."""
        mapping: Any = fields
        with self.trying("alter a record"), self.bench() as bench:
            bench.client.hset(bench.keys.record(transfer_id), mapping=mapping)

    def _may(self, attempt: str) -> bool:
        return self.role in {None, *LET_THROUGH[attempt]}

    def judge(self) -> None:
        """Assert that since the attacker came, nothing was sent but what the honest asked for, and once."""
        for _, transfer_id in list(self.signed.asked.values())[self._asked_before :]:
            self.signed.ending(transfer_id)
        requests = self.signed.cluster.sandbox.requests(since=self._last)
        assert len(requests) == len({request["call_id"] for request in requests})
        for request in requests:
            labels, _ = self.signed.asked[request["call_id"]]
            number = labels.get("to") or NUMBERS[labels["destination"]]  # the one is masked
            assert find_first_number(request["pipeline"])[-2:] == number[-2:]


def log_in(signed: SignedCluster, role: Role | None) -> Attacker:
    """Return who has the password of a role; the audit log at that Redis begins anew. Skips without roles."""
    with signed.bench() as bench:
        bench.client.xtrim(bench.keys.audit, maxlen=0, approximate=False)
    url = signed.redis_url if role is None else signed.logins[role]
    return Attacker(url, signed=signed, role=role)


def _is_refusal(error: BaseException | None) -> bool:
    """Say whether it is for want of a permission, whoever has handed the error on."""
    if error is None:
        return False
    named = diagnose(error).trouble is Trouble.NO_PERMISSION or NOT_PERMITTED in str(error)
    return named or _is_refusal(error.__cause__ or error.__context__)
