"""``sentinel://`` addresses: which Sentinels to ask for which primary, and what its replicas must have.

::

    sentinel://user:password@one:26379,two:26379,three:26379/0?master_name=mymaster&replicas=1

User, password and database are those of Redis. ``sentinels://`` speaks TLS, to the Sentinels and to Redis.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final
from urllib.parse import parse_qsl, unquote, urlsplit

SCHEMES: Final = ("sentinel", "sentinels")
DEFAULT_PORT: Final = 26379
EXAMPLE: Final = "sentinel://:password@one:26379,two:26379,three:26379/0?master_name=mymaster"

# RFC 3986, appendix B. `urlsplit` takes one host: of several, it refuses an IPv6 one that is not the first.
_PARTS: Final = re.compile(
    r"(?P<scheme>[^:/?#]+)://(?P<authority>[^/?#]*)(?P<path>[^?#]*)(?:\?(?P<query>[^#]*))?"
)

_OPTIONS: Final = ("master_name", "replicas", "sentinel_password", "sentinel_username", "ssl_ca_certs")
_MAX_REPLICAS: Final = 10
_MAX_PORT: Final = 65535


class WrongUrl(ValueError):
    """The address can't be used; the text names the part and the fix, and shows no value."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SentinelUrl:
    """An address whose primary the Sentinels name.

    Attributes:
        sentinels: Host and port of each.
        master_name: What the Sentinels call the primary and its replicas.
        database: Redis's database number.
        username: Redis's; as the password.
        sentinel_username: The Sentinels' own, if they ask for one; as the password.
        replicas: How many replicas must have a ledger step before it counts; 0 for none.
        is_tls: Whether Sentinels and Redis are spoken to by TLS.
        ca_file: The certificate authority to trust, instead of the system's.
    """

    sentinels: tuple[tuple[str, int], ...]
    master_name: str
    database: int
    username: str | None
    password: str | None = field(repr=False)
    sentinel_username: str | None
    sentinel_password: str | None = field(repr=False)
    replicas: int
    is_tls: bool
    ca_file: str | None

    @property
    def tls_options(self) -> dict[str, str]:
        """What redis-py's and kombu's TLS connections are told; empty without TLS."""
        return make_tls_options(self.ca_file) if self.is_tls else {}

    @classmethod
    def parse(cls, text: str) -> SentinelUrl:
        """Read an address.

        Raises:
            WrongUrl: It can't be used.
        """
        parts = _PARTS.match(text)
        if parts is None:
            raise WrongUrl(f"write it like {EXAMPLE}")
        options = _read_options(parts["query"] or "")
        login, _, hosts = parts["authority"].rpartition("@")
        username, _, password = login.partition(":")
        if not options.get("master_name"):
            raise WrongUrl("master_name is missing: add ?master_name= and the name in `sentinel monitor`")
        database = parts["path"].removeprefix("/") or "0"
        if not database.isdecimal():
            raise WrongUrl("the database must be a number, as in /0?master_name=…")
        is_tls = parts["scheme"] == "sentinels"
        if "ssl_ca_certs" in options and not is_tls:
            raise WrongUrl("ssl_ca_certs is for TLS only: write sentinels:// instead of sentinel://")
        check_ca_file(options.get("ssl_ca_certs"))
        return cls(
            sentinels=tuple(_read_host(host) for host in hosts.split(",")),
            master_name=options["master_name"],
            database=int(database),
            username=unquote(username) or None,
            password=unquote(password) or None,
            sentinel_username=options.get("sentinel_username"),
            sentinel_password=options.get("sentinel_password"),
            replicas=_read_replicas(options.get("replicas", "1")),
            is_tls=is_tls,
            ca_file=options.get("ssl_ca_certs"),
        )


def is_sentinel_url(text: str) -> bool:
    """Say whether an address is one of Sentinels; it need not be right."""
    return text.partition("://")[0] in SCHEMES


def make_tls_options(ca_file: str | None) -> dict[str, str]:
    """Return what redis-py's and kombu's TLS connections are told."""
    return {"ssl_cert_reqs": "required"} | ({"ssl_ca_certs": ca_file} if ca_file else {})


def check_ca_file(ca_file: str | None) -> None:
    """Look whether a certificate authority's file is there; without it, connections fail and say less.

    Raises:
        WrongUrl: It is not.
    """
    if ca_file is not None and not Path(ca_file).is_file():
        raise WrongUrl("ssl_ca_certs names no file: give the path of the certificate authority, in PEM")


def _read_options(query: str) -> dict[str, str]:
    options = dict(parse_qsl(query, keep_blank_values=True))
    if unknown := sorted(options.keys() - set(_OPTIONS)):
        raise WrongUrl(f"{unknown[0][:40]} is not an option here; there are {', '.join(_OPTIONS)}")
    return options


def _read_host(text: str) -> tuple[str, int]:
    try:
        url = urlsplit(f"//{text}")
        port = DEFAULT_PORT if url.port is None else url.port
    except ValueError:
        port = 0
    if not 0 < port <= _MAX_PORT or not url.hostname:
        raise WrongUrl("each Sentinel is a host and a port, with commas between: one:26379,two:26379")
    return url.hostname, port


def _read_replicas(text: str) -> int:
    if not text.isdecimal() or int(text) > _MAX_REPLICAS:
        raise WrongUrl(f"replicas must be a number from 0 to {_MAX_REPLICAS}: as many as the primary has")
    return int(text)
