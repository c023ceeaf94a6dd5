"""Flower beside a worker, for all of its tests."""

from __future__ import annotations

import sys
import uuid

import pytest

from support import ProcessSpawner, wait_until
from support.browser import open_browser
from support.cluster import Cluster, make_intent
from support.flower_scene import LOGIN, ROOT, SIP_USER, SUPPORT_NUMBER, Scene, is_up, send_plainly
from support.ports import pick_free_port
from transfer_worker.local.embedded_redis import EmbeddedRedis
from transfer_worker.sandbox import SandboxServer

SCREENSHOTS = ROOT / "build" / "screenshots"

REASON = "please call +1 202 555 0188 back"


@pytest.fixture(scope="session")
def browser():
    with open_browser() as browser:
        yield browser


@pytest.fixture
def open_page(browser):
    """Open a browser's page at a Flower, logged in."""
    contexts = []

    def open_at(url):
        context = browser.new_context(
            base_url=url,
            viewport={"width": 1740, "height": 820},
            http_credentials={"username": LOGIN[0], "password": LOGIN[1]},
        )
        context.set_default_timeout(30_000)
        contexts.append(context)
        return context.new_page()

    yield open_at
    for context in contexts:
        context.close()


@pytest.fixture
def page(open_page, scene):
    return open_page(scene.url)


@pytest.fixture
def keep():
    """Keep what a page looks like."""

    def save(page, name):
        SCREENSHOTS.mkdir(parents=True, exist_ok=True)
        page.screenshot(path=SCREENSHOTS / f"{name}.png", animations="disabled")

    return save


@pytest.fixture(scope="session")
def scene(tmp_path_factory):
    directory = tmp_path_factory.mktemp("flower")
    spawn = ProcessSpawner(directory)
    with EmbeddedRedis() as redis_server, SandboxServer() as sandbox:
        cluster = make_cluster(redis_server, sandbox, spawn, directory)
        try:
            scene = open_flower(cluster, directory)
            let_everything_happen(scene)
            yield scene
            scene.ledger.client.close()
        finally:
            spawn.end_all()


@pytest.fixture
def unattended(tmp_path):
    """Flower without a worker, and the Redis that it looks at."""
    spawn = ProcessSpawner(tmp_path)
    with EmbeddedRedis() as redis_server, SandboxServer() as sandbox:
        try:
            scene = open_flower(make_cluster(redis_server, sandbox, spawn, tmp_path), tmp_path)
            yield scene, redis_server
            scene.ledger.client.close()
        finally:
            spawn.end_all()


def make_cluster(redis_server, sandbox, spawn, directory):
    registry = directory / "destinations.toml"
    registry.write_text(f'[support]\ndescription = "Technical support"\nendpoints = ["{SUPPORT_NUMBER}"]\n')
    cluster = Cluster(redis_url=redis_server.url, sandbox=sandbox, spawn=spawn)
    cluster.environment |= {
        "TRANSFER_DESTINATIONS_FILE": str(registry),
        "TRANSFER_ATTEMPT_TIMEOUT_SECONDS": "3",
    }
    return cluster


def open_flower(cluster, directory):
    """Start Flower, and return what it will see."""
    port = pick_free_port()
    database = directory / "flower.db"
    flower = cluster.spawn(
        [sys.executable, "-m", "celery", "-A", "transfer_worker", "flower",
         f"--conf={ROOT / 'worker' / 'flowerconfig.py'}"],
        env={
            "TRANSFER_REDIS_URL": cluster.redis_url,
            "FLOWER_PORT": str(port),
            "FLOWER_DB": str(database),
            "FLOWER_STATE_SAVE_INTERVAL": "500",
            "FLOWER_BASIC_AUTH": ":".join(LOGIN),
        },
        name="flower",
    )  # fmt: skip
    wait_until(lambda: is_up(port), message="Flower listens")
    return Scene(cluster, f"http://127.0.0.1:{port}", database, cluster.ledger(), flower)


def let_everything_happen(scene):
    """Let each kind of ending happen once."""
    cluster = scene.cluster
    cluster.start_worker()
    wait_until(lambda: "w1@test" in scene.fetch("/workers?json=1"), message="Flower sees the worker")
    with cluster.publisher() as publisher:
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
            intent = make_intent(destination, reason=REASON, requested_by="agent billing-bot")
            handle = publisher.submit(intent)
            scene.transfers[name] = (handle.transfer_id, handle.outcome().call_id)
    for name, intent in {
        "plain": {"call_id": str(uuid.uuid4()), "destination": SUPPORT_NUMBER, "reason": REASON},
        "plain and wrong": {"call_id": "x", "destination": SUPPORT_NUMBER, "metadata": {"who": SIP_USER}},
    }.items():
        scene.transfers[name] = (send_plainly(cluster, intent), intent["call_id"])
    wait_until(
        lambda: all(
            scene.tasks().get(transfer_id, {}).get("state") in {"SUCCESS", "FAILURE"}
            for transfer_id, _ in scene.transfers.values()
        ),
        message=lambda: f"Flower has seen every ending: {scene.tasks()}",
    )
