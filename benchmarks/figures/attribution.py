"""What was asked of Redis, by MONITOR's lines: commands, and scripts by their names."""

from collections.abc import Iterable
from functools import cache
from importlib.resources import files
from typing import NamedTuple

from transfer_tasks.ledger.script import load_script


class Asked(NamedTuple):
    """A script or a command from outside, and how many commands it carried out in Lua."""

    name: str
    in_lua: int


def attribute(lines: Iterable[tuple[str, str, str]]) -> list[Asked]:
    """Return what was asked for, in order, from MONITOR's (source, command, first argument).

    Redis does one thing at a time: what is done in Lua belongs to the script that was named last.
    """
    asked: list[Asked] = []
    for source, command, argument in lines:
        if source == "lua":
            if asked:  # else its script was named before anybody listened
                asked[-1] = asked[-1]._replace(in_lua=asked[-1].in_lua + 1)
        else:
            asked.append(Asked(name_of(command, argument), 0))
    return asked


def name_of(command: str, argument: str) -> str:
    """Return the name of the script that an EVALSHA names; else the command's own."""
    return _names_by_sha().get(argument, command) if command == "EVALSHA" else command


@cache
def _names_by_sha() -> dict[str, str]:
    names = [
        file.name.removesuffix(".lua")
        for file in (files("transfer_tasks.ledger") / "scripts").iterdir()
        if file.name.endswith(".lua")
    ]
    return {load_script(name).sha: f"{name}.lua" for name in names}
