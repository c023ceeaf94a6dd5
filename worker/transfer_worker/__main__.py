"""The door of the command `call-transfer`; opens without the worker extra far enough to name it."""

from __future__ import annotations

import sys
from importlib import import_module
from importlib.util import find_spec
from typing import Final

from transfer_worker.exit_codes import Exit

# What the extra [worker] of pyproject.toml brings, by the names under which it is imported.
MODULES_OF_THE_EXTRA: Final = frozenset(
    {
        "celery",
        "flower",
        "kombu",
        "piopiy",
        "piopiy_voice",
        "requests",
        "rich",
        "structlog",
        "tenacity",
        "tornado",
        "typer",
        "urllib3",
    }
)

_FIX: Final = 'call-transfer: the command line needs the worker extra: pip install "call-transfer[worker]"\n'


def main() -> None:
    """Run the command line.

    Exits with 2 and one line if a package of the worker extra is not installed. Any other failing
    import is a bug and keeps its traceback.
    """
    try:
        cli = import_module("transfer_worker.cli")
    except ModuleNotFoundError as error:
        if not _is_missing_extra(error):
            raise
        sys.stderr.write(_FIX)
        raise SystemExit(Exit.USAGE) from None
    cli.app()


def _is_missing_extra(error: ModuleNotFoundError) -> bool:
    """Tell a package that is not there from a module that an installed package does not have."""
    package = (error.name or "").partition(".")[0]
    return package in MODULES_OF_THE_EXTRA and find_spec(package) is None


if __name__ == "__main__":
    main()
