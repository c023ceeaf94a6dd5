"""What the sandbox tells after it has accepted a transfer: to who asks, in the room, by webhooks."""

from __future__ import annotations

import json
import re
import threading
from collections import Counter
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from support import wait_until
from transfer_worker.sandbox import reporter
from transfer_worker.sandbox.courses import Step, parse_course
from transfer_worker.sandbox.magic_numbers import MAGIC_COURSES, MAGIC_NUMBERS

DOCS = Path(__file__).parents[4] / "docs" / "sandbox.md"
CALL_ID = "0f8fad5b-d9cb-469f-a165-70867728950e"


@pytest.fixture
def receiver():
    """A server that takes webhooks and keeps them, with their header."""
    taken: list[tuple[str | None, dict]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            taken.append((self.headers.get("X-Secret"), json.loads(body)))
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        server.taken = taken  # type: ignore[attr-defined]
        server.url = f"http://127.0.0.1:{server.server_port}/hooks"  # type: ignore[attr-defined]
        yield server
        server.shutdown()
        thread.join()


def transfer(client, sandbox, number="12025550143"):
    pipeline = [
        {
            "action": "connect",
            "params": {"caller_id": "12025550199"},
            "endpoints": [{"type": "pstn", "number": number}],
        }
    ]
    answer = client.post(
        f"{sandbox.url}/voice/pcmo/transfer",
        json={"call_id": CALL_ID, "pipeline": pipeline},
        headers={"Authorization": f"Bearer {sandbox.token}"},
        timeout=10,
    )
    return answer.json()


def ask(client, sandbox, request_id, token=None):
    headers = {"Authorization": f"Bearer {token or sandbox.token}"}
    return client.get(f"{sandbox.url}/transfers/{request_id}", headers=headers, timeout=10)


def said(sandbox):
    return [entry["message"] for entry in sandbox.room_messages(CALL_ID)]


def wait_for_messages(sandbox, count):
    wait_until(lambda: len(said(sandbox)) >= count)
    return said(sandbox)


def test_the_docs_list_every_magic_course():
    section = DOCS.read_text("utf-8").split("## What becomes of it\n")[1].split("\n## ")[0]
    rows = re.findall(r"^\| (\+[0-9 -]+) \| (.+) \|$", section, re.MULTILINE)
    written = {re.sub(r"\D", "", row[0]): parse_course(re.findall(r"`([^`]+)`", row[1])) for row in rows}
    assert written == MAGIC_COURSES
    assert not MAGIC_COURSES.keys() & MAGIC_NUMBERS.keys()


def test_a_tracked_transfer_has_a_request_id_and_can_be_asked_for(sandbox, client):
    sandbox.controls.set_course(CALL_ID, ["ringing", "busy"])
    answer = transfer(client, sandbox, "12025550130")
    assert (answer["message"], answer["call_id"]) == ("queued", CALL_ID)
    wait_for_messages(sandbox, 2)
    told = ask(client, sandbox, answer["request_id"]).json()
    assert told == {
        "request_id": answer["request_id"],
        "call_id": CALL_ID,
        "status": "failed",
        "reason": "busy",
    }
    assert sandbox.controls.count_asked() == {answer["request_id"]: 1}


def test_before_its_end_it_is_queued_and_a_409_names_it(sandbox, client):
    request_id = transfer(client, sandbox, "12025550184")["request_id"]
    assert ask(client, sandbox, request_id).json()["status"] == "queued"
    sandbox.controls.script(CALL_ID, ["409"])
    assert transfer(client, sandbox) == {
        "error": "transfer_in_progress",
        "call_id": CALL_ID,
        "request_id": request_id,
    }


def test_the_room_hears_each_step_in_the_platforms_shape(sandbox, client):
    sandbox.controls.set_course(CALL_ID, ["ringing", "no_answer_and_call_ended"])
    assert transfer(client, sandbox) == {"message": "queued"}  # without a request id, the room is told it
    started, failed = wait_for_messages(sandbox, 2)
    assert started == {
        "type": "transfer_status",
        "status": "started",
        "request_id": started["request_id"],
        "call_id": CALL_ID,
    }
    assert failed == {**started, "status": "failed", "reason": "no_answer_and_call_ended"}
    assert [entry["sequence"] for entry in sandbox.room_messages(CALL_ID, since=1)] == [2]


def test_lost_doubled_contradictory_and_of_another(sandbox, client):
    sandbox.controls.set_course(
        CALL_ID, ["other-busy", "ringing-lost", "connected-doubled", "no_answer", "ringing"]
    )
    request_id = transfer(client, sandbox, "12025550130")["request_id"]
    messages = wait_for_messages(sandbox, 5)
    assert [message["status"] for message in messages] == [
        "failed",
        "completed",
        "completed",
        "failed",
        "started",
    ]
    assert [message["request_id"] == request_id for message in messages] == [False, True, True, True, True]
    assert sandbox.transfers(CALL_ID) == [
        {"request_id": request_id, "call_id": CALL_ID, "status": "completed"}
    ]


def test_who_asks_without_the_token_or_for_nothing_known_is_refused(sandbox, client):
    request_id = transfer(client, sandbox, "12025550184")["request_id"]
    assert ask(client, sandbox, request_id, token="wrong").status_code == 401
    assert ask(client, sandbox, "never-heard-of").status_code == 404


def test_a_transfer_is_forgotten_some_time_after_it_has_settled(sandbox, client, monkeypatch):
    request_id = transfer(client, sandbox, "12025550134")["request_id"]
    wait_for_messages(sandbox, 1)
    monkeypatch.setattr(reporter, "KEPT_SECONDS", -1.0)
    assert ask(client, sandbox, request_id).status_code == 404


def test_faults_befall_who_asks(sandbox, client):
    request_id = transfer(client, sandbox, "12025550184")["request_id"]
    client.put(f"{sandbox.origin}/_sandbox/status_faults", json={"upcoming": ["429:7", "html"]})
    limited = ask(client, sandbox, request_id)
    assert (limited.status_code, limited.headers["Retry-After"]) == (429, "7")
    assert ask(client, sandbox, request_id).text.startswith("<html>")
    assert ask(client, sandbox, request_id).status_code == 200
    client.put(f"{sandbox.origin}/_sandbox/status_faults", json={"mix": {"500": 1.0}})
    assert ask(client, sandbox, request_id).status_code == 500
    client.delete(f"{sandbox.origin}/_sandbox/status_faults")
    assert ask(client, sandbox, request_id).status_code == 200


@pytest.mark.parametrize("direction", ["inbound", "outbound"])
def test_webhooks_tell_of_both_legs_and_of_the_end(sandbox, client, receiver, direction):
    settings = {"url": receiver.url, "headers": {"X-Secret": "s"}, "direction": direction}
    client.put(f"{sandbox.origin}/_sandbox/webhooks", json={**settings, "cdr_again_seconds": [0, 0]})
    sandbox.controls.set_course(CALL_ID, ["ringing", "no_answer"])
    transfer(client, sandbox)
    wait_until(lambda: len(receiver.taken) == 5)
    assert {secret for secret, _ in receiver.taken} == {"s"}
    bodies = [body for _, body in receiver.taken]
    (first,) = [body for body in bodies if body["leg"] == "a"]
    others = [body for body in bodies if body["leg"] == "b"]
    prefix = "in" if direction == "inbound" else "out"
    assert (first["status"], first["cmiuuid"]) == (f"{prefix}_answered", CALL_ID)
    assert (first["conversation_uuid"] == CALL_ID) == (direction == "inbound")
    assert {body["conversation_uuid"] for body in bodies} == {first["conversation_uuid"]}
    assert {body["to"] for body in others} == {12025550143}
    assert Counter(body["status"] for body in others) == {f"{prefix}_started": 1, "missed": 3}
    wait_until(lambda: len(sandbox.webhooks()) == 5)
    assert {sent["status"] for sent in sandbox.webhooks()} == {204}


def test_a_webhook_that_nobody_takes_is_not_sent_again(sandbox, client):
    sandbox.controls.set_webhooks(url="http://127.0.0.1:1/")
    sandbox.controls.set_course(CALL_ID, ["connected"])
    transfer(client, sandbox)
    wait_until(lambda: len(sandbox.webhooks()) == 2)
    assert [sent["error"] for sent in sandbox.webhooks()] == ["ConnectionError"] * 2


def test_forgetting_ends_what_was_to_happen(sandbox, client):
    sandbox.controls.set_course(CALL_ID, ["ringing", "connected:3600"])
    transfer(client, sandbox)
    wait_for_messages(sandbox, 1)
    client.delete(f"{sandbox.origin}/_sandbox/requests")
    for what in ("room", "transfers"):
        assert not any(client.get(f"{sandbox.origin}/_sandbox/{what}").json().values())


@pytest.mark.parametrize(
    ("text", "step"),
    [
        ("ringing", Step(status="ringing")),
        ("other-busy-doubled:1.5", Step(status="busy", after_seconds=1.5, times=2, is_of_another=True)),
        ("connected-lost:20", Step(status="connected", after_seconds=20, times=0)),
    ],
)
def test_a_step_is_written_like_this(text, step):
    assert parse_course([text]) == (step,)


@pytest.mark.parametrize("text", ["", "Ringing", "ringing:", "ringing:3601", "ringing-late", "ringing\n"])
def test_what_is_not_a_step_is_a_value_error(text):
    with pytest.raises(ValueError, match="not a step"):
        parse_course([text])
