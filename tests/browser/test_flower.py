"""What an engineer does in Flower, in a browser."""

from __future__ import annotations

import pytest
from playwright.sync_api import Error, expect

from support.browser import open_browser
from support.flower_scene import LOGIN, ROOT

SCREENSHOTS = ROOT / "build" / "screenshots"


@pytest.fixture(scope="module")
def browser():
    with open_browser() as browser:
        yield browser


@pytest.fixture
def page(browser, scene):
    context = browser.new_context(
        base_url=scene.url,
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


def test_without_the_login_a_browser_sees_nothing(browser, scene):
    context = browser.new_context(base_url=scene.url)
    with pytest.raises(Error, match="ERR_INVALID_AUTH_CREDENTIALS"):
        context.new_page().goto("/tasks")
    context.close()


@pytest.mark.parametrize("query", ["{}", "kwargs:call_id={}"])
def test_a_transfer_is_found_by_its_call_and_says_how_it_ended(page, scene, query):
    transfer_id, call_id = scene.transfers["not allowed"]
    search(page, query.format(call_id))

    expect(rows(page)).to_have_count(1)
    expect(rows(page)).to_contain_text("FAILURE")
    rows(page).locator(f"a[href*='{transfer_id}']").click()
    expect(page.locator("#task-page")).to_contain_text("TransferRejected(destination_not_allowed")
    expect(page.locator("#task-page")).to_contain_text(call_id)
    keep(page, "task")


def test_a_line_of_the_audit_log_is_found_by_pasting_its_transfer_id(page, scene):
    transfer_id, call_id = scene.transfers["named"]
    search(page, transfer_id)

    expect(rows(page)).to_have_count(1)
    expect(rows(page)).to_contain_text(call_id)
    expect(rows(page)).to_contain_text(f"support +1*******43 call {call_id}")
    expect(rows(page)).to_contain_text("submitted (accepted_by_platform, attempts 1, HTTP 200)")


def test_the_failed_ones_are_found_by_their_state(page, scene):
    page.goto("/tasks")
    expect(rows(page)).to_have_count(len(scene.transfers))
    keep(page, "tasks")
    search(page, "state:FAILURE")

    expect(rows(page)).to_have_count(4)
    for ending in ("not allowed", "not found", "unknown", "plain and wrong"):
        expect(page.locator("#tasks-table tbody")).to_contain_text(scene.transfers[ending][1])
    keep(page, "failed")


def test_a_failure_says_in_its_row_how_it_ended(page, scene):
    _, call_id = scene.transfers["unknown"]
    search(page, f"kwargs:call_id={call_id} state:FAILURE")

    expect(rows(page)).to_have_count(1)
    expect(rows(page)).to_contain_text("TransferUnknown(server_error, attempts 1, HTTP 500")


def test_how_many_wait_is_on_the_broker_page(page):
    page.goto("/broker")

    expect(page.locator("table tbody tr", has_text="transfers")).to_contain_text("0")


def test_a_worker_is_seen_to_go_offline(page, scene):
    second = scene.cluster.start_worker()
    page.goto("/workers")
    row = page.locator("#workers-table tbody tr", has_text="w2@test")
    expect(row).to_contain_text("Online", timeout=15_000)

    second.kill_group()

    expect(row).to_contain_text("Offline", timeout=20_000)
    keep(page, "workers")
