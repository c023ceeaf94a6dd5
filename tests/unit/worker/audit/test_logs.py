"""One renderer for every line: JSON, UTC, and nothing in it that nobody may see."""

from __future__ import annotations

import io
import json
import logging
from datetime import UTC, datetime
from typing import Any

import pytest
import structlog

from transfer_worker.audit import logs

TOKEN = "the-token-of-the-account"
REDIS_URL = "redis://someone:p%40ss-word@redis.example:6379/0"
SENTINEL_URL = (
    "sentinel://:Redis-Own@one:26379,two:26379/0?master_name=m&sentinel_password=s%26crets-of-theirs"
)
TRANSFER_ID = "12025550-1431-4202-8555-014312025550"


@pytest.fixture
def lines():
    """Configure logging for one test; return what reads the lines that were written."""
    root = logging.getLogger()
    before = (root.handlers[:], root.level)
    stream = io.StringIO()
    logs.configure(level="INFO", secrets=[TOKEN, REDIS_URL, ""], stream=stream)
    yield lambda: [json.loads(line) for line in stream.getvalue().splitlines()]
    root.handlers[:], level = before
    root.setLevel(level)
    structlog.reset_defaults()
    for name in ("celery.worker.strategy", "celery.app.trace"):
        logging.getLogger(name).setLevel(logging.NOTSET)


def test_our_lines_and_others_are_one_json_object_each_with_time_and_level(lines):
    structlog.get_logger("ours").info("something.happened", count=3)
    logging.getLogger("theirs").warning("it is %s", "late")
    ours, theirs = lines()
    assert (ours["event"], ours["count"], ours["level"]) == ("something.happened", 3, "info")
    assert (theirs["event"], theirs["level"], theirs["logger"]) == ("it is late", "warning", "theirs")
    for line in (ours, theirs):
        moment = datetime.fromisoformat(line["timestamp"])
        assert moment.utcoffset() == UTC.utcoffset(None)


def test_a_line_that_brings_its_own_time_keeps_it(lines):
    structlog.get_logger("audit").info("transfer.finished", timestamp="2026-01-01T00:00:00.000+00:00")
    assert lines()[0]["timestamp"] == "2026-01-01T00:00:00.000+00:00"


@pytest.mark.parametrize("secret", [TOKEN, REDIS_URL, "p%40ss-word", "p@ss-word"])
@pytest.mark.parametrize("where", ["event", "field", "nested", "argument", "exception"])
def test_a_secret_is_in_no_part_of_a_line(lines, secret, where):
    said: Any = f"before {secret} after"
    log, foreign = structlog.get_logger("ours"), logging.getLogger("theirs")
    match where:
        case "event":
            log.info(said)
        case "field":
            log.info("x", field=said)
        case "nested":
            log.info("x", field={"list": [said, (said,)]})
        case "argument":
            foreign.warning("x %s", said)
        case "exception":
            foreign.error("x", exc_info=RuntimeError(said))
    (line,) = lines()
    text = json.dumps(line)
    assert secret not in text
    assert "***" in text


@pytest.mark.parametrize(
    "number",
    ["12025550143", "+1 (202) 555-0143", "+12025550143", "sip:alice.jones@example.com", "2025550143"],
)
def test_a_whole_number_is_in_no_part_of_a_line(lines, number):
    structlog.get_logger("ours").info(f"calls {number}", detail=f"to {number}", to=[number])
    logging.getLogger("theirs").error("The full contents of the message body was: %r", {"to": number})
    for line in lines():
        del line["timestamp"]  # has digits of its own
        text = json.dumps(line)
        assert number not in text
        assert "alice" not in text
        assert "555" not in text


def test_identifiers_survive(lines):
    given = {
        "transfer_id": TRANSFER_ID,
        "call_id": TRANSFER_ID,
        "event_id": "1790000000000-0",
        "worker": "w1@host/1234567-a1b2c3",
        "idempotency_key": f"{TRANSFER_ID}:1",
        "attempt": 1,
        "http_status": 503,
    }
    structlog.get_logger("audit").info("transfer.finished", **given)
    (line,) = lines()
    assert {name: line[name] for name in given} == given


def test_an_exception_is_told_with_its_trace_in_one_line(lines):
    try:
        int("wrong")
    except ValueError:
        logging.getLogger("theirs").exception("failed")
    (line,) = lines()
    assert "ValueError: invalid literal" in line["exception"]
    assert "Traceback" in line["exception"]


def test_what_is_below_the_level_is_not_written(lines):
    structlog.get_logger("ours").debug("quiet")
    logging.getLogger("celery.worker.strategy").info("Task received")
    logging.getLogger("celery.app.trace").info("Task succeeded")
    assert lines() == []


def test_the_passwords_of_sentinels_are_hidden_too():
    clean = logs.Redaction([SENTINEL_URL])

    line = clean(None, "info", {"event": "asked with s&crets-of-theirs and s%26crets-of-theirs"})

    assert line == {"event": "asked with *** and ***"}


def test_the_passwords_of_sentinels_are_hidden_with_an_ipv6_one_among_them():
    clean = logs.Redaction([SENTINEL_URL.replace("two:26379", "[::1]:26379")])

    line = clean(None, "info", {"event": "asked with Redis-Own and s&crets-of-theirs"})

    assert line == {"event": "asked with *** and ***"}


def test_what_is_too_short_for_a_secret_leaves_the_words_readable():
    clean = logs.Redaction(["t", "redis://:redis@host:6379/0"])

    said = clean(None, "info", {"event": "transfer.started", "of": "redis://:redis@host/0 at redis"})

    assert said == {"event": "transfer.started", "of": "redis://***host/0 at redis"}
