"""What workers of one queue must have alike, as digests that heartbeats carry: who differs is seen.

A digest has 32 bits: enough to differ, too little to find out a number or a secret by trying.
"""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any, Final

from pydantic import SecretStr
from pydantic_core import to_jsonable_python

from transfer_tasks.settings import name_variable

if TYPE_CHECKING:
    from transfer_tasks.registry.destinations import DestinationRegistry
    from transfer_worker.settings import WorkerSettings

DIGEST_BYTES: Final = 4
SLOWED_BY: Final = 30_000
"""Rounds for a secret: 10 ms at a worker's start, and as much for each try of whoever reads Redis."""

EACH_ITS_OWN: Final = frozenset(
    {
        "audit_file",
        "concurrency",
        "destinations_file",
        "log_level",
        "processes",
        "publish_budget_seconds",
        "redis_never_evicts",
        "redis_url",
        "signing_key",
    }
)
"""Settings that change nothing of what becomes of a request. Of the registry, its content is compared."""


def digest_settings(settings: WorkerSettings) -> dict[str, str]:
    """Return a digest of each setting that is not as by default, by its variable."""
    return {
        name_variable(type(settings), name): _digest(name, value)
        for name, field in type(settings).model_fields.items()
        if name not in EACH_ITS_OWN and (value := getattr(settings, name)) != field.get_default()
    }


def digest_registry(registry: DestinationRegistry) -> str:
    """Return one digest of what a registry says; its order, its comments and its path don't count."""
    names = {name: entry.model_dump(mode="json") for name, entry in registry.items()}
    return _digest("registry", {"names": names, "limits": registry.list_limits()})


def _digest(name: str, value: Any) -> str:
    if isinstance(value, SecretStr):
        secret = value.get_secret_value().encode()
        return hashlib.pbkdf2_hmac("sha256", secret, name.encode(), SLOWED_BY, DIGEST_BYTES).hex()
    text = json.dumps(to_jsonable_python(value), sort_keys=True)
    return hashlib.blake2b(text.encode(), digest_size=DIGEST_BYTES).hexdigest()
