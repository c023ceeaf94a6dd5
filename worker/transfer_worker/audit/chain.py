"""The chain of an audit file: each line vouches for itself and for every line before it.

A line as it stands in the file, its seal last::

    {"timestamp": ..., "event": ..., "chain": "transfers@host/7-a1b2c3/1", "seq": 7, "key": "k1", "mac": ...}
    |<--------------- the MAC is over these bytes, and the MAC of the line before ---------->|

The MAC is HMAC-SHA256 with the key, cut to 128 bits. Without a key it is plain SHA-256: who edits a line
must then make all that follow anew, and is found by the head that the ledger keeps.

A chain belongs to one process. It ends with the process, and where the file refused a batch: of such a batch
the file may hold a part, so it is written anew, whole, in the next chain. So no chain has a line twice. Its
first line in each file repeats the MAC `before` it, so that it can be judged when older files are gone.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import re
from binascii import unhexlify
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final, NamedTuple, cast

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from transfer_tasks.signature import Key

MAC_BYTES: Final = 16
MAX_TORN_BYTES: Final = 1 << 20
"""How far back a line looks for what stands unfinished before it."""
MAX_NAME_LENGTH: Final = 400
NOTHING_BEFORE: Final = bytes(MAC_BYTES)
"""Stands for the MAC before a chain's first line."""

_SEAL_NAMES: Final = frozenset({"chain", "seq", "before", "torn", "key", "mac"})
"""What a forged entry of the outbox brings by these names is left out."""

_SEAL_BEGINS: Final = b', "chain": "'
_MAC_BEGINS: Final = b', "mac": "'
_SEAL: Final = re.compile(
    rb', "chain": ("(?:[^"\\]|\\.)+"), "seq": ([1-9][0-9]{0,17})'
    rb'(?:, "before": "([0-9a-f]{32})")?(?:, "torn": "([0-9]{1,9}:[0-9a-f]{32})")?'
    rb'(?:, "key": "([A-Za-z][A-Za-z0-9_.-]{0,63})")?, "mac": "([0-9a-f]{32})"\}\n'
)


class Head(NamedTuple):
    """The last line of a chain that the file took.

    Attributes:
        at: When it happened, as its timestamp says.
    """

    chain: str
    seq: int
    mac: bytes
    at: str


class Seal(NamedTuple):
    """What a line of a file says of its place in a chain.

    Attributes:
        before: The MAC of the line before it, where it says so: it was the chain's first in its file.
        torn: Names what stands unfinished right before it, back to the last sealed line; see `describe_torn`.
        covered: The bytes that the MAC is over.
    """

    chain: str
    seq: int
    before: bytes | None
    torn: str
    key_id: str
    mac: bytes
    covered: bytes


def compute_mac(secret: bytes | None, before: bytes, covered: bytes) -> bytes:
    """Return the MAC of a line.

    Args:
        secret: The operator's; None for a plain chain.
        before: The MAC of the line before it.
        covered: The line, up to its own MAC.
    """
    if secret is None:
        return hashlib.sha256(before + covered).digest()[:MAC_BYTES]
    return hmac.digest(secret, before + covered, "sha256")[:MAC_BYTES]


def read_seal(line: bytes) -> Seal | None:
    """Return the seal of a line, which ends with its line break; None for one that has none."""
    found = _SEAL.fullmatch(line, max(0, line.rfind(_SEAL_BEGINS)))
    if found is None:
        return None
    chain, seq, before, torn, key_id, mac = found.groups()
    name = _read_name(chain)
    if name is None:
        return None
    return Seal(
        chain=name,
        seq=int(seq),
        before=unhexlify(before) if before else None,
        torn=torn.decode() if torn else "",
        key_id=key_id.decode() if key_id else "",
        mac=unhexlify(mac),
        covered=line[: found.start(6) - len(_MAC_BEGINS)],
    )


@lru_cache(maxsize=1000)
def _read_name(chain: bytes) -> str | None:
    """Return a chain's name; None for what no worker is called: it is shown to people at a terminal."""
    try:
        name = cast("str", json.loads(chain))
    except ValueError:
        return None
    return name if name.isprintable() and len(name) <= MAX_NAME_LENGTH else None


def find_torn(text: bytes) -> bytes | None:
    """Return what stands behind the last sealed line of a text; None where it has no sealed line.

    Mostly that is nothing. Where writes were cut, by a full disk or kill -9, it is a line or more.
    """
    end = len(text)
    while end > 0:
        start = text.rfind(b"\n", 0, end - 1) + 1
        if read_seal(text[start:end].removesuffix(b"\n") + b"\n"):
            return text[end:]
        end = start
    return None


def describe_torn(left: bytes) -> str:
    """Return how a sealed line names what is unfinished before it: a size, and a digest."""
    left = left.removesuffix(b"\n") + b"\n"
    return f"{len(left)}:{hashlib.sha256(left).digest()[:MAC_BYTES].hex()}"


class Chain:
    """Seals the lines of one process.

    Args:
        writer: The process, by a name that no other has or had.
        key: The operator's; None for a plain chain.
    """

    def __init__(self, writer: str, *, key: Key | None = None) -> None:
        self._writer, self._key, self._number = writer, key, 0
        self._secret = key.secret.encode() if key else None
        self.begin_anew()

    @property
    def head(self) -> Head:
        """The last line that `advance` was told of; `seq` is 0 before the first. Any thread may ask."""
        return self._head

    def begin_anew(self) -> None:
        """End the chain: the file may hold a part of what it refused."""
        self._number += 1
        self._head = Head(f"{self._writer}/{self._number}", 0, NOTHING_BEFORE, "")

    def seal(
        self, lines: Sequence[Mapping[str, Any]], *, is_new_file: bool = False, torn: bytes = b""
    ) -> tuple[bytes, Head]:
        """Return the lines as they go into the file, and what the head is once they are there.

        Args:
            lines: In their order, at least one.
            is_new_file: Whether the line before them is in another file.
            torn: What stands unfinished at the end of the file; see `find_torn`.
        """
        chain, seq, mac, _ = self._head
        sealed: list[bytes] = []
        for line in lines:
            seq += 1
            seal: dict[str, Any] = {"chain": chain, "seq": seq}
            if is_new_file and seq > 1 and not sealed:
                seal["before"] = mac.hex()
            if torn and not sealed:
                seal["torn"] = describe_torn(torn)
            if self._key:
                seal["key"] = self._key.id
            told = {name: value for name, value in line.items() if name not in _SEAL_NAMES}
            covered = json.dumps(told | seal)[:-1].encode()
            mac = compute_mac(self._secret, mac, covered)
            sealed.append(b'%b%b%b"}\n' % (covered, _MAC_BEGINS, mac.hex().encode()))
        return b"".join(sealed), Head(chain, seq, mac, str(lines[-1].get("timestamp", "")))

    def advance(self, head: Head) -> None:
        """Go on from this line: the file has taken it."""
        self._head = head
