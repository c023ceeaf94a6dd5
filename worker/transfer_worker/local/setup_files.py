"""The files of a new set-up, `.env` and `destinations.toml`: made of the templates that are in this package.

The repository's `.env.example` and `destinations.example.toml` are links to them.
"""

from __future__ import annotations

import os
import re
import secrets
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Final

from transfer_tasks.errors import SettingsError
from transfer_tasks.settings import DESTINATIONS_FILE

if TYPE_CHECKING:
    from collections.abc import Mapping

ENV_FILE: Final = Path(".env")
SANDBOX_NUMBER: Final = "+12025550100"
SANDBOX_PORT: Final = 8900

# Quotes, dollars and the like mean one thing to python-dotenv, and another to Compose.
_PLAIN_VALUE: Final = re.compile(r"[A-Za-z0-9_.,:;/+=@%&?~^*()\[\]{}<>|!-]*")


def read_template(name: str) -> str:
    """Return the text of a template: ``env`` or ``destinations.toml``."""
    return resources.files("transfer_worker.local").joinpath("templates", name).read_text("utf-8")


def make_flower_login() -> str:
    """Return a login that nobody can guess, as Flower reads it."""
    return f"on-call:{secrets.token_urlsafe(12)}"


def make_keys() -> dict[str, str]:
    """Return the variables of a new key: who has this `.env` may ask for transfers, and nobody else."""
    key = f"local:{secrets.token_urlsafe(32)}"
    return {"TRANSFER_SIGNING_KEY": key, "TRANSFER_VERIFY_KEYS": key}


def make_audit_key() -> str:
    """Return a new key that seals the audit file."""
    return f"audit-1:{secrets.token_urlsafe(32)}"


def fill_env(values: Mapping[str, str]) -> str:
    """Return the text of a `.env` in which these variables have these values.

    Raises:
        SettingsError: A value can't stand in a `.env` so that each of its readers sees the same.
    """
    problems = [
        f"{name} can't be written into {ENV_FILE}: programs that read the file differ about quotes, $, # and "
        f"blanks. Leave it out there and set it in the environment."
        for name, value in values.items()
        if not _PLAIN_VALUE.fullmatch(value)
    ]
    if problems:
        raise SettingsError(problems)
    missing = dict(values)
    lines = []
    for line in read_template("env").splitlines():
        name = line.partition("=")[0]
        lines.append(f"{name}={missing.pop(name)}" if name in missing else line)
    if missing:
        raise KeyError(*missing)
    return "\n".join(lines) + "\n"


def write_env(values: Mapping[str, str]) -> bool:
    """Write `.env` into the working directory, for its owner's eyes only; return whether it was not there.

    Raises:
        SettingsError: A value can't stand in such a file.
        OSError: It can't be written; nothing is left of it.
    """
    return write_new(ENV_FILE, fill_env(values), mode=0o600)


def write_destinations() -> bool:
    """Write `destinations.toml` into the working directory; return whether it was not there.

    Raises:
        OSError: It can't be written; nothing is left of it.
    """
    return write_new(DESTINATIONS_FILE, read_template("destinations.toml"), mode=0o666)


def write_new(path: Path, text: str, *, mode: int) -> bool:
    """Write a file unless there is one; return whether there was none.

    Raises:
        OSError: It can't be written; nothing is left of it.
    """
    try:
        # O_EXCL: whatever has the name, a link that leads nowhere included, stays as it is.
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    except FileExistsError:
        return False
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
    except BaseException:
        path.unlink(missing_ok=True)
        raise
    return True
