"""The files of docker-compose.yml's secrets: one for each, and Redis's users with their passwords' digests.

Who is not the owner doesn't get into the folder; in a container, its user reads the files that are mounted.
"""

from __future__ import annotations

import secrets
from pathlib import Path
from typing import TYPE_CHECKING, Final

from transfer_worker.local.setup_files import write_new
from transfer_worker.roles import Place, Role, fill_users_file

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

FOLDER: Final = Path("secrets")
IN_FILES: Final = {
    "PIOPIY_TOKEN": "piopiy_token",
    "TRANSFER_SIGNING_KEY": "signing_key",
    "TRANSFER_VERIFY_KEYS": "verify_keys",
    "TRANSFER_AUDIT_KEY": "audit_key",
    "FLOWER_BASIC_AUTH": "flower_basic_auth",
}
"""Which variables stand in which files, in place of `.env`."""

USERS_FILE: Final = "redis_users"


def name_url_file(role: Role) -> str:
    """Return the name of the file that holds a role's address of Redis."""
    return f"redis_{role}_url"


def make_secrets(values: Mapping[str, str]) -> dict[str, str]:
    """Return what each file holds: the secrets among these variables, and new passwords for Redis."""
    passwords = {role: secrets.token_urlsafe(32) for role in Role}
    return {
        **{file: values[variable] for variable, file in IN_FILES.items()},
        **{name_url_file(role): f"redis://{role}:{passwords[role]}@redis:6379/0" for role in Role},
        USERS_FILE: fill_users_file(Place(), passwords).rstrip("\n"),
    }


def write_secrets(made: Mapping[str, str]) -> Iterable[str]:
    """Write those files that are not there; return which.

    Raises:
        OSError: One can't be written; nothing is left of it.
    """
    FOLDER.mkdir(mode=0o700, exist_ok=True)
    return [
        str(FOLDER / name) for name, text in made.items() if write_new(FOLDER / name, f"{text}\n", mode=0o444)
    ]
