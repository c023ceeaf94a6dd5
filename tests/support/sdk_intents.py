"""Parts of requests as the SDK's validator wants them."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

CALL_ID = "6f1c1f0e-5b0a-4d4e-9a51-0c9d6a3c2b11"


CALLER_ID = "12025550100"


def action(name: str, required: dict[str, Any] | None = None, **fields: Any) -> Any:
    return st.fixed_dictionaries({"action": st.just(name), **(required or {})}, optional=fields)
