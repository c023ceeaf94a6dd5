"""The registry of named destinations: a TOML file with one table for each name."""

import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Self

from pydantic import ValidationError

from transfer_tasks.errors import SettingsError
from transfer_tasks.intent.endpoints import Endpoints
from transfer_tasks.intent.fields import (
    ContractModel,
    DestinationName,
    Number,
    RingTimeout,
    ShortText,
    Strategy,
)
from transfer_tasks.intent.validation import faults, mask_value
from transfer_tasks.registry.limits import LIMITS_TABLE, Limit, Limits


class Destination(ContractModel):
    """Where a name leads.

    Attributes:
        name: The name that an intent gives.
        description: What the destination is for, in words that a language model can choose by.
        endpoints: Who is called; agents come last.
        caller_id: The number that the new leg shows, unless the intent names one.
        ring_timeout_sec: How long it rings, unless the intent says so.
        strategy: Whether several endpoints ring in turn or at once, unless the intent says so.
        limit: How many transfers to this name are accepted within a time.
    """

    name: DestinationName
    description: ShortText
    endpoints: Endpoints
    caller_id: Number | None = None
    ring_timeout_sec: RingTimeout | None = None
    strategy: Strategy | None = None
    limit: Limit | None = None


class DestinationRegistry(Mapping[str, Destination]):
    """The named destinations, in the order of the file.

    Attributes:
        limits: The table ``[limits]``: what holds beside each destination's own limit.
    """

    def __init__(self, destinations: Mapping[str, Destination], limits: Limits | None = None) -> None:
        self._destinations = dict(destinations)
        self.limits = limits or Limits()

    def list_limits(self) -> dict[str, str]:
        """Return every limit on rate as the ledger keeps it: see ledger/scripts/frame/limits.lua."""
        own = {f"destination:{name}": of.limit for name, of in self.items() if of.limit}
        return {name: limit.to_text() for name, limit in (self.limits.by_name() | own).items()}

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read a registry file.

        Raises:
            SettingsError: The file can't be read or holds mistakes; every one of them is listed.
        """
        try:
            tables = tomllib.loads(path.read_text(encoding="utf-8"))
        except OSError as error:
            raise SettingsError([f"{path}: can't be read: {error.strerror}"]) from error
        except UnicodeDecodeError as error:
            raise SettingsError([f"{path}: is not written in UTF-8"]) from error
        except (tomllib.TOMLDecodeError, RecursionError) as error:
            raise SettingsError([f"{path}: is not TOML: {error}"]) from error
        destinations: dict[str, Destination] = {}
        problems: list[str] = []
        limits = Limits()
        for name, table in tables.items():
            if isinstance(table, dict) and "name" in table:
                problems.append(
                    f"{path}: [{mask_value(name)[1:-1]}] name: is the table's own name. Remove it."
                )
            try:
                if name == LIMITS_TABLE:
                    limits = Limits.model_validate(table)
                else:
                    destinations[name] = _destination(name, table)
            except ValidationError as error:
                problems += [
                    f"{path}: [{mask_value(name)[1:-1]}] {fault.field}: "
                    f"{fault.problem} (got {fault.value}). {fault.fix}"
                    for fault in faults(error, root="table")
                ]
        if not tables.keys() - {LIMITS_TABLE}:
            problems.append(f"{path}: names no destination. Add a table like [support].")
        if problems:
            raise SettingsError(problems)
        return cls(destinations, limits)

    def __getitem__(self, name: str) -> Destination:
        return self._destinations[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._destinations)

    def __len__(self) -> int:
        return len(self._destinations)


def _destination(name: str, table: object) -> Destination:
    return Destination.model_validate({**table, "name": name} if isinstance(table, dict) else table)
