"""What an accept step says of who asks."""

from __future__ import annotations

import json

from hiredis import pack_command

from transfer_tasks.intent import TransferIntent
from transfer_tasks.ledger.commands import LedgerCommands
from transfer_tasks.publisher.acceptance import build_accept


def test_a_terminal_in_another_encoding_stops_nobody():
    intent = TransferIntent(call_id="0f8fad5b-d9cb-469f-a165-70867728950e", destination="support")
    commands = LedgerCommands(namespace="transfer", retention_seconds=100)
    asked = {"operator": "j\udcfcrgen", "detail": "line dropped"}
    accept = build_accept(commands, intent, queue="transfers", asked=asked)
    pack_command(accept.arguments)
    said = next(value for value in accept.arguments if "operator" in str(value))
    assert json.loads(said) == {**asked, "asked": ""}
