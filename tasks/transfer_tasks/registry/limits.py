"""Limits on rate, as the registry file writes them: ``30/min``, ``5/10min``, ``off``."""

import re
from typing import Annotated, Final, NamedTuple

from pydantic import BeforeValidator

from transfer_tasks.intent.fields import ContractModel, refusal

LIMITS_TABLE: Final = "limits"
"""The table of the registry file that is no destination."""

LIMIT_KINDS: Final = ("call", "destination", "requester", "all")
"""What a limit may be of; ledger/scripts/frame/limits.lua looks at them in this order."""

MAX_NUMBER: Final = 100_000
MAX_SECONDS: Final = 86_400

_SECONDS: Final = {"s": 1, "sec": 1, "min": 60, "h": 3600, "hour": 3600, "day": 86_400}
_LIMIT: Final = re.compile(r"([0-9]{1,6}) ?/ ?([0-9]{0,5}) ?([a-z]+)")
_AS_TEXT: Final = re.compile(r"[0-9]{1,6}/[0-9]{1,5}")


class Rate(NamedTuple):
    """At most so many within a time that slides along with the clock; the number None is no limit.

    `seconds` is the length of that time.
    """

    number: int | None
    seconds: int = 0

    def to_text(self) -> str:
        """Return it as the ledger reads it."""
        return "off" if self.number is None else f"{self.number}/{self.seconds}"


def is_limit(text: str) -> bool:
    """Whether the ledger reads a limit in a text."""
    return text == "off" or _AS_TEXT.fullmatch(text) is not None


def _rate(value: object) -> Rate:
    if isinstance(value, Rate):
        return value
    if value == "off":
        return Rate(None)
    match = _LIMIT.fullmatch(value) if isinstance(value, str) else None
    if match and (unit := _SECONDS.get(match[3])):
        rate = Rate(int(match[1]), int(match[2] or 1) * unit)
        if 1 <= (rate.number or 0) <= MAX_NUMBER and 1 <= rate.seconds <= MAX_SECONDS:
            return rate
    raise refusal("limit")


Limit = Annotated[Rate, BeforeValidator(_rate)]

LIMIT_OF_CALL: Final = Rate(5, 600)
"""The one that holds where nobody has set any: ledger/scripts/frame/limits.lua has it as well."""


class Limits(ContractModel):
    """The table ``[limits]``.

    Attributes:
        all: Of all transfers together.
        call: Of each call.
        endpoints: Of those to addresses that have no name, all together.
        pipeline: Of whole pipelines, all together.
        requester: Of each who asks: the key that has signed, else `requested_by`. Who says neither has none.
    """

    all: Limit | None = None
    call: Limit = LIMIT_OF_CALL
    endpoints: Limit | None = None
    pipeline: Limit | None = None
    requester: Limit | None = None

    def by_name(self) -> dict[str, Rate]:
        """Return those that are set, by the ledger's names for them."""
        unnamed = {f"destination:{name}": getattr(self, name) for name in ("endpoints", "pipeline")}
        found = {"call": self.call, "requester": self.requester, "all": self.all, **unnamed}
        return {name: rate for name, rate in found.items() if rate}
