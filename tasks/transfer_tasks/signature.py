"""Who asks: HMAC-SHA256 over an intent's text, byte for byte, by a key that has a name."""

from __future__ import annotations

import hmac
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping

MIN_SECRET_LENGTH: Final = 32
"""A secret that can be guessed is none: whoever has one signed intent can try as fast as a machine can."""

_KEY: Final = re.compile(
    r"(?P<id>[A-Za-z][A-Za-z0-9_.-]{0,63}):(?P<secret>[A-Za-z0-9_.~+/=-]+)(?:\[(?P<names>[^\[\]]*)\])?"
)
_NAME: Final = re.compile(r"[a-z][a-z0-9_-]{0,63}")
_BETWEEN: Final = re.compile(r"\s*(?:,\s*|\Z)")
_MAX_DIGITS: Final = 6
"""With more, the id would be masked wherever it is shown: it may be a phone number."""


class WrongKey(ValueError):
    """A key that can't be used; the text says why, and shows no secret."""


class SignatureInvalid(Exception):
    """Nobody with a key has asked for this; the text says what is wrong, and shows no secret."""


class Written(NamedTuple):
    """An intent as its publisher wrote it.

    Attributes:
        text: JSON, carried on unchanged: the signature is over its bytes.
        signature: ``<key id>:<HMAC-SHA256 in hex>``, or an empty text.
    """

    text: str
    signature: str = ""

    @property
    def key_id(self) -> str:
        """Who has signed, as the signature says; nobody has verified it."""
        return self.signature.partition(":")[0]


NOTHING_WRITTEN: Final = Written("")


@dataclass(frozen=True, slots=True)
class Key:
    """A publisher's key, or one of the audit file.

    Attributes:
        id: Its name: who asks.
        secret: What signs and verifies.
        names: The only destinations that it may ask for; empty for any destination that the rules allow.
    """

    id: str
    secret: str = field(repr=False)
    names: frozenset[str] = frozenset()

    def sign(self, text: str) -> Written:
        """Return the text with its signature."""
        return Written(text, f"{self.id}:{self._digest(text)}")

    def has_signed(self, written: Written) -> bool:
        """Whether the signature is this key's, over this text."""
        given = written.signature.partition(":")[2]
        return given.isascii() and hmac.compare_digest(given, self._digest(written.text))

    def _digest(self, text: str) -> str:
        # What is no text for UTF-8 (a lone surrogate) is none that a publisher has signed: no error of ours.
        return hmac.digest(self.secret.encode(), text.encode(errors="surrogatepass"), "sha256").hex()


def parse_signing_key(text: str) -> Key:
    """Return the key that ``<key id>:<secret>`` describes.

    Raises:
        WrongKey: It describes none.
    """
    match = _KEY.fullmatch(text)
    if not match or match["names"] is not None:
        raise WrongKey("write it like voice:SECRET, with a secret of letters, digits and _.~+/=-")
    return _make_key(match)


def parse_verify_keys(text: str) -> dict[str, Key]:
    """Return the keys, by their ids, that ``voice:SECRET, crm:SECRET[support, billing]`` describes.

    Raises:
        WrongKey: It describes none, or two that can't be told apart.
    """
    return _parse_keys(text, form="voice:SECRET,crm:SECRET[support,billing]")


def parse_audit_keys(text: str) -> dict[str, Key]:
    """Return the keys of the audit file, by their ids, that ``audit-2:SECRET, audit-1:SECRET`` describes.

    The first one seals new lines; the others sealed those that are still kept.

    Raises:
        WrongKey: It describes none, or two that can't be told apart.
    """
    form = "audit-2:SECRET,audit-1:SECRET"
    keys = _parse_keys(text, form=form)
    if any(key.names for key in keys.values()):
        raise WrongKey(f"write it like {form}; no names belong to it")
    return keys


def _parse_keys(text: str, *, form: str) -> dict[str, Key]:
    keys: dict[str, Key] = {}
    text, at = text.strip(), 0
    while at < len(text) or not keys:
        match = _KEY.match(text, at)
        rest = _BETWEEN.match(text, match.end()) if match else None
        if not match or not rest:
            raise WrongKey(f"write it like {form}")
        key = _make_key(match)
        if key.id in keys:
            raise WrongKey(f"the key id {key.id} is there twice; old and new keys have ids of their own")
        if any(hmac.compare_digest(key.secret, other.secret) for other in keys.values()):
            raise WrongKey(f"the key {key.id} has another key's secret, so nobody could tell who asks")
        keys[key.id] = key
        at = rest.end()
    return keys


def _make_key(match: re.Match[str]) -> Key:
    key_id, secret = match["id"], match["secret"]
    if sum(map(str.isdigit, key_id)) > _MAX_DIGITS:
        raise WrongKey(f"a key id has {_MAX_DIGITS} digits at most: with more it would be masked as a number")
    if len(secret) < MIN_SECRET_LENGTH:
        raise WrongKey(
            f"the secret of {key_id} is shorter than {MIN_SECRET_LENGTH} characters; make one with "
            'python3 -c "import secrets; print(secrets.token_urlsafe(32))"'
        )
    if match["names"] is None:
        return Key(key_id, secret)
    names = frozenset(name.strip() for name in match["names"].split(","))
    if wrong := [name for name in names if not _NAME.fullmatch(name)]:
        raise WrongKey(f"{key_id}: {min(wrong)!r} is no destination's name")
    return Key(key_id, secret, names)


def verify(written: Written, keys: Mapping[str, Key]) -> Key:
    """Return the key that has signed.

    Raises:
        SignatureInvalid: None of these has.
    """
    if not written.signature:
        raise SignatureInvalid("signature: the request is not signed")
    key = keys.get(written.key_id)
    if key is None:
        raise SignatureInvalid("signature: its key is none of TRANSFER_VERIFY_KEYS")
    if not key.has_signed(written):
        raise SignatureInvalid(f"signature: the request is not what the key {key.id} has signed")
    return key
