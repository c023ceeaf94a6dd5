"""Flower as an engineer on call sees it, in a real browser, with real transfers behind it."""

from __future__ import annotations

import ast
import json
import re
import socket
import sys
import urllib.error
import urllib.parse
import urllib.request
import uuid
from base64 import b64encode
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from celery import Celery
from playwright.sync_api import Error, expect

from support import ProcessSpawner, urlopen_directly, wait_until
from support.browser import open_browser
from support.house import PIOPIY_NUMBER, House, make_intent
from transfer_tasks.outcome import State
from transfer_tasks.publisher.message import TASK_NAME, build_message
from transfer_worker.local.embedded_redis import EmbeddedRedis
from transfer_worker.sandbox import SandboxServer

if TYPE_CHECKING:
    from transfer_tasks.ledger.ledger import Ledger

ROOT = Path(__file__).parents[2]
SCREENSHOTS = ROOT / "build" / "screenshots"
LOGIN = ("on-call", "correct-horse-battery")
SIP_USER = "jane.doe"
SUPPORT_NUMBER = "+1 202 555 0143"
SLOW_NUMBER = "+1 202 555 0101"
SILENT_NUMBER = "+1 202 555 0160"


@dataclass
class Desk:
    """Flower, and the transfers that it has seen, by what each of them shows."""

    house: House
    url: str
    database: Path
    ledger: Ledger
    transfers: dict[str, tuple[str, str]] = field(default_factory=dict)

    def fetch(self, path):
        """Return the text at a path of Flower, behind its login."""
        request = urllib.request.Request(self.url + path)
        request.add_header("Authorization", f"Basic {b64encode(':'.join(LOGIN).encode()).decode()}")
        try:
            with urlopen_directly(request, timeout=10) as answer:
                return answer.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.read().decode()

    def tasks(self):
        return json.loads(self.fetch("/api/tasks"))

    def row(self, name):
        return self.tasks()[self.transfers[name][0]]

    def count_events(self, kind):
        """Return how many events of a kind have reached Flower."""
        return sum(
            float(line.rpartition(" ")[2])
            for line in self.fetch("/metrics").splitlines()
            if line.startswith("flower_events_total{") and f'type="{kind}"' in line
        )

    def state_of(self, transfer_id):
        """Return the state on record, or None."""
        record = self.ledger.read(transfer_id)
        return record.state if record else None


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture(scope="module")
def desk(tmp_path_factory):
    directory = tmp_path_factory.mktemp("flower")
    registry = directory / "destinations.toml"
    registry.write_text(f'[support]\ndescription = "Technical support"\nendpoints = ["{SUPPORT_NUMBER}"]\n')
    spawn = ProcessSpawner(directory)
    with EmbeddedRedis() as redis_server, SandboxServer() as sandbox:
        house = House(redis_url=redis_server.url, sandbox=sandbox, spawn=spawn)
        house.environment |= {
            "TRANSFER_DESTINATIONS_FILE": str(registry),
            "TRANSFER_ATTEMPT_TIMEOUT_SECONDS": "3",
        }
        try:
            desk = open_desk(house, directory)
            yield desk
            desk.ledger.client.close()
        finally:
            spawn.end_all()


def open_desk(house, directory):
    """Start Flower and a worker, and let each kind of ending happen once."""
    port = free_port()
    desk = Desk(house, f"http://127.0.0.1:{port}", directory / "flower.db", house.ledger())
    house.spawn(
        [sys.executable, "-m", "celery", "-A", "transfer_worker", "flower",
         f"--conf={ROOT / 'worker' / 'flowerconfig.py'}"],
        env={
            "TRANSFER_REDIS_URL": house.redis_url,
            "FLOWER_PORT": str(port),
            "FLOWER_DB": str(desk.database),
            "FLOWER_STATE_SAVE_INTERVAL": "500",
            "FLOWER_BASIC_AUTH": ":".join(LOGIN),
        },
        name="flower",
    )  # fmt: skip
    wait_until(lambda: is_up(port), message="Flower listens")
    house.start_worker()
    wait_until(lambda: "w1@test" in desk.fetch("/workers?json=1"), message="Flower sees the worker")
    with house.publisher() as publisher:
        for name, destination in {
            "named": "support",
            "submitted": "+1 202 555 0100",
            "sip": f"sip:{SIP_USER}@sip.example.com",
            "agent": f"agent:{uuid.uuid4()}",
            "not allowed": "+44 20 7946 0018",
            "not found": "+1 202 555 0104",
            "unknown": "+1 202 555 0150",
            "retried": "+1 202 555 0153",
        }.items():
            handle = publisher.submit(make_intent(destination, reason="please call +1 202 555 0188 back"))
            desk.transfers[name] = (handle.transfer_id, handle.outcome().call_id)
    for name, intent in {
        "plain": {"call_id": str(uuid.uuid4()), "destination": SUPPORT_NUMBER},
        "plain and wrong": {"call_id": "x", "destination": SUPPORT_NUMBER, "metadata": {"who": SIP_USER}},
    }.items():
        desk.transfers[name] = (send_plainly(house, intent), intent["call_id"])
    wait_until(
        lambda: all(
            desk.tasks().get(transfer_id, {}).get("state") in {"SUCCESS", "FAILURE"}
            for transfer_id, _ in desk.transfers.values()
        ),
        message=lambda: f"Flower has seen every ending: {desk.tasks()}",
    )
    return desk


def send_plainly(house, intent):
    """Publish as somebody does who has only Celery."""
    with Celery(broker=house.redis_url, set_as_current=False) as plain:
        return plain.send_task(TASK_NAME, kwargs={"intent": intent}, queue="transfers").id


def is_up(port):
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@pytest.fixture(scope="module")
def browser():
    with open_browser() as browser:
        yield browser


@pytest.fixture
def page(browser, desk):
    context = browser.new_context(
        base_url=desk.url,
        viewport={"width": 1740, "height": 820},
        http_credentials={"username": LOGIN[0], "password": LOGIN[1]},
    )
    context.set_default_timeout(10_000)
    yield context.new_page()
    context.close()


def keep(page, name):
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=SCREENSHOTS / f"{name}.png", animations="disabled")


def search(page, text):
    page.goto("/tasks")
    expect(rows(page).first).to_be_visible()  # before, nobody listens to what is typed
    page.locator("input[type=search]").fill(text)


def rows(page):
    return page.locator("#tasks-table tbody tr")


# --- what an engineer does


def test_without_the_login_a_browser_sees_nothing(browser, desk):
    context = browser.new_context(base_url=desk.url)
    with pytest.raises(Error, match="ERR_INVALID_AUTH_CREDENTIALS"):
        context.new_page().goto("/tasks")
    context.close()


@pytest.mark.parametrize("query", ["{}", "kwargs:call_id={}"])
def test_a_transfer_is_found_by_its_call_and_says_how_it_ended(page, desk, query):
    transfer_id, call_id = desk.transfers["not allowed"]
    search(page, query.format(call_id))

    expect(rows(page)).to_have_count(1)
    expect(rows(page)).to_contain_text("FAILURE")
    rows(page).locator(f"a[href*='{transfer_id}']").click()
    expect(page.locator("#task-page")).to_contain_text("TransferRejected(destination_not_allowed")
    expect(page.locator("#task-page")).to_contain_text(call_id)
    keep(page, "task")


def test_a_line_of_the_audit_log_is_found_by_pasting_its_transfer_id(page, desk):
    transfer_id, call_id = desk.transfers["named"]
    search(page, transfer_id)

    expect(rows(page)).to_have_count(1)
    expect(rows(page)).to_contain_text(call_id)
    expect(rows(page)).to_contain_text(f"support +1*******43 call {call_id}")
    expect(rows(page)).to_contain_text("submitted (accepted_by_platform, attempts 1, HTTP 200)")


def test_the_failed_ones_are_found_by_their_state(page, desk):
    page.goto("/tasks")
    expect(rows(page)).to_have_count(len(desk.transfers))
    keep(page, "tasks")
    search(page, "state:FAILURE")

    expect(rows(page)).to_have_count(4)
    for ending in ("not allowed", "not found", "unknown", "plain and wrong"):
        expect(page.locator("#tasks-table tbody")).to_contain_text(desk.transfers[ending][1])
    keep(page, "failed")


def test_a_failure_says_in_its_row_how_it_ended(page, desk):
    _, call_id = desk.transfers["unknown"]
    search(page, f"kwargs:call_id={call_id} state:FAILURE")

    expect(rows(page)).to_have_count(1)
    expect(rows(page)).to_contain_text("TransferUnknown(server_error, attempts 1, HTTP 500")


def test_how_many_wait_is_on_the_broker_page(page):
    page.goto("/broker")

    expect(page.locator("table tbody tr", has_text="transfers")).to_contain_text("0")


def test_a_worker_is_seen_to_go_offline(page, desk):
    second = desk.house.start_worker()
    page.goto("/workers")
    row = page.locator("#workers-table tbody tr", has_text="w2@test")
    expect(row).to_contain_text("Online", timeout=15_000)

    second.kill_group()

    expect(row).to_contain_text("Offline", timeout=20_000)
    keep(page, "workers")


# --- what the rows say


@pytest.mark.parametrize(
    ("name", "kwargs", "ending"),
    [
        ("named", {"destination": "support", "to": "+1*******43"}, "submitted (accepted_by_platform"),
        ("submitted", {"destination": "endpoints", "to": "+1*******00"}, "submitted (accepted_by_platform"),
        ("sip", {"destination": "endpoints", "to": "sip:***@sip.example.com"}, "submitted ("),
        ("retried", {"destination": "endpoints", "to": "+1*******53"}, "attempts 2, HTTP 200)"),
        ("plain", {"destination": "endpoints", "to": "+1*******43"}, "submitted (accepted_by_platform"),
        ("not allowed", {"destination": "endpoints"}, "TransferRejected(destination_not_allowed, attempts 0"),
        ("not found", {"destination": "endpoints"}, "TransferRejected(call_not_found, attempts 1, HTTP 404"),
        ("unknown", {"destination": "endpoints"}, "TransferUnknown(server_error, attempts 1, HTTP 500"),
        ("plain and wrong", {"destination": "unreadable"}, "TransferRejected(invalid_intent"),
    ],
)
def test_a_row_says_at_a_glance_where_to_and_how_it_ended(desk, name, kwargs, ending):
    row = desk.row(name)
    shown = ast.literal_eval(row["kwargs"])

    assert shown.items() >= kwargs.items()
    assert ending in (row["exception"] or row["result"])
    assert row["state"] == ("SUCCESS" if "submitted (" in ending or "HTTP 200" in ending else "FAILURE")


def test_a_second_bell_does_not_turn_an_unknown_into_a_success(desk):
    before = desk.count_events("task-failed")
    ring(desk, "unknown")

    wait_until(lambda: desk.count_events("task-failed") > before, message="the bell was answered")
    assert desk.row("unknown")["state"] == "FAILURE"


def test_a_bell_that_finds_the_transfer_in_other_hands_leaves_the_last_word_to_them(desk):
    with desk.house.publisher() as publisher:
        handle = publisher.submit(make_intent(SILENT_NUMBER))
        desk.transfers["held"] = (handle.transfer_id, "")
        wait_until(lambda: desk.state_of(handle.transfer_id) is State.SENDING)
        before = desk.count_events("task-started")
        ring(desk, "held")
        wait_until(lambda: desk.count_events("task-started") > before, message="the bell was heard")

        assert handle.outcome().state is State.UNKNOWN
    # A success of the second bell would stand for ever: Celery puts it before any failure.
    wait_until(lambda: desk.row("held")["state"] == "FAILURE", message=lambda: str(desk.row("held")))
    assert "TransferUnknown(answer_lost" in desk.row("held")["exception"]


def test_a_repeat_from_plain_celery_is_a_success_only_if_the_first_one_was_submitted(desk):
    slow = {"call_id": str(uuid.uuid4()), "destination": SLOW_NUMBER}
    first = send_plainly(desk.house, slow)
    wait_until(lambda: desk.state_of(first) is State.SENDING)
    early = send_plainly(desk.house, slow)

    row = wait_until(lambda: (found := desk.tasks().get(early)) and found["state"] == "FAILURE" and found)
    assert row["exception"] == f"TransferRepeated(repeat of {first} (sending))"

    wait_until(lambda: desk.tasks()[first]["state"] == "SUCCESS")
    late = send_plainly(desk.house, slow)
    row = wait_until(lambda: (found := desk.tasks().get(late)) and found["state"] == "SUCCESS" and found)
    assert f"repeat of {first}" in row["result"]


def ring(desk, name):
    """Put another message for the same transfer on the queue."""
    transfer_id, call_id = desk.transfers[name]
    message = build_message(transfer_id=transfer_id, call_id=call_id, labels={}, queue="transfers")
    desk.ledger.client.lpush("transfers", message)


# --- what nobody may read


def test_celery_inspect_shows_no_number_either(desk):
    transfer_id = send_plainly(
        desk.house, {"call_id": str(uuid.uuid4()), "destination": SLOW_NUMBER, "reason": SIP_USER}
    )
    wait_until(lambda: desk.state_of(transfer_id) is State.SENDING)

    with Celery(broker=desk.house.redis_url, set_as_current=False) as plain:
        active = plain.control.inspect(["w1@test"], timeout=1).active(safe=False)

    shown = next(task["kwargs"] for task in active["w1@test"] if task["id"] == transfer_id)
    assert "+1*******01" in shown
    assert SIP_USER not in shown


def test_no_number_and_no_secret_is_in_any_page_answer_or_file_of_flower(desk):
    in_flight = [
        send_plainly(desk.house, {"call_id": str(uuid.uuid4()), "destination": SILENT_NUMBER}),
        send_plainly(desk.house, {"call_id": "wrong", "destination": SILENT_NUMBER, "reason": SIP_USER}),
    ]
    wait_until(lambda: desk.state_of(in_flight[0]) is State.SENDING)
    wait_until(lambda: in_flight[1] in desk.tasks())

    texts = {path: desk.fetch(path) for path in every_path(desk)}
    assert in_flight[0] in texts["/api/workers?refresh=1"], "the worker told what it is doing"
    assert "broker_url" in texts["/api/workers?refresh=1"], "the worker told its configuration"
    texts["the database"] = wait_until(
        lambda: saved(desk, in_flight[1]), message="Flower has saved its state"
    )

    secret = re.search(r"://:([^@]+)@", desk.house.redis_url)[1]
    forbidden = {secret, desk.house.sandbox.token, LOGIN[1], SIP_USER, PIOPIY_NUMBER}
    for path, text in texts.items():
        assert {word for word in forbidden if word in text} == set(), path
        assert re.findall(r"(?<!\d)\+?1?[ (-]*(?:202)[ )-]*555[ -]*01\d\d", text) == [], path
        assert re.findall(r"20 ?7946 ?0018", text) == [], path


def every_path(desk):
    tasks = desk.tasks()
    columns = "draw=1&start=0&length=100&order[0][column]=0&order[0][dir]=asc&columns[0][data]=received"
    worker = urllib.parse.quote("w1@test")
    return [
        "/",
        "/workers",
        "/workers?json=1",
        f"/worker/{worker}",
        "/tasks",
        f"/tasks/datatable?{columns}",
        "/broker",
        "/api/workers?refresh=1",
        "/api/tasks",
        "/api/task/types",
        "/api/queues/length",
        "/metrics",
        "/healthcheck",
        *(f"/task/{task_id}" for task_id in tasks),
        *(f"/api/task/info/{task_id}" for task_id in tasks),
    ]


def saved(desk, task_id):
    """Return what is on disk once it tells of this task."""
    text = "".join(path.read_bytes().decode("latin-1") for path in desk.database.parent.glob("flower.db*"))
    return text if task_id in text else ""
