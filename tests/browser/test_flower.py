"""What an engineer does in Flower, in a browser."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Error, expect

OUTCOME, ASKED_FOR, ASKED_BY = 2, 3, 4


def search(page, text):
    page.goto("/tasks")
    expect(rows(page).first).to_be_visible()  # before, nobody listens to what is typed
    page.locator("input[type=search]").fill(text)


def rows(page):
    return page.locator("#tasks-table tbody tr")


def cell(row, column):
    return row.locator("td").nth(column)


def test_without_the_login_a_browser_sees_nothing(browser, scene):
    context = browser.new_context(base_url=scene.url)
    with pytest.raises(Error, match="ERR_INVALID_AUTH_CREDENTIALS"):
        context.new_page().goto("/tasks")
    context.close()


def without_dashes(name):
    return name.replace("-", "")


@pytest.mark.parametrize(
    ("query", "spelling"),
    [("{}", str), ("{}", str.upper), ("{}", without_dashes), ("kwargs:call_id={}", str)],
)
def test_a_transfer_is_found_by_its_call_and_says_how_it_ended(page, scene, keep, query, spelling):
    transfer_id, call_id = scene.transfers["not allowed"]
    search(page, query.format(spelling(call_id)))

    expect(rows(page)).to_have_count(1)
    expect(rows(page)).to_contain_text("FAILURE")
    rows(page).locator(f"a[href*='{transfer_id}']").click()
    expect(page.locator("#task-page")).to_contain_text("TransferRejected(destination_not_allowed")
    expect(page.locator("#task-page")).to_contain_text(call_id)
    keep(page, "task")


@pytest.mark.parametrize("spelling", [str, without_dashes])
def test_a_line_of_the_audit_log_is_found_by_pasting_its_transfer_id(page, scene, spelling):
    transfer_id, call_id = scene.transfers["named"]
    search(page, spelling(transfer_id))

    expect(rows(page)).to_have_count(1)
    expect(cell(rows(page), OUTCOME)).to_have_text("submitted (accepted_by_platform, attempts 1, HTTP 200)")
    expect(cell(rows(page), ASKED_FOR)).to_have_text(f"call {call_id} to support +1*******43")
    expect(cell(rows(page), ASKED_BY)).to_have_text("agent billing-bot: please call +1*******88 back")


def test_who_asked_finds_what_was_asked(page, scene):
    search(page, '"agent billing-bot"')

    expect(rows(page)).to_have_count(8)
    expect(cell(rows(page).first, ASKED_BY)).to_contain_text("agent billing-bot")


@pytest.mark.parametrize(
    ("query", "name"),
    [
        ("server_error", "unknown"),
        ("TransferUnknown", "unknown"),
        ("result:TransferUnknown", "unknown"),
        ("destination_not_allowed", "not allowed"),
        ("call_not_found", "not found"),
        ("invalid_intent", "plain and wrong"),
    ],
)
def test_a_reason_finds_what_ended_for_it(page, scene, keep, query, name):
    search(page, query)

    expect(rows(page)).to_have_count(1)
    expect(cell(rows(page), OUTCOME)).to_contain_text(query.removeprefix("result:"))
    expect(rows(page)).to_contain_text(scene.transfers[name][0])
    keep(page, f"reason {name}")


def test_rows_are_sorted_by_how_they_ended(page, scene):
    page.goto("/tasks")
    expect(rows(page)).to_have_count(len(scene.transfers))
    heading = page.locator("th[data-column=result]").first
    for is_descending in (False, True):
        heading.click()
        expect(heading).to_have_attribute("aria-sort", "descending" if is_descending else "ascending")
        last = rows(page).first if is_descending else rows(page).last
        expect(cell(last, OUTCOME)).to_contain_text("TransferUnknown")
        shown = [cell(row, OUTCOME).inner_text().lower() for row in rows(page).all()]
        assert shown == sorted(shown, key=read_sort_key, reverse=is_descending)


def read_sort_key(shown):
    """Flower sorts by what it was told: a success stands in quotes."""
    return f"'{shown}" if shown.startswith("submitted") else shown


def test_a_row_says_when_it_was_and_in_which_zone(page, scene):
    page.goto("/tasks")
    expect(page.locator("th[data-column=received]").first).to_have_text("Received (UTC)")
    expect(cell(rows(page).first, 0)).to_have_text(re.compile(r"^20\d\d-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3}$"))
    headings = page.locator(".dataTables_scrollHead th").all_text_contents()
    assert headings[:5] == ["Received (UTC)", "State", "Outcome", "Asked for", "Asked by"]


def test_the_failed_ones_are_found_by_their_state(page, scene, keep):
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


def test_a_worker_is_seen_to_go_offline(page, scene, keep):
    second = scene.cluster.start_worker()
    page.goto("/workers")
    row = page.locator("#workers-table tbody tr", has_text="w2@test")
    expect(row).to_contain_text("Online", timeout=30_000)

    second.kill_group()

    expect(row).to_contain_text("Offline", timeout=30_000)
    keep(page, "workers")
