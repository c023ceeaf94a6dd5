"""Which files and URLs a request may name."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Final

from transfer_tasks.addresses import is_host
from transfer_tasks.rules.internal_hosts import is_internal_host

_FILE: Final = re.compile(r"[A-Za-z0-9_\-][A-Za-z0-9_\-. ]*(/[A-Za-z0-9_\-][A-Za-z0-9_\-. ]*)*", re.ASCII)
_SOUND_ENDINGS: Final = (".mp3", ".wav")  # piopiy 1.2.2 knows no other format
# ASCII alone: with Unicode, IGNORECASE takes the Kelvin sign for a k.
_PLAIN_URL: Final = re.compile(r"https://(?P<host>[a-z0-9.\-]+)(/[!-\[\]-~]*)?", re.IGNORECASE | re.ASCII)
# What some client takes for a URL, and how it finds the host in it.
_ANY_URL: Final = re.compile(r"\s*(?:[a-z][a-z0-9+.\-]*:[/\\]*|[/\\]{2,})", re.IGNORECASE)
_AUTHORITY: Final = re.compile(r"[^/\\?#]*")
_PORT: Final = re.compile(r":[^:\]]*$")

_SETTING: Final = "TRANSFER_ALLOW_MEDIA"


@dataclass(frozen=True, slots=True)
class MediaRules:
    """The files and hosts that are allowed; by default there are none.

    Attributes:
        files: Names of files at Piopiy, each as it is written.
        hosts: Of URLs, which are https:// and have no port and no login.
    """

    files: frozenset[str] = field(default_factory=frozenset)
    hosts: frozenset[str] = field(default_factory=frozenset)

    @classmethod
    def parse(cls, text: str) -> MediaRules:
        """Read ``hold.wav, media.example.com``: what ends in .mp3 or .wav, or has no dot, is a file.

        Raises:
            ValueError: An item is neither a file nor a host that may ever be allowed.
        """
        files, hosts = set(), set()
        for position, item in enumerate((part.strip() for part in text.split(",")), start=1):
            is_file = "." not in item or item.lower().endswith(_SOUND_ENDINGS)
            if not item:
                continue
            if is_file and _FILE.fullmatch(item):
                files.add(item)
            elif not is_file and is_host(item.lower()) and not is_internal_host(item):
                hosts.add(item.lower())
            else:
                # What can never match is a mistake. It is not shown: a pasted URL may hold a login.
                raise ValueError(
                    f"item {position} is neither the name of a file (hold.wav) nor a host that everybody can "
                    "reach (media.example.com, without https:// and port)"
                )
        return cls(frozenset(files), frozenset(hosts))

    def find_fault(self, text: str) -> tuple[str, str] | None:
        """Return what is wrong with a file's name or a URL, and the fix; None if it is allowed."""
        if text in self.files:
            return None
        scheme = _ANY_URL.match(text)
        if scheme is None:
            return "is a file that is not allowed", f"Leave it out, or name the file in {_SETTING}."
        if is_internal_host(_read_host(text[scheme.end() :])):
            return (
                "leads to this machine, or to a private, link-local or metadata address",
                "Use a host that everybody can reach: no setting allows these.",
            )
        plain = _PLAIN_URL.fullmatch(text)
        if plain and plain["host"].lower() in self.hosts:
            return None
        return (
            "is a URL that is not allowed",
            f"Leave it out, or write https://host/path with a host that {_SETTING} names.",
        )


def _read_host(rest: str) -> str:
    authority = _AUTHORITY.match(rest)
    return _PORT.sub("", authority[0].rpartition("@")[2]) if authority else ""
