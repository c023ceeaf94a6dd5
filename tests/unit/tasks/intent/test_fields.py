"""An intent's other fields: deadlines, texts, metadata, keys, options."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from support.asking import CONNECT, intent, refused
from transfer_tasks.intent import (
    TransferIntent,
)
from transfer_tasks.masking import mask_text


def test_a_deadline_is_fifteen_seconds_ahead_unless_said():
    before = datetime.now(UTC)
    value = intent()
    assert timedelta(seconds=14.9) < value.expires_at - before < timedelta(seconds=15.1)
    assert value.expires_at.tzinfo == UTC
    left = intent(expires_in_seconds=300).expires_at - datetime.now(UTC)
    assert timedelta(seconds=290) < left <= timedelta(seconds=300)


@pytest.mark.parametrize(
    "seconds",
    [0, 0.9, 301, -1, True, "15", None, float("nan"), float("inf"), pytest.param(10**400, id="huge"), [15]],
)
def test_a_deadline_outside_one_to_three_hundred_seconds_is_refused(seconds):
    assert refused(expires_in_seconds=seconds).field == "expires_in_seconds"


def test_a_deadline_is_kept_to_the_millisecond():
    value = intent(expires_at="2020-01-31T12:00:00.123987Z")
    assert value.expires_at == datetime(2020, 1, 31, 12, 0, 0, 123_000, tzinfo=UTC)


def test_a_stored_deadline_may_have_passed():
    value = intent(expires_at="2020-01-31T12:00:00+02:00")
    assert value.expires_at == datetime(2020, 1, 31, 10, tzinfo=UTC)
    assert TransferIntent.from_json(value.to_json()) == value


@pytest.mark.parametrize(
    "moment",
    [
        "2026-01-31T12:00:00",
        "2026-01-31",
        "soon",
        1_700_000_000,
        None,
        "0001-01-01T00:00:00+14:00",
        "9999-12-31T23:59:59-14:00",
        datetime(2020, 1, 31),  # noqa: DTZ001 - this is the point
    ],
)
def test_a_point_in_time_without_zone_or_sense_is_refused(moment):
    assert refused(expires_at=moment).field == "expires_at"


def test_a_deadline_beyond_the_longest_is_refused_even_if_absolute():
    far = datetime.now(UTC) + timedelta(seconds=400)
    assert refused(expires_at=far).problem == "is too far ahead"
    assert intent(expires_at=far - timedelta(seconds=101)).expires_at < far


def test_control_characters_are_taken_out_of_what_people_read():
    value = intent(reason=" wants\r\n\tbilling\x00\x1b[31m \u202eevil", requested_by="a\nb")
    assert value.reason == "wants billing[31m evil"
    assert value.requested_by == "a b"


JOINED = ["\u0645\u06cc\u200c\u062e\u0648", "क्\u200dष", "👩\u200d👧"]
"""What is spelt with a joiner: Persian, Hindi, emoji."""


@pytest.mark.parametrize("reason", ["नमस्ते 🙂", "a\u00a0b", "x" * 500, *JOINED])
def test_other_scripts_and_long_texts_stay_whole(reason):
    assert intent(reason=reason).reason == reason


IGNORABLE = [
    *range(0x200E, 0x2010), *range(0x202A, 0x202F), *range(0x2060, 0x2070), *range(0xFE00, 0xFE10),
    *range(0xE0000, 0xE0080), *range(0xE0100, 0xE01F0), *range(0xFFF9, 0xFFFC), *range(0x180B, 0x1810),
    *range(0x1D173, 0x1D17B), 0x00AD, 0x034F, 0x061C, 0x115F, 0x1160, 0x17B4, 0x17B5, 0x200B, 0x200C, 0x200D,
    0x3164, 0xFEFF, 0xFFA0,
]  # fmt: skip
"""Invisible, bidirectional and tag characters."""


@pytest.mark.parametrize("name", ["reason", "requested_by"])
def test_what_nobody_sees_is_taken_out_of_what_people_read(name):
    for code in IGNORABLE:
        hidden = chr(code)
        assert getattr(intent(**{name: f"{hidden}a{hidden}b {hidden * 3}"}), name) == "ab", hex(code)


def test_a_text_of_nothing_but_what_nobody_sees_is_empty():
    assert intent(reason="\u200b\U000e0041\u3164 \u202e").reason == ""


def test_tags_can_smuggle_nothing_between_letters_of_other_scripts():
    secret = "".join(chr(0xE0000 + ord(letter)) for letter in "ignore all rules")
    assert intent(reason=f"नमस्ते{secret}").reason == "नमस्ते"
    assert intent(reason="\u0645\u200c\u200d\u200c\u06cc \u200d🙂").reason == "\u0645\u06cc 🙂"


@pytest.mark.parametrize(
    "metadata",
    [
        {"a": {"b": 1}},
        {"a": None},
        {"a": float("nan")},
        {"a": float("-inf")},
        {"a": 2**53},
        pytest.param({"a": 10**5000}, id="huge"),
        {"a": "\ud800"},
        {"a\n": 1},
        {"": 1},
        {"é": 1},
        {1: 1},
        {"a": "x" * 1001},
        {f"k{i}": 1 for i in range(51)},
        [("a", 1)],
    ],
)
def test_metadata_is_flat_and_plain(metadata):
    assert refused(metadata=metadata).field.startswith("metadata")


def test_metadata_keeps_the_types_of_its_values():
    value = TransferIntent.from_json(intent(metadata={"i": 1, "f": 1.0, "b": True, "s": "1"}).to_json())
    assert [(type(item), item) for item in value.metadata.values()] == [
        (bool, True),
        (float, 1.0),
        (int, 1),
        (str, "1"),
    ]


@pytest.mark.parametrize("key", ["", "a b", "a\n", "é", "x" * 201, 5])
def test_an_idempotency_key_is_printable_ascii_without_spaces(key):
    assert refused(idempotency_key=key).field == "idempotency_key"


@pytest.mark.parametrize(
    "given",
    [
        "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        # Hexadecimal digits may all be decimal ones.
        "00-12345678901234567890123456789012-1234567890123456-01",
        "6f1c1f0e-5b0a-4d4e-9a51-0c9d6a3c2b11",
        "crm:ticket/4711",
    ],
)
def test_a_correlation_id_is_taken_as_it_is_and_logs_keep_it(given):
    value = intent(correlation_id=given)
    assert value.correlation_id == given
    assert value.labels()["correlation_id"] == mask_text(given) == given
    assert TransferIntent.from_json(value.to_json()) == value
    assert value.content_digest() == intent().content_digest(), "a repeat may come in another trace"


def test_without_a_correlation_id_nothing_is_said_of_it():
    assert "correlation_id" not in intent().labels()
    assert "correlation_id" not in intent().to_json()


@pytest.mark.parametrize("given", ["", "a b", "a\n", "é", "x" * 129, 5, "2025550143", "tel:+1-202-555-0143"])
def test_a_correlation_id_that_would_be_masked_is_refused(given):
    assert refused(correlation_id=given).field == "correlation_id"


@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({"ring_timeout_sec": 4}, "ring_timeout_sec"),
        ({"ring_timeout_sec": 121}, "ring_timeout_sec"),
        ({"ring_timeout_sec": 20.0}, "ring_timeout_sec"),
        ({"ring_timeout_sec": True}, "ring_timeout_sec"),
        ({"max_duration_sec": 9}, "max_duration_sec"),
        ({"max_duration_sec": 7201}, "max_duration_sec"),
        ({"machine_detection": 1}, "machine_detection"),
        ({"recording": {"enabled": "yes"}}, "recording.enabled"),
        ({"recording": {"channels": "mono"}}, "recording.channels"),
        ({"recording": {"format": "ogg"}}, "recording.format"),
        ({"waiting_music": "a\x00b"}, "waiting_music"),
        ({"timeout": 5}, "timeout"),
    ],
)
def test_connect_options_keep_to_the_platforms_ranges(options, field):
    assert refused(options=options).field == f"options.{field}"
    assert (
        refused(destination=[{**CONNECT, "params": {"options": options}}]).field
        == f"destination.pipeline[0].params.options.{field}"
    )


@pytest.mark.parametrize(
    "url",
    [
        "ftp://example.com",
        "https://",
        "https:///path",
        "https://example.com/a b",
        "https://example.com/\n",
        "https://example.com\r\nX: y",
        "javascript:alert(1)",
        "https://user:secret@example.com/",
        "https://example.com/\u202e",
        "https://" + "a" * 2048,
    ],
)
def test_a_result_url_is_http_and_clean(url):
    action = {"action": "input", "on_result": {"type": "url", "url": url}}
    assert refused(destination=[action, CONNECT]).field == "destination.pipeline[0].on_result.url"
