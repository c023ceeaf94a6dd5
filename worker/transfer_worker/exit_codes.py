"""The exit codes of every command and process; `call-transfer COMMAND --help` says what each means there."""

from __future__ import annotations

from enum import IntEnum


class Exit(IntEnum):
    """The exit codes of every command and process."""

    OK = 0
    FAILED = 1
    USAGE = 2
    """The command line or the settings are wrong, and nothing has begun. Starting it again will not help."""

    UNAVAILABLE = 3
    NOT_KNOWN_YET = 4
    INTERRUPTED = 130
