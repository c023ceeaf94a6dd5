"""From the address in the settings to what Celery is told of its broker."""

from __future__ import annotations

import ssl
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from kombu.utils.url import as_url, parse_url

from transfer_tasks.redis.sentinel import make_sentinel_options
from transfer_tasks.redis.sentinel_url import SentinelUrl, is_sentinel_url

ANSWER_WITHIN_SECONDS: Final = 2.0
"""How long Redis, or the Sentinels together, may take; the worker reads its queue by itself meanwhile."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BrokerAddress:
    """What Celery is told.

    Attributes:
        url: As kombu writes it; holds passwords.
        transport: Ours, with the guard.
        use_ssl: Celery's `broker_use_ssl`; False without TLS. By itself, kombu 5.7.0 would speak plainly to a
            ``rediss://`` address whose transport is given.
        transport_options: What this transport needs besides.
    """

    url: str
    transport: str
    use_ssl: dict[str, Any] | Literal[False]
    transport_options: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, text: str) -> BrokerAddress:
        """Return what Celery is told of an address that the settings have taken."""
        if is_sentinel_url(text):
            return cls._of_sentinels(SentinelUrl.parse(text))
        use_ssl: dict[str, Any] | Literal[False] = False
        if text.startswith("rediss://"):
            use_ssl = {"ssl_cert_reqs": ssl.CERT_REQUIRED} | parse_url(text).get("ssl", {})
        return cls(url=text, transport="transfer_worker.queue.transport:GuardedTransport", use_ssl=use_ssl)

    @classmethod
    def _of_sentinels(cls, url: SentinelUrl) -> BrokerAddress:
        return cls(
            url=";".join(_as_url(url, host, port) for host, port in url.sentinels),
            transport="transfer_worker.queue.transport:GuardedSentinelTransport",
            use_ssl=dict(url.tls_options) or False,  # Flower 2.2.0 takes an empty one for TLS
            transport_options={
                "master_name": url.master_name,
                "sentinel_kwargs": make_sentinel_options(url, ANSWER_WITHIN_SECONDS),
            },
        )


def _as_url(url: SentinelUrl, host: str, port: int) -> str:
    """Return one Sentinel as kombu reads it; kombu 5.7.0 quotes an IPv6 host."""
    text: str = as_url("sentinel", "HOST", port, url.username or "", url.password or "", str(url.database))
    before, _, after = text.rpartition("HOST")
    return f"{before}{bracket(host)}{after}"


def bracket(host: str) -> str:
    """Return a host as URLs write it."""
    return f"[{host}]" if ":" in host else host
