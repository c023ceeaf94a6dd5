"""`call-transfer send`: ask for one transfer, and say how it ended."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from transfer_tasks.errors import InvalidIntent
from transfer_tasks.intent import TransferIntent
from transfer_tasks.outcome import State
from transfer_worker.exit_codes import Exit

if TYPE_CHECKING:
    from collections.abc import Sequence

    from transfer_tasks.outcome import TransferOutcome
    from transfer_tasks.publisher import TransferHandle


def build_intent(
    *, to: Sequence[str], pipeline: str | None, metadata: Sequence[str], **fields: object
) -> TransferIntent:
    """Return the intent that the options describe.

    Args:
        to: A name, or addresses.
        pipeline: A file with a PCMO pipeline as JSON; ``-`` for stdin.
        metadata: ``name=value`` each.
        fields: Further fields of the intent; None where an option was not given.

    Raises:
        InvalidIntent: They describe none.
    """
    if bool(to) == bool(pipeline):
        raise InvalidIntent(
            field="--to",
            value="both" if to else "neither",
            problem="give either a destination or a pipeline",
            fix="Write --to support, --to +1…, --to sip:…, --to agent:…, or --pipeline FILE.json.",
        )
    given = {name: value for name, value in fields.items() if value is not None}
    if pipeline:
        given["destination"] = read_pipeline(pipeline)
    else:
        given["destination"] = to[0] if len(to) == 1 else list(to)
    if metadata:
        given["metadata"] = dict(_split(pair) for pair in metadata)
    return TransferIntent(**given)


def _split(pair: str) -> tuple[str, str]:
    name, equals, value = pair.partition("=")
    if not equals or not name:
        raise InvalidIntent(
            field="--metadata",
            value=f"text of length {len(pair)}",
            problem="is not name=value",
            fix="Write it like --metadata ticket=4711.",
        )
    return name, value


def read_pipeline(source: str) -> Any:
    """Return the JSON value in a file, or on stdin.

    Raises:
        InvalidIntent: The file can't be read or is not JSON.
    """
    try:
        text = sys.stdin.read() if source == "-" else Path(source).read_text("utf-8")
        return json.loads(text)
    except OSError as error:
        problem = f"can't be read: {error.strerror}"
    except (ValueError, RecursionError):
        problem = "is not JSON in UTF-8"
    raise InvalidIntent(
        field="--pipeline", value=source, problem=problem, fix='It holds a list of actions: [{"action": …}].'
    )


def describe_handle(handle: TransferHandle, intent: TransferIntent) -> dict[str, Any]:
    """Return what is known once a transfer was accepted, as plain JSON values."""
    return {
        "transfer_id": handle.transfer_id,
        "call_id": intent.call_id,
        "idempotency_key": handle.idempotency_key,
        "hop": handle.hop,
        "is_repeat": handle.is_repeat,
        "outcome": None,
    }


def describe_outcome(outcome: TransferOutcome) -> dict[str, Any]:
    """Return an outcome with what it means, as plain JSON values."""
    guide = outcome.guide
    return {**outcome.as_dict(), "meaning": guide.meaning, "next_step": guide.next_step, "say": guide.say}


def tell_outcome(outcome: TransferOutcome) -> str:
    """Return an outcome in one line."""
    particulars = [f"attempts {outcome.attempts}"]
    if outcome.http_status is not None:
        particulars.append(f"HTTP {outcome.http_status}")
    if outcome.detail:
        particulars.append(outcome.detail)
    line = f"{outcome.state} ({outcome.reason}; {', '.join(particulars)}). {outcome.guide.meaning}"
    return line if outcome.state is State.SUBMITTED else f"{line} {outcome.guide.next_step}"


def exit_code_of(outcome: TransferOutcome) -> Exit:
    """Return 0 for `submitted`, 1 for every other ending."""
    return Exit.OK if outcome.state is State.SUBMITTED else Exit.FAILED
