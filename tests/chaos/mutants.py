"""Workers with one safeguard taken out: `celery -A chaos.mutants worker`, CHAOS_MUTANT=… in the environment.

If the auditor lets one of these pass, its approval is worth nothing. The product knows nothing of them: each
safeguard is taken out here, before Celery starts. `test_mutants` has every one condemned.
"""

from __future__ import annotations

import contextlib
import functools
import os
from typing import Any, Final

from kombu.transport.redis import QoS

from transfer_tasks.ledger import request_commands
from transfer_tasks.ledger.script import Script
from transfer_tasks.outcome import Reason
from transfer_worker.audit import writer
from transfer_worker.errors import AttemptError, NotCarriedOut
from transfer_worker.gateway import client, rules
from transfer_worker.queue import qos
from transfer_worker.runtime import celery_app

TOKEN_CHECK: Final = "r[2] ~= token"
TOKEN_CHECKS: Final = {"begin_attempt": 1, "end_attempt": 2}
"""How often a step has it: the usual case of an ending is written out."""


def remove_fencing() -> None:
    """Let whoever once had the right to act go on acting."""
    load_fenced = request_commands.load_script

    @functools.cache
    def load_unfenced(name: str) -> Script:
        script = load_fenced(name)
        if name not in TOKEN_CHECKS:
            return script
        found = script.source.count(TOKEN_CHECK)
        assert found == TOKEN_CHECKS[name], f"the token is checked otherwise now: {name}.lua"
        return Script(name, script.source.replace(TOKEN_CHECK, "false"))

    request_commands.load_script = load_unfenced


def retry_lost_answers() -> None:
    """Take a lost answer for proof that nothing happened, and so for a reason to send again."""
    explain = client._explain_silence

    def explain_boldly(*arguments: Any) -> AttemptError:
        error = explain(*arguments)
        if error.reason is not Reason.ANSWER_LOST:
            return error
        return NotCarriedOut(reason=error.reason, detail=error.detail)

    client._explain_silence = explain_boldly


def let_the_sdk_retry() -> None:
    """Leave the SDK's own retries on, which is its default (piopiy 1.2.2)."""
    plain_client = client.RestClient
    client.RestClient = lambda *arguments, max_retries: plain_client(*arguments, max_retries=2)


def trust_any_503() -> None:
    """Take every 503 for proof, whoever said it."""
    rules._is_shaped_like_the_platforms = lambda _value: True


def forget_what_the_disk_refused() -> None:
    """Acknowledge audit lines that the file did not take."""

    def append_or_forget(self: writer.AuditWriter, lines: writer.Lines) -> bool:
        with contextlib.suppress(OSError):
            self._file.append(lines.values())
        return True

    writer.AuditWriter._append = append_or_forget


def share_kombus_names() -> None:
    """Keep unacknowledged messages where other Celery applications keep theirs, and look as they do."""
    qos.GatheringQoS.restore_visible = QoS.restore_visible
    names = ("unacked_key", "unacked_index_key", "unacked_mutex_key")
    for name in names:
        assert celery_app.app.conf.broker_transport_options.pop(name), f"it is called otherwise now: {name}"


MUTATIONS: Final = {
    "fencing": remove_fencing,
    "read_timeouts": retry_lost_answers,
    "sdk_retries": let_the_sdk_retry,
    "any_503": trust_any_503,
    "full_disk": forget_what_the_disk_refused,
    "own_names": share_kombus_names,
}

MUTATIONS[os.environ["CHAOS_MUTANT"]]()
app = celery_app.app
