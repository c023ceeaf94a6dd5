"""Turn what pydantic found into refusals that name the field, the masked value, the problem and the fix."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from transfer_tasks.errors import InvalidIntent
from transfer_tasks.masking import digit_of, mask_text
from transfer_tasks.refusals import REFUSALS, Refusal

if TYPE_CHECKING:
    from pydantic import ValidationError

_SHOWN_CHARACTERS: Final = 60
# What people say and what they attach is nobody's business in a log: only its length is shown.
_PRIVATE_FIELDS: Final = frozenset(
    {"reason", "requested_by", "metadata", "headers", "data", "idempotency_key", "correlation_id"}
)
_NUMBER_FIELDS: Final = frozenset({"number", "caller_id", "from"})
# pydantic puts the tag of a discriminated union into the path, behind these names and behind list indexes.
_TAGGED_FIELDS: Final = frozenset({"destination", "prompt", "no_input_prompt", "invalid_prompt", "on_result"})
_UNKNOWN: Final = Refusal("is not valid", "Compare it with docs/intent.schema.json.")


class Fault(NamedTuple):
    """One thing that is wrong with an input."""

    code: str
    field: str
    value: str
    problem: str
    fix: str


def faults(error: ValidationError, *, root: str) -> list[Fault]:
    """Return everything that pydantic found, in the order of the fields.

    Args:
        error: What pydantic raised.
        root: What to call the input as a whole.
    """
    found = []
    for line in error.errors(include_url=False):
        code, context = line["type"], line.get("ctx", {})
        path = context.get("path") or _path(line["loc"])
        value = context.get("shown") or _shown(line["input"], code=code, path=path)
        problem, fix = REFUSALS.get(code, _UNKNOWN).filled(context)
        found.append(Fault(code, path or root, value, problem, fix))
    return found


def _shown(value: object, *, code: str, path: str) -> str:
    if code == "missing":
        return "nothing"
    if code == "extra_forbidden" and isinstance(value, str):  # nobody knows what it is: it may be a secret
        return f"text of length {len(value)}"
    return mask_value(value, path=path)


def invalid_intent(error: ValidationError) -> InvalidIntent:
    """Return the refusal for the first fault."""
    _, field, value, problem, fix = faults(error, root="intent")[0]
    return InvalidIntent(field=field, value=value, problem=problem, fix=fix)


def mask_value(value: object, *, path: str = "") -> str:
    """Return a short description of a refused value that may be logged."""
    names = re.findall(r"[^.\[\]]+", path)
    match value:
        case None | bool():
            return {None: "null", True: "true", False: "false"}[value]
        case str() if _PRIVATE_FIELDS.intersection(names):
            return f"text of length {len(value)}"
        case str():
            return _mask_string(value, is_number=bool(_NUMBER_FIELDS.intersection(names[-1:])))
        case int() if value.bit_length() > 64:  # repr() refuses integers of thousands of digits
            return f"a whole number of {value.bit_length()} bits"
        case int() | float():
            return mask_text(repr(value))
        case list() | tuple():
            return f"a list of {len(value)}"
        case dict():
            return f"an object of {len(value)}"
        case _:
            return f"a Python {type(value).__name__}"


def _mask_string(text: str, *, is_number: bool) -> str:
    shown = text[: 4 * _SHOWN_CHARACTERS]
    if is_number:  # a misspelt number escapes mask_text
        last_two = [index for index, character in enumerate(shown) if digit_of(character)][-2:]
        shown = "".join("*" if digit_of(c) and i not in last_two else c for i, c in enumerate(shown))
    elif "@" in shown:
        scheme = re.match(r"[a-z]{1,8}:(?://)?", shown, re.IGNORECASE)
        shown = f"{scheme[0] if scheme else ''}***@{mask_text(shown.rpartition('@')[2])}"
    else:
        shown = mask_text(shown)
    shown = repr(shown)
    return shown if len(shown) <= _SHOWN_CHARACTERS else f"{shown[: _SHOWN_CHARACTERS - 2]}…{shown[-1]}"


def _path(location: tuple[Any, ...]) -> str:
    path = ""
    previous: Any = None
    for part in location:
        is_tag = isinstance(previous, int) or previous in _TAGGED_FIELDS
        if isinstance(part, int):
            path += f"[{part}]"
        elif is_tag or part == "[key]":
            previous = None
            continue
        else:
            name = _mask_string(str(part), is_number=False)[1:-1]
            path += f".{name}" if path else name
        previous = part
    return path
