"""The sandbox keeps its word: every row of docs/sandbox.md against a real server, the record, the faults."""

from __future__ import annotations

import contextlib
import json
import re
import signal
import socket
import stat
import sys
import textwrap
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import requests
from hypothesis import given
from hypothesis import strategies as st

from support import wait_until
from transfer_worker.errors import AttemptError, NotCarriedOut, OutcomeUnknown, Refused
from transfer_worker.gateway import PiopiyGateway
from transfer_worker.sandbox import DEFAULT_TOKEN, SandboxServer
from transfer_worker.sandbox.behaviours import Behaviour, parse_behaviour
from transfer_worker.sandbox.director import parse_faults
from transfer_worker.sandbox.magic_numbers import MAGIC_NUMBERS

DOCS = Path(__file__).parents[4] / "docs" / "sandbox.md"
CALL_ID = "0f8fad5b-d9cb-469f-a165-70867728950e"
OTHER_CALL_ID = "7c9e6679-7425-40de-944b-e07fc1f90ae7"


def connect(number: str = "12025550143") -> list[dict]:
    endpoints = [{"type": "pstn", "number": number}]
    return [{"action": "connect", "params": {"caller_id": "12025550199"}, "endpoints": endpoints}]


def read_table(heading: str) -> list[list[str]]:
    section = DOCS.read_text("utf-8").split(f"## {heading}\n")[1].split("\n## ")[0]
    rows = [line for line in section.splitlines() if line.startswith("|")][2:]
    return [[cell.strip() for cell in row.strip("|").split("|")] for row in rows]


MAGIC_ROWS = read_table("Magic numbers")
BEHAVIOUR_ROWS = read_table("Behaviours")


def post(client, sandbox, *, call_id=CALL_ID, number="12025550143", token=None, key=None, timeout=2.0):
    headers = {"Authorization": f"Bearer {token or sandbox.token}"}
    if key:
        headers["Idempotency-Key"] = key
    payload = {"call_id": call_id, "pipeline": connect(number)}
    return client.post(
        f"{sandbox.url}/voice/pcmo/transfer",
        json=payload,
        headers=headers,
        timeout=timeout,
        allow_redirects=False,
    )


def describe(gateway: PiopiyGateway, number: str) -> str:
    names = {NotCarriedOut: "retry", Refused: "rejected", OutcomeUnknown: "unknown"}
    try:
        gateway.send(call_id=CALL_ID, pipeline=connect(number), idempotency_key="k")
    except AttemptError as error:
        return f"{names[type(error)]}: {error.reason}"
    return "submitted"


# ── the promises of the docs ──────────────────────────────────────────────────────────────────────────────


def test_the_docs_list_every_magic_number():
    assert [re.sub(r"\D", "", row[0]) for row in MAGIC_ROWS] == list(MAGIC_NUMBERS)


@pytest.mark.parametrize("row", MAGIC_ROWS, ids=lambda row: row[0])
def test_a_magic_number_does_what_the_docs_say(sandbox, row):
    number, first, later, moved, known = re.sub(r"\D", "", row[0]), *row[1:]
    gateway = PiopiyGateway(
        token=sandbox.token, base_url=sandbox.url, timeout_seconds=4.0 if "slow" in first else 0.2
    )
    try:
        assert describe(gateway, number) == known
        if "slow" not in first:
            describe(gateway, number)
    finally:
        gateway.close()
    record = sandbox.requests(CALL_ID)
    said = [first.strip("`"), later.strip("`")]
    assert [entry["behaviour"] for entry in record] == said[: len(record)]
    assert record[0]["carried_out"] == (moved == "yes")


def test_the_docs_list_every_behaviour():
    names = {row[0].strip("`") for row in BEHAVIOUR_ROWS} - {"300` to `599"}
    used = {text for script in MAGIC_NUMBERS.values() for text in (script.then.text,)} | {"tracked"}
    assert {name.split(":")[0].split("-")[0] for name in used if not name[0].isdigit()} == names


@pytest.mark.parametrize("row", BEHAVIOUR_ROWS, ids=lambda row: row[0])
def test_a_behaviour_is_open_where_the_docs_say_so(row):
    name, is_open = row[0].strip("`"), row[3]
    if name.startswith("300"):
        statuses = [301, 302, 307, 400, 404, 408, 409, 429, 500, 502, 503, 504]
        found = {status for status in statuses if parse_behaviour(str(status)).carried_out}
        assert found == {301, 302, 307, 408, 500, 502, 504}
    elif is_open == "yes":
        assert parse_behaviour(name).carried_out
        assert not parse_behaviour(f"{name}-not-done").carried_out
    else:
        assert parse_behaviour(name).carried_out
        with pytest.raises(ValueError):
            parse_behaviour(f"{name}-not-done")


def test_the_docs_show_faults_and_a_record_as_they_are(sandbox, client):
    faults, record = re.findall(r"```json\n(.*?)```", DOCS.read_text("utf-8"), re.DOTALL)
    assert client.put(f"{sandbox.origin}/_sandbox/faults", data=faults).status_code == 200
    post(client, sandbox)
    assert list(sandbox.requests()[0]) == list(json.loads(record))


# ── judging ───────────────────────────────────────────────────────────────────────────────────────────────


def test_a_good_request_is_queued_and_written_down(sandbox, client):
    answer = post(client, sandbox, call_id=CALL_ID.upper(), key="key:1")
    assert (answer.status_code, answer.json()) == (200, {"message": "queued"})
    (entry,) = sandbox.requests()
    assert entry.pop("received_at_ms") > 1_700_000_000_000
    assert entry == {
        "sequence": 1,
        "call_id": CALL_ID,
        "idempotency_key": "key:1",
        "authorized": True,
        "behaviour": "ok",
        "status": 200,
        "carried_out": True,
        "pipeline": connect(),
    }


def test_a_wrong_token_is_refused_and_written_down(sandbox, client):
    assert post(client, sandbox, token="wrong").status_code == 401
    (entry,) = sandbox.requests()
    assert (entry["authorized"], entry["status"], entry["carried_out"]) == (False, 401, False)
    assert "wrong" not in json.dumps(entry)


@pytest.mark.parametrize(
    ("body", "field"),
    [
        (b"", "body"),
        (b"no json", "body"),
        (b"[1]", "body"),
        (b"[" * 100_000, "body"),
        (json.dumps({"call_id": "no-uuid", "pipeline": connect()}).encode(), "call_id"),
        (json.dumps({"call_id": CALL_ID, "pipeline": []}).encode(), "pipeline"),
        (json.dumps({"call_id": CALL_ID, "pipeline": connect("+12025550100")}).encode(), None),
    ],
)
def test_what_the_vendors_validator_refuses_is_a_400_with_the_field(sandbox, client, body, field):
    headers = {"Authorization": f"Bearer {sandbox.token}"}
    answer = client.post(f"{sandbox.url}/voice/pcmo/transfer", data=body, headers=headers, timeout=2)
    assert answer.status_code == 400
    assert answer.json()["error"]
    assert field is None or answer.json()["field"] == field
    (entry,) = sandbox.requests()
    assert (entry["behaviour"], entry["carried_out"]) == ("invalid", False)


def test_half_a_request_counts_for_nothing(sandbox):
    host, port = sandbox.origin.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port))) as connection:
        head = (
            f"POST /v3/voice/pcmo/transfer HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {sandbox.token}\r\n"
        )
        connection.sendall(f"{head}Content-Length: 500\r\n\r\n{{".encode())
        connection.shutdown(socket.SHUT_WR)
        assert connection.recv(10) == b""
    assert sandbox.post_count() == 0


def test_it_is_written_down_before_it_is_answered(sandbox, client):
    sandbox.controls.script(CALL_ID, ["silence"])
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(post, client, sandbox, timeout=5)
        wait_until(lambda: sandbox.post_count(CALL_ID) == 1)
        assert not waiting.done()
        sandbox.controls.stopping.set()
        with pytest.raises(requests.ConnectionError):
            waiting.result()


@pytest.mark.parametrize(
    ("behaviour", "cause"), [("reset", "ConnectionReset"), ("close", "RemoteDisconnected")]
)
def test_a_reset_is_a_reset_and_a_close_is_a_close(sandbox, client, behaviour, cause):
    sandbox.controls.script(CALL_ID, [behaviour])
    with pytest.raises(requests.ConnectionError, match=cause):
        post(client, sandbox)


# ── telling it what to do ─────────────────────────────────────────────────────────────────────────────────


def statuses(client, sandbox, count, **options):
    return [post(client, sandbox, **options).status_code for _ in range(count)]


def test_a_script_is_used_up_one_by_one_and_then_it_is_ok(sandbox, client):
    url = f"{sandbox.origin}/_sandbox/behaviours/{CALL_ID.upper()}"
    assert client.put(url, json=["503", "404"]).status_code == 200
    assert statuses(client, sandbox, 4) == [503, 404, 200, 200]
    assert statuses(client, sandbox, 1, call_id=OTHER_CALL_ID) == [200]
    assert sandbox.carried_out_count(CALL_ID) == 2


def test_a_script_may_say_what_comes_after_it(sandbox, client):
    url = f"{sandbox.origin}/_sandbox/behaviours/{CALL_ID}"
    client.put(url, json={"behaviours": ["503"], "then": "404"})
    assert statuses(client, sandbox, 3) == [503, 404, 404]
    client.put(url, json=["500"])
    assert statuses(client, sandbox, 2) == [500, 200]


def test_a_script_goes_before_faults_and_faults_before_magic_numbers(sandbox, client):
    sandbox.controls.set_faults(upcoming=["500", "502"])
    sandbox.controls.script(OTHER_CALL_ID, ["409"])
    assert statuses(client, sandbox, 1, call_id=OTHER_CALL_ID) == [409]
    assert statuses(client, sandbox, 3, number="12025550104") == [500, 502, 404]


def test_magic_counts_for_each_call(sandbox, client):
    for call_id in (CALL_ID, OTHER_CALL_ID):
        assert statuses(client, sandbox, 2, call_id=call_id, number="12025550153") == [503, 200]


def test_a_mix_of_faults_is_repeatable(sandbox, client):
    url = f"{sandbox.origin}/_sandbox/faults"
    seen = []
    for _ in range(2):
        client.put(url, json={"mix": {"503": 0.3, "404": 0.3}, "seed": 7})
        seen.append(statuses(client, sandbox, 40))
    assert seen[0] == seen[1]
    assert set(seen[0]) == {200, 404, 503}
    client.delete(url)
    assert set(statuses(client, sandbox, 20)) == {200}


def test_a_delay_comes_before_every_answer(sandbox, client):
    client.put(f"{sandbox.origin}/_sandbox/faults", json={"delay_ms": 80})
    assert post(client, sandbox).elapsed.total_seconds() >= 0.08


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("faults", {"mix": {"nonsense": 0.5}}),
        ("faults", {"mix": {"503": 1.5}}),
        ("faults", {"mix": {"503": -0.5}}),
        ("faults", {"mix": {"503": "often"}}),
        ("faults", {"unknown": 1}),
        ("faults", {"delay_ms": -1}),
        ("faults", {"delay_ms": "x"}),
        ("faults", []),
        ("faults", None),
        (f"behaviours/{CALL_ID}", ["nonsense"]),
        (f"behaviours/{CALL_ID}", {"then": "ok"}),
        (f"behaviours/{CALL_ID}", 5),
        (f"behaviours/{CALL_ID}", [5]),
        ("status_faults", {"mix": {"nonsense": 0.5}}),
        (f"courses/{CALL_ID}", ["Ringing"]),
        (f"courses/{CALL_ID}", ["ringing:99999"]),
        (f"courses/{CALL_ID}", 5),
        ("webhooks", {"url": "ftp://example.org"}),
        ("webhooks", {"url": "http://example.org", "direction": "sideways"}),
        ("webhooks", {}),
    ],
    ids=str,
)
def test_what_can_not_be_told_is_a_400_and_changes_nothing(sandbox, client, path, body):
    answer = client.put(f"{sandbox.origin}/_sandbox/{path}", json=body)
    assert answer.status_code == 400
    assert answer.json()["error"]
    assert statuses(client, sandbox, 2) == [200, 200]


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "DELETE"])
def test_other_addresses_are_404_and_not_written_down(sandbox, client, method):
    for path in ("/v3/voice/pcmo/call", "/_sandbox/nothing"):
        assert client.request(method, f"{sandbox.origin}{path}", json={}).status_code == 404
    assert sandbox.post_count() == 0


@given(st.text(max_size=12) | st.sampled_from(["503:", "200", "299", "666", "ok-not-done", "429:1.2.3"]))
def test_a_text_is_a_behaviour_or_a_value_error(text):
    with contextlib.suppress(ValueError):
        assert isinstance(parse_behaviour(text), Behaviour)


def test_faults_need_probabilities():
    with pytest.raises(ValueError):
        parse_faults(mix={"503": 0.6, "404": 0.6})


# ── the record ────────────────────────────────────────────────────────────────────────────────────────────


def test_the_record_can_be_asked_by_call_and_by_number(sandbox, client):
    for call_id in (CALL_ID, OTHER_CALL_ID, CALL_ID):
        post(client, sandbox, call_id=call_id)

    def ask(**query):
        answer = client.get(f"{sandbox.origin}/_sandbox/requests", params=query)
        return [entry["sequence"] for entry in answer.json()["requests"]]

    assert ask() == [1, 2, 3]
    assert ask(call_id=CALL_ID.replace("-", "").upper()) == [1, 3]
    assert ask(since=1) == [2, 3]
    assert ask(call_id=CALL_ID, since=1) == [3]
    assert client.get(f"{sandbox.origin}/_sandbox/requests?since=x").status_code == 400
    health = client.get(f"{sandbox.origin}/_sandbox/health").json()
    assert health == {"status": "ok", "requests": 3}


def test_forgetting_lets_everything_begin_anew(sandbox, client):
    assert statuses(client, sandbox, 2, number="12025550153") == [503, 200]
    assert client.delete(f"{sandbox.origin}/_sandbox/requests").status_code == 200
    assert (sandbox.requests(), sandbox.post_count()) == ([], 0)
    assert statuses(client, sandbox, 2, number="12025550153") == [503, 200]
    assert [entry["sequence"] for entry in sandbox.requests()] == [1, 2]


def test_the_record_outlives_the_server_in_its_file(client, tmp_path):
    path = tmp_path / "record.jsonl"
    with SandboxServer(record_path=path) as first:
        post(client, first)
        post(client, first, number="12025550104")
        assert len(path.read_text().splitlines()) == 2
    with SandboxServer(record_path=path) as second:
        assert (second.post_count(CALL_ID), second.carried_out_count(CALL_ID)) == (2, 1)
        post(client, second)
        assert [entry["sequence"] for entry in second.requests()] == [1, 2, 3]
        second.controls.clear()
        assert path.read_text() == ""
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_many_clients_at_once_are_all_written_down(sandbox):
    def work(worker: int) -> None:
        with requests.Session() as session:
            session.trust_env = False
            for number in range(25):
                call_id = f"00000000-0000-0000-0000-{worker:06d}{number:06d}"
                assert post(session, sandbox, call_id=call_id, timeout=10).status_code == 200

    with ThreadPoolExecutor(16) as pool:
        list(pool.map(work, range(16)))
    assert sandbox.post_count() == 400
    assert [entry["sequence"] for entry in sandbox.requests()] == list(range(1, 401))


# ── starting and stopping ─────────────────────────────────────────────────────────────────────────────────


def test_an_address_in_use_is_an_os_error(sandbox):
    port = int(sandbox.origin.rsplit(":", 1)[1])
    with pytest.raises(OSError, match="in use"):
        SandboxServer(port=port)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=lambda number: number.name)
def test_a_signal_stops_the_serving_process_cleanly(spawn, client, number):
    code = """
        from transfer_worker.sandbox import run
        run("127.0.0.1", 0, "a-token", on_ready=lambda sandbox: print(sandbox.origin, flush=True))
        print("stopped", flush=True)
    """
    process = spawn([sys.executable, "-W", "error", "-c", textwrap.dedent(code)])
    origin = process.wait_for_output(r"^http://\S+$")[0]
    assert client.get(f"{origin}/_sandbox/health", timeout=2).status_code == 200
    process.send_signal(number)
    assert process.wait() == 0
    assert "stopped" in process.output()


CONTROLS = [
    ("GET", "requests"),
    ("GET", "transfers"),
    ("GET", "room"),
    ("GET", "webhooks"),
    ("GET", "nothing"),
    ("PUT", "faults"),
    ("PUT", "status_faults"),
    ("PUT", "webhooks"),
    ("PUT", f"courses/{CALL_ID}"),
    ("PUT", f"behaviours/{CALL_ID}"),
    ("DELETE", "requests"),
    ("DELETE", "faults"),
]


@pytest.mark.parametrize(("method", "address"), CONTROLS)
@pytest.mark.parametrize("token", ["", "Bearer wrong", f"Basic {DEFAULT_TOKEN}", "Bearer sandbox-t\xf6ken"])
def test_what_it_saw_and_what_it_does_take_its_token(sandbox, client, method, address, token):
    url = f"{sandbox.origin}/_sandbox/{address}"
    headers = {"Authorization": token.encode("latin-1")}
    assert client.request(method, url, json=["silence"], headers=headers).status_code == 401
    assert post(client, sandbox).status_code == 200  # nobody was told to be silent


@pytest.mark.parametrize(("method", "address"), CONTROLS)
@pytest.mark.parametrize(
    "host", ["evil.example", "127.0.0.1.evil.example", "localhost.evil.example:80", "[", ""]
)
def test_a_page_that_comes_by_a_name_of_its_own_is_refused_whatever_it_knows(
    sandbox, client, method, address, host
):
    url = f"{sandbox.origin}/_sandbox/{address}"
    assert client.request(method, url, json=["silence"], headers={"Host": host}).status_code == 403


@pytest.mark.parametrize(
    "host", ["localhost:8900", "127.0.0.1", "[::1]:8900", "sandbox:8900", "172.18.0.5:8900"]
)
def test_addresses_and_its_own_names_are_its_own(sandbox, client, host):
    answer = client.get(f"{sandbox.origin}/_sandbox/requests", headers={"Host": host})
    assert answer.status_code == 200


def test_its_health_is_no_secret(sandbox, client):
    del client.headers["Authorization"]
    assert client.get(f"{sandbox.origin}/_sandbox/health", headers={"Host": "any"}).status_code == 200
