"""What sessions attach to a request is shown to nobody who has not said who he is."""

from __future__ import annotations

import json
import uuid

import pytest

from support.operating import as_json, send

pytestmark = pytest.mark.usefixtures("no_key_leaks")

METADATA = ["--metadata", "customer=Grace Hopper", "--metadata", "back=+49 30 123456", "--metadata", "n=7"]


def audited(bench) -> list[tuple[str, str, str | None]]:
    return [
        (line["transfer_id"], line["operator"], line.get("detail"))
        for line in bench.audit()
        if line["event"] == "metadata.revealed"
    ]


def test_metadata_is_masked_and_nobody_is_audited_for_looking(ask, bench):
    transfer_id = send(ask, "support", "--no-wait", *METADATA)
    for answer in (ask("show", transfer_id, "--json"), ask("show", transfer_id), ask("why", transfer_id)):
        assert answer.exit_code == 0
        assert "Hopper" not in answer.output
    shown = as_json(ask("show", transfer_id, "--json"))["transfers"][0]["asked"]
    assert shown["metadata"] == {"customer": "***", "back": "***", "n": "***"}
    assert audited(bench) == []


def test_who_reveals_it_sees_it_as_it_was_given_and_is_on_record(ask, bench):
    call_id = str(uuid.uuid4())
    transfer_id = send(ask, "support", "--no-wait", *METADATA, call_id=call_id)
    ask("cancel", transfer_id, "--reason", "r")
    plain = send(ask, "support", "--no-wait", call_id=call_id)

    answer = as_json(ask("show", call_id, "--reveal", "--reason", "he calls back", "--as", "bo", "--json"))

    assert [transfer["asked"]["metadata"] for transfer in answer["transfers"]] == [
        {"customer": "Grace Hopper", "back": "+49 30 123456", "n": "7"},
        {},
    ]
    assert plain != transfer_id
    assert audited(bench) == [(transfer_id, "bo", "he calls back")]
    assert "Grace Hopper" in ask("show", call_id, "--reveal").stdout
    assert audited(bench)[1:] == [(transfer_id, "ana", None)]


def test_nobody_reveals_anything_without_a_name(ask, bench, monkeypatch):
    transfer_id = send(ask, "support", "--no-wait", *METADATA)
    monkeypatch.delenv("USER")
    monkeypatch.delenv("LOGNAME", raising=False)
    for name in ([], ["--as", "a\nb"]):
        answer = ask("show", transfer_id, "--reveal", *name)
        assert answer.exit_code == 2
        assert "Hopper" not in answer.output
    assert audited(bench) == []
    assert ask("show", transfer_id).exit_code == 0


def test_nothing_is_revealed_where_it_can_not_be_put_on_record(ask, bench):
    transfer_id = send(ask, "support", "--no-wait", *METADATA)
    bench.client.delete(bench.keys.audit)
    bench.client.set(bench.keys.audit, "junk", ex=100)
    answer = ask("show", transfer_id, "--reveal")
    assert answer.exit_code == 3
    assert "Hopper" not in answer.output


def test_who_asks_and_why_are_shown_without_what_nobody_sees(ask, bench):
    transfer_id = send(ask, "support", "--no-wait")
    key = bench.keys.record(transfer_id)
    intent = json.loads(bench.client.hget(key, "intent"))
    hidden = {"reason": "call\u202e me\U000e0041", "requested_by": "a\u200bgent\u3164"}
    bench.client.hset(key, "intent", json.dumps(intent | hidden))
    shown = as_json(ask("show", transfer_id, "--json"))["transfers"][0]["asked"]
    assert (shown["reason"], shown["requested_by"]) == ("call me", "agent")
