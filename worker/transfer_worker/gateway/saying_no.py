"""The signs by which the body of a 2xx says no. A closed list: what is not on it is no sign."""

from __future__ import annotations

from http import HTTPStatus


def says_no(value: object) -> bool:
    """Return whether an answer's JSON value says that the request failed."""
    return isinstance(value, dict) and (
        value.get("success") is False
        or bool(value.get("error"))
        or value.get("status") == "failed"
        or bool(_codes_of(value))
    )


def find_fault(value: object) -> int | None:
    """Return the code, 400 to 499, by which an answer's JSON value says that the request itself was wrong.

    None where it says something else, also where it says both: a timeout (408) is nobody's fault.
    """
    codes = _codes_of(value) if isinstance(value, dict) else []
    is_fault = codes and all(400 <= code < 500 and code != HTTPStatus.REQUEST_TIMEOUT for code in codes)
    return round(codes[0]) if is_fault else None


def _codes_of(fields: dict[str, object]) -> list[float]:
    """Return the numbers under `code` and `status` that are an error's. JSON's true is not a number."""
    found = (fields.get(name) for name in ("code", "status"))
    return [
        code for code in found if isinstance(code, int | float) and not isinstance(code, bool) and code >= 400
    ]
