"""A Lua script as Python sees it: its source, its digest, and the names of its arguments."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache, cached_property
from hashlib import sha1
from importlib.resources import files
from typing import TYPE_CHECKING, Any, Final, Generic, NamedTuple, TypeVar

from transfer_tasks.errors import LedgerUnavailable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

T = TypeVar("T")

_OF_SOME: Final = {
    "limits": frozenset({"accept", "claim"}),
    "connections": frozenset({"report_connection", "end_attempt", "recover", "take_poll"}),
    "compaction": frozenset({"recover"}),
}
"""Which steps need which part that not all do: who reads one that it doesn't need pays for it."""

_OF_EVERY_TRANSFER: Final = frozenset({"accept", "claim", "end_attempt"})
"""The steps whose usual case is written out, in `usual/`."""

_FIRST_STATEMENT: Final = re.compile(r"^local ([\w,\s]+) = unpack\(ARGV, 3\)$", re.MULTILINE)


@dataclass(frozen=True)
class Script:
    """One Lua script: what all have in front, the step itself, and what carries out what it has collected."""

    name: str
    source: str

    @cached_property
    def sha(self) -> str:
        """The digest by which Redis knows it."""
        return sha1(self.source.encode(), usedforsecurity=False).hexdigest()

    @cached_property
    def arguments(self) -> tuple[str, ...]:
        """The names of what it takes, in their order: those of its first statement."""
        first = _FIRST_STATEMENT.search(self.source)
        return tuple(first[1].replace(",", " ").split()) if first else ()

    def order(self, arguments: dict[str, str | int]) -> Iterator[str | int]:
        """Return what is given by name in the order of the script.

        Raises:
            TypeError: One is missing, or one too many.
        """
        if arguments.keys() != set(self.arguments):
            wrong = sorted(arguments.keys() ^ set(self.arguments))
            raise TypeError(f"{self.name}.lua takes {', '.join(self.arguments)}; wrong: {', '.join(wrong)}")
        return (arguments[name] for name in self.arguments)


@cache
def load_script(name: str) -> Script:
    """Return the script `scripts/<name>.lua`."""
    return Script(name, _read("frame/start") + _usual_case(name) + _whole_step(name))


def _whole_step(name: str) -> str:
    own = [part for part, steps in _OF_SOME.items() if name in steps]
    before = _read(*(f"frame/{part}" for part in ("names", "counters", "prelude", "damaged", *own)))
    return f"{before}\nlocal function step()\n{_read(name)}\nend\n{_read('frame/finish')}"


def _usual_case(name: str) -> str:
    """Return what answers where all is as usual; an empty text for a step that has no such case."""
    if name not in _OF_EVERY_TRANSFER:
        return "\nlocal DONE\n"
    step = _read("usual/guards", f"usual/{name}")
    return f"""
local DONE
do
{step}
DONE = take_usual_step()
if DONE and not (NEW_COUNTER or ARE_MANY_UNCOUNTED) then return DONE end
end
"""


def _read(*parts: str) -> str:
    folder = files("transfer_tasks.ledger") / "scripts"
    return "".join((folder / f"{part}.lua").read_text("utf-8") for part in parts)


class Command(NamedTuple, Generic[T]):
    """One step: run `script` with `arguments`, then `parse` its reply."""

    script: Script
    arguments: tuple[str | int, ...]
    parse: Callable[[Any], T]

    def read(self, reply: Any) -> T:
        """Return what a reply says.

        Raises:
            LedgerUnavailable: It can't be read: a record is damaged, or was written by a newer version.
        """
        try:
            return self.parse(reply)
        except (ValueError, TypeError, LookupError, AttributeError) as error:
            raise LedgerUnavailable(
                f"{self.script.name}: the reply can't be read ({type(error).__name__})"
            ) from error
