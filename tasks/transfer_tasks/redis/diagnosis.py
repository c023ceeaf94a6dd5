"""What an error of Redis's means to whoever runs this, and what to do: the one place that has words for it.

The publisher, the worker's start, `doctor` and every other command say the same of the same error.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

_MAX_QUOTE: Final = 200
_PIPELINE: Final = " of pipeline caused error: "
"""What redis-py puts before an error, behind the whole command with all that it holds."""
# In front with Redis 6.2, behind with 7.
_IN_A_SCRIPT: Final = re.compile(
    r"(ERR )?Error running script \(call to f_\w+\): @user_script:\s?\d+: (@user_script: \d+: )?-?"
    r"|\.? script: ([0-9a-f]+, )?on @user_script:\d+"
)
"""Where in a script Redis said it."""


class Trouble(StrEnum):
    """Why Redis can't be used."""

    UNTRUSTED = "untrusted"
    PLAIN_PORT = "plain_port"
    NO_TLS = "no_tls"
    CLUSTER = "cluster"
    NO_PRIMARY = "no_primary"
    PASSWORD_NOT_ASKED = "password_not_asked"  # noqa: S105 - no password
    WRONG_LOGIN = "wrong_login"
    NO_LOGIN = "no_login"
    NO_DATABASE = "no_database"
    NO_PERMISSION = "no_permission"
    PROTECTED = "protected"
    MASTER_DOWN = "master_down"
    READ_ONLY = "read_only"
    LOADING = "loading"
    MAX_CLIENTS = "max_clients"
    FULL = "full"
    DISK = "disk"
    NO_REPLICAS = "no_replicas"
    BUSY = "busy"
    UNKNOWN_COMMAND = "unknown_command"
    NO_REDIS = "no_redis"
    CLOSED = "closed"
    SILENT = "silent"
    UNREACHABLE = "unreachable"
    REFUSED = "refused"


_STOP_ALL_WRITES: Final = frozenset(
    {Trouble.LOADING, Trouble.READ_ONLY, Trouble.FULL, Trouble.DISK, Trouble.NO_REPLICAS}
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Diagnosis:
    """What is wrong, and what to do.

    Attributes:
        trouble: The kind.
        seen: What is wrong; free of secrets.
        fix: What to do about it.
        passes: Whether it can be over by itself. What can't is a matter of settings: waiting is no use.
    """

    trouble: Trouble
    seen: str
    fix: str
    passes: bool

    def __str__(self) -> str:
        return f"{self.seen}. {self.fix}"

    @property
    def stops_all_writes(self) -> bool:
        """Whether the server's own state is at fault, in which it takes no write of anybody."""
        return self.trouble in _STOP_ALL_WRITES


@dataclass(frozen=True, slots=True)
class _Row:
    trouble: Trouble
    signs: tuple[str, ...]
    """One of these stands in the error's class or text; redis-py 8.1 cuts the codes off some texts."""
    seen: str
    fix: str
    passes: bool = False


_URL: Final = "TRANSFER_REDIS_URL"
_ANOTHER: Final = f"Name the primary in {_URL}, or the Sentinels that know it: docs/capacity.md."

# The first that fits counts. `{said}` is what Redis or the network said.
_ROWS: Final = (
    _Row(
        Trouble.UNTRUSTED,
        ("certificate verify failed", "CERTIFICATE_VERIFY_FAILED"),
        "Redis's certificate is not trusted: {said}",
        f"Use the host name that it is made out to, and name its authority in {_URL}: ?ssl_ca_certs=/ca.pem",
    ),
    _Row(
        Trouble.PLAIN_PORT,
        ("WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE", "handshake operation timed out"),
        "Redis speaks no TLS at this port: {said}",
        f"Name the port that does, or write redis:// (sentinel://) without the s in {_URL}.",
    ),
    _Row(
        Trouble.NO_TLS,
        ("[SSL",),
        "no TLS connection comes about: {said}",
        "Where Redis asks for a certificate of ours, there is none: set tls-auth-clients no. Or see its log.",
    ),
    _Row(
        Trouble.CLUSTER,
        (
            "CROSSSLOT",
            "CrossSlotError",
            "don't hash to the same slot",
            "do not hash to the same slot",
            "in cluster mode",
            "in a cluster node",
            "while the cluster is down",
            "MovedError",
            "AskError",
            ".ClusterDownError",
        ),
        "Redis is in cluster mode, in which nothing can be carried out: a step changes keys of many slots",
        "Use one that is not (cluster-enabled no; cluster mode disabled), by itself or behind Sentinels: "
        "docs/compatibility.md.",
    ),
    _Row(
        Trouble.NO_PRIMARY,
        ("MasterNotFoundError",),
        "{said}",
        f"Start what is missing, or correct the Sentinels, master_name and sentinel_password in {_URL}.",
        passes=True,
    ),
    _Row(
        Trouble.PASSWORD_NOT_ASKED,
        ("without any password configured", "no password is set"),
        "Redis has no password, and is given one: {said}",
        f"Leave the password out of {_URL}, or give Redis one (requirepass, or an ACL user).",
    ),
    _Row(
        Trouble.WRONG_LOGIN,
        ("WRONGPASS", "invalid username-password pair", "invalid password", "WrongNumberOfArgsError"),
        "Redis refuses the user or the password: {said}",
        f"Correct them in {_URL}: redis://user:password@host:6379/0 (%40 for @, %3A for :, %2F for /).",
    ),
    _Row(
        Trouble.NO_LOGIN,
        (
            "NOAUTH",
            "Authentication required",
            "unauthenticated multibulk",
            "unauthenticated bulk",
            ".AuthenticationError",
        ),
        f"Redis asks for a password, and {_URL} has none",
        f"Write {_URL} like redis://:password@host:6379/0, or user:password@ for an ACL user.",
    ),
    _Row(
        Trouble.NO_DATABASE,
        ("DB index is out of range", "invalid DB index"),
        "Redis has no database of the number in the address: {said}",
        f"End {_URL} with /0; many managed services have this one only.",
    ),
    _Row(
        Trouble.NO_PERMISSION,
        ("NoPermissionError", "NOPERM", "ACL failure", "executing the script can't"),
        "Redis does not permit it to this user: {said}",
        "Give the user what docs/compatibility.md lists (ACL SETUSER); call-transfer doctor tries all of it.",
    ),
    _Row(
        Trouble.PROTECTED,
        ("protected mode",),
        "Redis takes connections from its own machine only: it is in protected mode",
        f"Give it a password (requirepass, or an ACL user) and write it in {_URL}.",
    ),
    _Row(
        Trouble.MASTER_DOWN,
        ("MasterDownError", "MASTERDOWN"),
        "this Redis is a replica that has lost its primary",
        _ANOTHER,
        passes=True,
    ),
    _Row(
        Trouble.READ_ONLY,
        ("ReadOnlyError", "READONLY", "read only replica"),
        "this Redis is a replica, and takes no writes",
        f"{_ANOTHER} In a failover, wait.",
        passes=True,
    ),
    _Row(
        Trouble.LOADING,
        ("BusyLoadingError", "LOADING", "loading the dataset"),
        "Redis is still reading its data from the disk",
        "Wait.",
        passes=True,
    ),
    _Row(
        Trouble.MAX_CLIENTS,
        ("max number of clients",),
        "Redis takes no more connections",
        "Raise its maxclients, or end what holds them (CLIENT LIST).",
        passes=True,
    ),
    _Row(
        Trouble.FULL,
        ("OutOfMemoryError", "OOM command not allowed", "used memory > 'maxmemory'"),
        "Redis's memory is full, and it takes nothing",
        "Raise its maxmemory (a managed service: a bigger one), or delete what is not ours.",
        passes=True,
    ),
    _Row(
        Trouble.DISK,
        ("MISCONF",),
        "Redis can't write to its disk, and takes nothing: {said}",
        "Look at the disk of Redis: full or read-only? Its log says more.",
        passes=True,
    ),
    _Row(
        Trouble.NO_REPLICAS,
        ("NOREPLICAS", "NotReplicated", "enough good replicas"),
        "too few replicas follow: {said}",
        "Start what is missing; until then no step counts. call-transfer doctor says which.",
        passes=True,
    ),
    _Row(
        Trouble.BUSY,
        ("BUSY Redis is busy", "busy running a script"),
        "Redis is held up by somebody's script: {said}",
        "End it: SCRIPT KILL, or FUNCTION KILL.",
        passes=True,
    ),
    _Row(
        Trouble.UNKNOWN_COMMAND,
        ("unknown command", "nknown subcommand", "command is not allowed"),
        "this server does not know or permit a command: {said}",
        "Use Redis 6.2 or newer, or Valkey, with all that docs/compatibility.md lists; a Sentinel's port "
        "takes sentinel://.",
    ),
    _Row(
        Trouble.NO_REDIS,
        ("InvalidResponse", "Protocol error, got", "Protocol Error"),
        "what answers there does not speak as Redis does: {said}",
        f"Correct host and port in {_URL}; if the port speaks TLS, write rediss:// (sentinels://).",
    ),
    _Row(
        Trouble.CLOSED,
        ("Connection closed by server", "reset by peer", "ConnectionResetError", "Broken pipe"),
        "the connection was closed at the other end: {said}",
        f"If the port speaks TLS, write rediss:// (sentinels://) in {_URL}; else see Redis's log.",
        passes=True,
    ),
    _Row(
        Trouble.SILENT,
        ("TimeoutError", "Timeout", "timed out"),
        "no answer in time: {said}",
        f"See whether Redis is frozen or overloaded, and what {_URL} names: a port behind a firewall, or one "
        "without TLS for rediss://?",
        passes=True,
    ),
    _Row(
        Trouble.UNREACHABLE,
        ("ConnectionError", "OSError", "ConnectionRefusedError", "gaierror"),
        "no answer: {said}",
        f"Start Redis, or correct {_URL}.",
        passes=True,
    ),
)

_OTHER: Final = _Row(
    Trouble.REFUSED,
    (),
    "Redis refuses: {said}",
    "docs/compatibility.md says what it must be able to do.",
    passes=True,
)


def diagnose(error: BaseException) -> Diagnosis:
    """Return what an error of Redis's, redis-py's or the network's means."""
    said = _quote(error)
    signs = f"{type(error).__module__}.{type(error).__name__}: {said}"
    row = next((row for row in _ROWS if any(sign in signs for sign in row.signs)), _OTHER)
    return Diagnosis(trouble=row.trouble, seen=row.seen.format(said=said), fix=row.fix, passes=row.passes)


def refuses_the_call(error: BaseException) -> bool:
    """Say whether an error means that a script was not begun, or has changed nothing.

    Redis rolls nothing back, so an error that a script raised may have come behind its first write. Not so
    what only the first write meets: the server's own state (scriptVerifyWriteCommandAllow in Redis 7's
    script.c; 6.2 asks `lua_write_dirty`). A missing permission counts where it is for the call itself.
    """
    found, said = diagnose(error), str(error)
    if found.trouble is Trouble.NO_PERMISSION:
        return any(f"run the '{call}' command" in said for call in ("evalsha", "eval"))
    return found.stops_all_writes


def _quote(error: BaseException) -> str:
    """Return what was said, in one short line, without the command that it was said of."""
    text = " ".join(str(error).rpartition(_PIPELINE)[2].split())
    text = _IN_A_SCRIPT.sub("", text).rstrip(".?")
    return text[:_MAX_QUOTE] or type(error).__name__
