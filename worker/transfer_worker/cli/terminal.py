"""What all commands share: exit codes, consoles, and errors in one line each."""

from __future__ import annotations

import json
import os
import signal
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any, Final, NoReturn

import typer

from transfer_tasks.errors import (
    IdempotencyConflict,
    InvalidIntent,
    LedgerUnavailable,
    OutcomeTimeout,
    PublishOutcomeUnknown,
    PublishUnavailable,
    SettingsError,
    TransferInProgress,
    TransferNotFound,
    TransferTasksError,
)
from transfer_worker.errors import OperationMisused, OperationRefused
from transfer_worker.exit_codes import Exit
from transfer_worker.local.redis_executable import EmbeddedRedisError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from rich.console import Console

WantedId = Annotated[
    str,
    typer.Argument(
        metavar="CALL_OR_TRANSFER_ID",
        help="An id, in any spelling, or a beginning that no other has. Where one transfer is meant, a "
        "call's id stands for its last.",
        show_default=False,
    ),
]

MaybeId = Annotated[
    str | None,
    typer.Argument(
        metavar="[CALL_OR_TRANSFER_ID]",
        help="An id, or a beginning that no other has; without one, say by options which are meant.",
        show_default=False,
    ),
]

AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout.")]


def _name_option(check: Callable[[str], str] | None) -> Any:
    return typer.Option(
        "--as",
        metavar="NAME",
        default_factory=lambda: os.environ.get("USER") or os.environ.get("LOGNAME") or "",
        show_default="USER, or LOGNAME",
        callback=check,
        help="Who you are, for the audit log.",
    )


Operator = Annotated[str, _name_option(lambda name: check_operator(name))]
OperatorIfNeeded = Annotated[str, _name_option(None)]
"""Whoever uses it checks it, when a name is needed."""

Reason = Annotated[
    str,
    typer.Option(
        "--reason",
        callback=lambda reason: _check_reason(reason),
        help="Why, for people to read; goes into the record and the audit log.",
    ),
]

PIPE_COLUMNS: Final = 1000
"""How wide tables are where nobody says how wide they may be."""

MAX_NAME_LENGTH: Final = 60
MAX_REASON_LENGTH: Final = 100


def check_operator(name: str) -> str:
    """Return the name of whoever acts.

    Raises:
        typer.BadParameter: There is none, or it is none.
    """
    if not name:
        raise typer.BadParameter("say who you are: --as NAME (USER and LOGNAME are not set)")
    if not name.strip() or len(name) > MAX_NAME_LENGTH or not _is_visible(name):
        raise typer.BadParameter(f"write your name in 1 to {MAX_NAME_LENGTH} printable characters")
    return name.strip()


def _is_visible(text: str) -> bool:
    from transfer_tasks.masking import keep_visible

    return text.isprintable() and keep_visible(text) == text.strip()


def _check_reason(reason: str) -> str:
    if not reason.strip() or len(reason) > MAX_REASON_LENGTH or not _is_visible(reason):
        raise typer.BadParameter(f"say it in one line of 1 to {MAX_REASON_LENGTH} printable characters")
    return reason.strip()


class StopRequested(KeyboardInterrupt):
    """SIGTERM or SIGHUP came, which end us gracefully, as Ctrl-C does."""

    def __init__(self, number: int) -> None:
        self.exit_code = 128 + number
        super().__init__()


def make_console() -> Console:
    """Return a console on stdout: coloured and as wide as the terminal if it is one, plain if not."""
    from rich.console import Console

    return Console(highlight=False, width=None if sys.stdout.isatty() else PIPE_COLUMNS)


def print_json(document: Mapping[str, Any]) -> None:
    """Print the one JSON document of a command."""
    sys.stdout.write(json.dumps(document, indent=2, ensure_ascii=False) + "\n")


# The first that fits counts.
_EXPECTED: Final[tuple[tuple[type[Exception], Exit, str], ...]] = (
    (InvalidIntent, Exit.USAGE, ""),
    (SettingsError, Exit.USAGE, ""),
    (TransferInProgress, Exit.FAILED, "Look at it with: call-transfer show"),
    (IdempotencyConflict, Exit.FAILED, ""),
    (TransferNotFound, Exit.FAILED, ""),
    (PublishUnavailable, Exit.UNAVAILABLE, "Nothing is queued. See: call-transfer doctor"),
    (PublishOutcomeUnknown, Exit.UNAVAILABLE, "Asking for the same again is safe."),
    (LedgerUnavailable, Exit.UNAVAILABLE, "See: call-transfer doctor"),
    (OutcomeTimeout, Exit.NOT_KNOWN_YET, "It goes on; see: call-transfer show"),
    (TransferTasksError, Exit.FAILED, ""),
    (OperationMisused, Exit.USAGE, ""),
    (OperationRefused, Exit.FAILED, ""),
    (EmbeddedRedisError, Exit.UNAVAILABLE, ""),
)


@contextmanager
def expected_errors(*, as_json: bool = False) -> Iterator[None]:
    """Turn the errors that can happen into a line on stderr and an exit code; a bug keeps its traceback."""
    try:
        yield
    except KeyboardInterrupt as interrupt:
        raise typer.Exit(getattr(interrupt, "exit_code", Exit.INTERRUPTED)) from None
    except tuple(kind for kind, _, _ in _EXPECTED) as error:
        _, exit_code, hint = next(row for row in _EXPECTED if isinstance(error, row[0]))
        details = {
            name: value
            for name in ("field", "transfer_id", "problems")
            if (value := getattr(error, name, None))
        }
        fail(exit_code, f"{error} {hint}".strip(), kind=type(error).__name__, as_json=as_json, **details)


def fail(exit_code: Exit, message: str, *, kind: str, as_json: bool, **details: Any) -> NoReturn:
    """Say in one line what is wrong, and end."""
    sys.stderr.write(f"call-transfer: {message}\n")
    if as_json:
        print_json({"error": {"kind": kind, "message": message, **details}, "exit_code": int(exit_code)})
    raise typer.Exit(exit_code)


@contextmanager
def stop_signals_raise() -> Iterator[None]:
    """Have SIGTERM and SIGHUP unwind the main thread as Ctrl-C does, so that everything is ended in order.

    What whoever started us had us ignore (nohup: SIGHUP), stays ignored.
    """

    def stop(number: int, _frame: object) -> NoReturn:
        raise StopRequested(number)

    numbers = [
        number for number in (signal.SIGTERM, signal.SIGHUP) if signal.getsignal(number) is not signal.SIG_IGN
    ]
    before = {number: signal.signal(number, stop) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
