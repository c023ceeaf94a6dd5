"""Hosts that no URL may lead to: private, loopback, link-local and metadata ones, in every spelling."""

from __future__ import annotations

import socket
import unicodedata
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address
from typing import TYPE_CHECKING, Final
from urllib.parse import unquote

if TYPE_CHECKING:
    from collections.abc import Iterator

# RFC 6761 (localhost), RFC 6762 (local), ICANN 2024 (internal), RFC 8375 (home.arpa); sites' own habits.
# The clouds' metadata names are among them: metadata.google.internal, instance-data.ec2.internal.
_INTERNAL_DOMAINS: Final = ("localhost", "local", "internal", "localdomain", "home.arpa", "intranet", "lan")
# Azure's own services; public by its number: learn.microsoft.com, "What is IP address 168.63.129.16?"
_METADATA: Final = frozenset({IPv4Address("168.63.129.16")})
_IPV4_INSIDE: Final = (
    IPv6Network("64:ff9b::/96"),
    IPv6Network("::/96"),
)  # RFC 6052 (NAT64), RFC 4291, 2.5.5.1
_OTHER_DOTS: Final = str.maketrans({"\u3002": "."})  # NFKC knows the others; RFC 3490, 3.1 has all of them


def is_internal_host(host: str) -> bool:
    """Whether a host, as a URL has it, is none that the whole Internet can reach.

    Every spelling counts that some client reads: percent signs, full-width letters, other dots, a dot at the
    end, addresses with octal, hexadecimal or too few numbers, IPv4 inside of IPv6. Which public name is
    resolved to a private address, no spelling tells.
    """
    name = unicodedata.normalize("NFKC", unquote(host)).translate(_OTHER_DOTS).casefold().rstrip(".")
    address = _read_address(name)
    if address is not None:
        return not _is_public(address)
    return "." not in name or name.endswith(tuple(f".{domain}" for domain in _INTERNAL_DOMAINS))


def _read_address(name: str) -> IPv4Address | IPv6Address | None:
    try:
        return ip_address(name.strip("[]").partition("%")[0])
    except ValueError:
        pass
    try:
        return IPv4Address(socket.inet_aton(name))  # 127.1, 0x7f000001, 2130706433, 0177.0.0.1
    except (OSError, UnicodeError, ValueError):
        return None


def _is_public(address: IPv4Address | IPv6Address) -> bool:
    if isinstance(address, IPv4Address):
        return address.is_global and not address.is_multicast and address not in _METADATA
    inside = list(_addresses_inside(address))
    if inside:
        return all(map(_is_public, inside))
    return address.is_global and not address.is_multicast


def _addresses_inside(address: IPv6Address) -> Iterator[IPv4Address]:
    for found in (address.ipv4_mapped, address.sixtofour, *(address.teredo or ())):
        if found is not None:
            yield found
    if any(address in network for network in _IPV4_INSIDE):
        yield IPv4Address(int(address) & 0xFFFFFFFF)
