"""Flower beside a worker, for all of its tests."""

from __future__ import annotations

import sys
import uuid

import pytest

from support import ProcessSpawner, wait_until
from support.cluster import Cluster, make_intent
from support.flower_scene import LOGIN, ROOT, SIP_USER, SUPPORT_NUMBER, Scene, is_up, send_plainly
from support.ports import pick_free_port
from transfer_worker.local.embedded_redis import EmbeddedRedis
from transfer_worker.sandbox import SandboxServer


@pytest.fixture(scope="session")
def scene(tmp_path_factory):
    directory = tmp_path_factory.mktemp("flower")
    registry = directory / "destinations.toml"
    registry.write_text(f'[support]\ndescription = "Technical support"\nendpoints = ["{SUPPORT_NUMBER}"]\n')
    spawn = ProcessSpawner(directory)
    with EmbeddedRedis() as redis_server, SandboxServer() as sandbox:
        cluster = Cluster(redis_url=redis_server.url, sandbox=sandbox, spawn=spawn)
        cluster.environment |= {
            "TRANSFER_DESTINATIONS_FILE": str(registry),
            "TRANSFER_ATTEMPT_TIMEOUT_SECONDS": "3",
        }
        try:
            scene = open_tools(cluster, directory)
            yield scene
            scene.ledger.client.close()
        finally:
            spawn.end_all()


def open_tools(cluster, directory):
    """Start Flower and a worker, and let each kind of ending happen once."""
    port = pick_free_port()
    scene = Scene(cluster, f"http://127.0.0.1:{port}", directory / "flower.db", cluster.ledger())
    cluster.spawn(
        [sys.executable, "-m", "celery", "-A", "transfer_worker", "flower",
         f"--conf={ROOT / 'worker' / 'flowerconfig.py'}"],
        env={
            "TRANSFER_REDIS_URL": cluster.redis_url,
            "FLOWER_PORT": str(port),
            "FLOWER_DB": str(scene.database),
            "FLOWER_STATE_SAVE_INTERVAL": "500",
            "FLOWER_BASIC_AUTH": ":".join(LOGIN),
        },
        name="flower",
    )  # fmt: skip
    wait_until(lambda: is_up(port), message="Flower listens")
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
            handle = publisher.submit(make_intent(destination, reason="please call +1 202 555 0188 back"))
            scene.transfers[name] = (handle.transfer_id, handle.outcome().call_id)
    for name, intent in {
        "plain": {"call_id": str(uuid.uuid4()), "destination": SUPPORT_NUMBER},
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
    return scene
