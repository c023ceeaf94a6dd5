"""Commands as an operator gives them, and what they answer."""

from __future__ import annotations

import json
import signal
import sys
import uuid
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    from click.testing import Result

    from support.processes import SpawnedProcess

COMMAND = [sys.executable, "-m", "transfer_worker"]
NUMBER = "+1 202-555-0143"
REGISTRY = '[support]\ndescription = "Technical support"\nendpoints = ["+1 202-555-0143"]\n'


def as_json(answer: Result) -> Any:
    """Return the document that a command printed; fail if the command did."""
    assert answer.exit_code == 0, answer.output
    return json.loads(answer.stdout)


def findings(answer: Result) -> dict[str, dict[str, str]]:
    """Return what `doctor` found, by the name of each check."""
    return {finding["check"]: finding for finding in json.loads(answer.stdout)["findings"]}


def send(ask: Callable[..., Result], to: str, *options: str, call_id: str | None = None) -> str:
    """Ask for a transfer; return its id."""
    call_id = call_id or str(uuid.uuid4())
    answer = ask("send", "--call-id", call_id, "--to", to, "--json", *options)
    return str(json.loads(answer.stdout)["transfer_id"])


def stop_with_ctrl_c(child: SpawnedProcess) -> None:
    """Interrupt a command; fail unless it ends gracefully."""
    child.send_signal(signal.SIGINT)
    assert child.wait() == 130
    assert "Traceback" not in child.output()
