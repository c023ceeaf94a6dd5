"""Our message is part of what Celery and kombu 5.7 write; and the defaults that our settings stand on.

If a test of this file fails after an upgrade, the vendor has changed something that the cluster stands on.
"""

from __future__ import annotations

import base64
import inspect
import json
import sys
from typing import Any

import celery
import kombu
import pytest
from celery import Celery
from celery.app.defaults import DEFAULTS
from kombu.transport import redis as kombu_redis

from support.cluster import make_intent
from transfer_tasks.publisher.message import EMPTY_BODY, INTENT_HEADER, TASK_NAME, build_message
from transfer_worker.runtime import celery_app

TRANSFER_ID = "0f8fad5b-d9cb-469f-a165-70867728950e"
LABELS = {"destination": "endpoints", "to": "+1*******43"}
KWARGS_REPR = "{'call_id': 'c', 'destination': 'endpoints', 'to': '+1*******43'}"

# What differs on purpose, or names the sender: path -> why.
DIFFERENT = {
    "body": "without the names of what no message of ours has: see EMPTY_BODY",
    "properties.delivery_tag": "the transfer's id, so that recovery finds it in `unacked`; kombu's is random",
    "headers.origin": "gen123@host; ours is 123@host",
}

LEFT_OUT = {
    "headers.lang", "headers.root_id", "headers.parent_id", "headers.shadow", "headers.eta",
    "headers.expires", "headers.group", "headers.group_index", "headers.retries", "headers.timelimit",
    "headers.stamps",
    "headers.stamped_headers", "headers.replaced_task_nesting", "properties.correlation_id",
    "properties.reply_to", "properties.argsrepr", "properties.kwargsrepr", "properties.delivery_mode",
    "properties.priority",
}  # fmt: skip
"""What a worker does without: it is null, or stands there twice."""


def write_with_celery(redis_client: Any, url: str, **options: Any) -> dict[str, Any]:
    app = Celery("any producer", broker=url, set_as_current=False)
    app.conf.update(task_default_queue="transfers", broker_connection_retry_on_startup=True)
    with app.connection_for_write() as connection:
        app.send_task(TASK_NAME, task_id=TRANSFER_ID, connection=connection, **options)
    app.close()
    element = redis_client.rpop("transfers")
    assert element is not None
    written: dict[str, Any] = json.loads(element)
    return written


def write_ourselves() -> dict[str, Any]:
    message = build_message(transfer_id=TRANSFER_ID, call_id="c", labels=LABELS, queue="transfers")
    written: dict[str, Any] = json.loads(message)
    return written


def flatten(message: dict[str, Any]) -> dict[str, Any]:
    flat = {name: value for name, value in message.items() if not isinstance(value, dict)}
    for part in ("headers", "properties"):
        flat.update({f"{part}.{name}": value for name, value in message[part].items()})
    return flat


def test_the_versions_are_those_that_this_was_measured_with():
    assert celery.__version__.startswith("5.7.")
    assert kombu.__version__.startswith("5.7.")


def test_every_field_is_what_kombu_and_celery_write(redis_client, redis_url):
    theirs = flatten(
        write_with_celery(
            redis_client,
            redis_url,
            argsrepr="()",
            kwargsrepr=KWARGS_REPR,
            ignore_result=True,
        )
    )
    ours = flatten(write_ourselves())
    assert ours.keys() - theirs.keys() == {f"headers.{INTENT_HEADER}"}
    assert theirs.keys() - ours.keys() == LEFT_OUT
    del ours[f"headers.{INTENT_HEADER}"]
    assert {name for name in ours if ours[name] != theirs[name]} <= DIFFERENT.keys()
    for name in DIFFERENT:
        assert type(ours[name]) is type(theirs[name]), name


def test_a_task_that_is_called_by_its_function_looks_the_same(redis_client, redis_url):
    """`apply_async` of a registered task adds what the task's own options say; ours has the same."""
    app = Celery("any producer", broker=redis_url, set_as_current=False)
    app.conf.update(task_default_queue="transfers", task_ignore_result=True)

    @app.task(name=TASK_NAME)
    def transfer_call() -> None:
        """Never run."""

    transfer_call.apply_async(task_id=TRANSFER_ID, argsrepr="()", kwargsrepr=KWARGS_REPR)
    app.close()
    theirs, ours = flatten(json.loads(redis_client.rpop("transfers"))), flatten(write_ourselves())
    del ours[f"headers.{INTENT_HEADER}"]
    assert {name for name in ours if ours[name] != theirs[name]} <= DIFFERENT.keys()


def test_the_body_is_celerys_empty_body_without_what_would_be_null():
    assert json.loads(base64.b64decode(EMPTY_BODY)) == [[], {}, {}]


def test_flower_gets_to_see_what_the_labels_say_and_nothing_more():
    headers = write_ourselves()["headers"]
    assert (headers["argsrepr"], headers["kwargsrepr"]) == ("()", KWARGS_REPR)


def test_kombu_reads_our_envelope(redis_client, redis_url):
    redis_client.lpush(
        "transfers", build_message(transfer_id=TRANSFER_ID, call_id="c", labels=LABELS, queue="transfers")
    )
    with kombu.Connection(redis_url) as connection, connection.SimpleQueue("transfers") as queue:
        message = queue.get(timeout=2)
        assert message.headers["id"] == message.delivery_tag == TRANSFER_ID
        assert message.payload[:2] == [[], {}]
        # Where recovery looks for it.
        assert redis_client.hexists("unacked", TRANSFER_ID)
        assert redis_client.zscore("unacked_index", TRANSFER_ID) is not None
        message.ack()
        assert not redis_client.exists("unacked", "unacked_index")


def test_ids_and_labels_may_hold_anything_that_json_can_say():
    strange = "\u2028 \" ' \\ é 🙂"
    message = json.loads(
        build_message(transfer_id=strange, call_id=strange, labels={"to": strange}, queue="q")
    )
    assert message["headers"]["id"] == message["properties"]["delivery_tag"] == strange
    assert message["headers"]["kwargsrepr"] == repr({"call_id": strange, "to": strange})


# --- vendor facts that the settings in celery_app.py stand on


@pytest.mark.parametrize(
    ("option", "default"),
    [
        ("visibility_timeout", 3600),
        ("unacked_mutex_expire", 300),
        ("unacked_restore_limit", None),
        ("unacked_key", "unacked"),
        ("unacked_index_key", "unacked_index"),
        ("unacked_mutex_key", "unacked_mutex"),
    ],
)
def test_kombu_5_7_has_this_option_with_this_default(option, default):
    assert getattr(kombu_redis.Channel, option) == default


@pytest.mark.parametrize("option", ["unacked_restore_interval", "unacked_restore_throttle"])
def test_kombu_5_7_knows_this_option(option):
    assert option in inspect.getsource(kombu_redis)


def test_every_transport_option_that_we_set_is_one_that_kombu_5_7_reads():
    source = inspect.getsource(kombu_redis)
    for option in celery_app.app.conf.broker_transport_options:
        assert f"{option}" in source, option


@pytest.mark.parametrize(
    ("setting", "default"),
    [
        ("task_acks_late", False),
        ("task_reject_on_worker_lost", None),
        ("worker_prefetch_multiplier", 4),
        ("worker_pool", "prefork"),
        ("worker_send_task_events", False),
        ("worker_hijack_root_logger", True),
        ("worker_redirect_stdouts", True),
        ("broker_connection_max_retries", 100),
        ("task_default_queue", "celery"),
    ],
)
def test_celery_5_7_has_this_default_and_we_set_another(setting, default):
    assert DEFAULTS[setting] == default
    assert celery_app.app.conf[setting] != default


def test_only_json_is_read():
    assert list(celery_app.app.conf.accept_content) == ["json"]


def test_our_message_runs_on_a_real_worker_under_our_id(spawn, redis_client, redis_url, tmp_path):
    """A worker that knows nothing of us, with a task of the same name: the message itself is enough."""
    (tmp_path / "stranger.py").write_text(
        "import os\n"
        "from celery import Celery\n"
        "app = Celery('stranger', broker=os.environ['BROKER'])\n"
        "app.conf.update(task_default_queue='transfers', broker_connection_retry_on_startup=True)\n"
        f"@app.task(name={TASK_NAME!r}, bind=True)\n"
        "def run(self, **given):\n"
        "    print(f'ran {self.request.id} {self.request.args} {given}', flush=True)\n"
    )
    worker = spawn(
        [sys.executable, "-m", "celery", "-A", "stranger", "worker", "-P", "threads", "-c", "1",
         "--without-mingle", "--without-gossip"],
        env={"BROKER": redis_url, "PYTHONPATH": str(tmp_path)},
        cwd=tmp_path,
        name="stranger",
    )  # fmt: skip
    intent = make_intent()
    redis_client.lpush(
        "transfers",
        build_message(
            transfer_id=intent.transfer_id,
            call_id=intent.call_id,
            labels=intent.labels(),
            queue="transfers",
        ),
    )
    worker.wait_for_output(rf"ran {intent.transfer_id} \[\] {{}}", 20)
