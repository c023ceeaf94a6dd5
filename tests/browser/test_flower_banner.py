"""The line above Flower's pages: nobody reads them and thinks that all is well while callers wait."""

from __future__ import annotations

import os
import re
import signal

import pytest
from playwright.sync_api import expect

from support.cluster import make_intent

SECONDS = 30_000
NOBODY = "No worker gives a sign of life"
MOMENT = r"at 20\d\d-\d\d-\d\d \d\d:\d\d:\d\d UTC"


@pytest.mark.parametrize("path", ["/workers", "/tasks", "/broker"])
def test_dead_workers_and_waiting_callers_are_said_on_each_page(open_page, unattended, keep, path):
    scene, _ = unattended
    page = open_page(scene.url)
    page.goto(path)
    banner = page.locator("#banner")
    expect(banner).to_have_text(
        f"{NOBODY} (Flower has heard of none). Waiting in the queue: 0. See: call-transfer status",
        timeout=SECONDS,
    )

    worker = scene.cluster.start_worker()
    expect(banner).to_be_hidden(timeout=SECONDS)

    worker.kill_group()
    with scene.cluster.publisher() as publisher:
        publisher.submit(make_intent())
    expect(banner).to_have_text(
        re.compile(rf"^{NOBODY} \(the last one {MOMENT}, \d+ s ago\)\. Waiting in the queue: 1\."),
        timeout=SECONDS,
    )
    keep(page, f"no worker {path[1:]}")


def test_a_redis_that_is_silent_or_away_makes_the_page_say_how_old_it_is(open_page, unattended, keep):
    scene, server = unattended
    scene.cluster.start_worker()
    page = open_page(scene.url)
    page.goto("/tasks")
    banner = page.locator("#banner")
    expect(banner).to_be_hidden(timeout=SECONDS)
    old = re.compile(rf"^Redis does not answer\. These pages show what was so {MOMENT}, \d+ s ago\. See: ")

    os.kill(server.pid, signal.SIGSTOP)
    try:
        expect(banner).to_have_text(old, timeout=SECONDS)
        keep(page, "redis silent")
    finally:
        os.kill(server.pid, signal.SIGCONT)
    expect(banner).to_be_hidden(timeout=SECONDS)

    os.kill(server.pid, signal.SIGKILL)
    expect(banner).to_have_text(old, timeout=SECONDS)


def test_a_flower_that_is_gone_is_seen(open_page, unattended):
    scene, _ = unattended
    page = open_page(scene.url)
    page.goto("/tasks")
    expect(page.locator("#banner")).to_contain_text("No worker", timeout=SECONDS)

    scene.flower.kill_group()

    expect(page.locator("#banner")).to_have_text(
        re.compile(rf"^Flower does not answer\. This page shows what was so {MOMENT}\.$"), timeout=SECONDS
    )
