"""What is refused, and that nothing else than InvalidIntent is ever raised."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from support.asking import AGENT_ID, CALL_ID, CONNECT, intent, refused
from transfer_tasks.errors import InvalidIntent, UnsupportedSchemaVersion
from transfer_tasks.intent import (
    TransferIntent,
)


@pytest.mark.parametrize(
    "fields",
    [
        {"expires_in_seconds": "\ud800"},
        {"expires_in_seconds": "\ud800", "expires_at": "\ud800"},
        {"expires_at": "\ud800"},
        {"destination": "\ud800"},
        {"destination": "sip:\ud800@example.com"},
        {"destination": {"type": "\ud800"}},
        {"destination": {"\ud800": 1, "type": "pstn", "number": "\ud800"}},
        {"destination": {"name": "support", "\ud800": 1}},
        {"destination": [{"action": "\ud800"}]},
        {"destination": [{"action": "record", "format": "\ud800"}, CONNECT]},
        {"destination": [{**CONNECT, "params": {"from": "\ud800", "\ud800": 1}}]},
        {"caller_id": "\ud800"},
        {"strategy": "\ud800"},
        {"idempotency_key": "\ud800"},
        {"metadata": {"\ud800": 1}},
        {"options": {"waiting_music": "\ud800"}},
        {"schema_version": "\ud800"},
        {"reason": "\ud800"},
    ],
)
def test_broken_unicode_is_refused_wherever_it_stands(fields):
    assert refused(**fields).problem


@pytest.mark.parametrize("version", [0, 2, 99, -1, pytest.param(10**5000, id="huge")])
def test_another_schema_version_is_told_apart_whatever_else_is_wrong(version):
    with pytest.raises(UnsupportedSchemaVersion) as caught:
        TransferIntent.from_dict({"schema_version": version, "new_field": 1})
    assert caught.value.field == "schema_version"


@pytest.mark.parametrize("version", ["1", None, 1.5, [1]])
def test_a_schema_version_that_is_no_number_is_an_ordinary_mistake(version):
    error = refused(schema_version=version)
    assert error.field == "schema_version"
    assert not isinstance(error, UnsupportedSchemaVersion)


def test_an_intent_larger_than_the_cap_is_refused():
    emoji = "🙂" * 1000
    assert intent(metadata={f"k{i}": emoji for i in range(8)})
    assert refused(metadata={f"k{i}": emoji for i in range(9)}).field == "intent"
    with pytest.raises(InvalidIntent):
        TransferIntent.from_json(" " * 70_000)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "null",
        "[]",
        "{",
        "[" * 100_000,
        '{"a":' * 10_000,
        "NaN",
        b"\xff\xfe",
        '{"call_id": 1' + "0" * 5000 + "}",
    ],
)
def test_a_text_that_is_no_intent_is_refused(text):
    with pytest.raises(InvalidIntent):
        TransferIntent.from_json(text)


@pytest.mark.parametrize("way_in", [TransferIntent.from_dict, TransferIntent.model_validate])
def test_every_way_in_raises_the_same_error(way_in):
    with pytest.raises(InvalidIntent):
        way_in({"call_id": "x"})
    with pytest.raises(InvalidIntent):
        TransferIntent.model_validate_json("{}")
    with pytest.raises(InvalidIntent):
        TransferIntent(**{"\ud800": 1})


def test_a_refusal_never_shows_what_it_was_given():
    error = refused(destination=[{"type": "pstn", "number": "+1 (202) 5x5-0143"}])
    cause = error.__cause__
    assert isinstance(cause, ValidationError)
    for text in (str(error), str(cause), error.value):
        digits = "".join(character for character in text.replace("202-555-0143", "") if character.isdigit())
        assert "2025" not in digits
    assert "secret" not in str(refused(api_token="secret"))
    assert "alice" not in str(refused(destination="sip:alice:secret@example.com"))
    assert "secret" not in str(refused(destination="sip:alice:secret@example.com"))


HARD = st.one_of(
    st.sampled_from([10**4000, -(10**400), float("nan"), "\ud800", "\x00", b"bytes", {1, 2}, object(), int]),
    st.sampled_from(
        ["support", "+1 202-555-0143", CALL_ID, "sip:a@b", "connect", "pstn", "agent:" + AGENT_ID]
    ),
)


NAMES = st.sampled_from(
    [
        *TransferIntent.model_fields,
        *(
            "expires_in_seconds",
            "name",
            "endpoints",
            "pipeline",
            "type",
            "number",
            "uri",
            "id",
            "headers",
            "action",
        ),
        *(
            "params",
            "from",
            "prompt",
            "input",
            "on_result",
            "dtmf",
            "retries",
            "data",
            "say",
            "file_name",
            "url",
        ),
    ]
)


JUNK = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | HARD,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(NAMES | st.text(max_size=5) | st.integers(), inner, max_size=4)
    ),
    max_leaves=12,
)


@settings(max_examples=500, suppress_health_check=[HealthCheck.too_slow])
@given(JUNK)
def test_junk_is_refused_with_invalid_intent_and_nothing_else(junk):
    with pytest.raises(InvalidIntent):
        TransferIntent.from_dict({**junk, "call_id": "junk"} if isinstance(junk, dict) else junk)


@settings(max_examples=300)
@given(st.text() | st.binary())
def test_a_junk_text_is_refused_with_invalid_intent_and_nothing_else(text):
    with pytest.raises(InvalidIntent):
        TransferIntent.from_json(text)


@settings(max_examples=500, suppress_health_check=[HealthCheck.too_slow])
@given(st.dictionaries(NAMES, JUNK, max_size=4))
def test_junk_in_any_field_is_refused_or_becomes_an_intent_that_can_be_stored(fields):
    try:
        value = intent(**fields)
    except InvalidIntent as error:
        said = [error.field, error.value, error.problem, error.fix]
    else:
        said = []
        assert TransferIntent.from_json(value.to_json()) == value
    assert all(said)
    assert "".join(said).isprintable()


def test_nothing_nested_a_hundred_thousand_deep_brings_another_error():
    deep: object = "support"
    for _ in range(100_000):
        deep = [deep]
    for field in ("destination", "metadata", "reason", "options"):
        assert refused(**{field: deep}).field
    loop: list[object] = []
    loop.append(loop)
    assert refused(destination=loop).field


@pytest.mark.parametrize(
    "text",
    [
        '{"call_id": "a", "call_id": "a"}',
        '{"metadata": {"a": 1, "a": 2}}',
        '{"destination": [{"action": "hangup"}, {"action": "hangup", "\\u0061ction": "play"}]}',
    ],
)
@pytest.mark.parametrize("kind", [str, str.encode, lambda text: bytearray(text.encode())])
def test_a_name_that_stands_twice_is_refused_at_any_depth(text, kind):
    with pytest.raises(InvalidIntent) as caught:
        TransferIntent.from_json(kind(text))
    assert caught.value.problem == "names a field twice"


def test_colons_and_quotes_in_texts_are_no_names():
    asked = intent(metadata={"a": 'b": "c', "d": "\\", "e": ":"}, reason='he said: "{\\"x\\": 1}"')
    assert TransferIntent.from_json(asked.to_json()) == asked


VALID = {
    "call_id": CALL_ID,
    "destination": "support",
    "expires_at": "2026-01-31T12:00:00Z",
    "transfer_id": CALL_ID,
}


class Text(str):
    """A text of the caller's own kind, which a library may hand over."""

    __slots__ = ()


class Hostile(str):
    """A text that can't be compared, shown or looked into."""

    __slots__ = ()

    def _fail(self, *_: object) -> bool:
        raise RuntimeError("leaked")

    __eq__ = __str__ = __repr__ = __getitem__ = __len__ = __contains__ = partition = startswith = _fail
    __hash__ = str.__hash__


FIELDS = "call_id destination caller_id reason requested_by strategy idempotency_key expires_at transfer_id"
TEXTS = ["support", "+12025550143", "sip:a@example.com", "6f1c1f0e-5b0a-4d4e-9a51-0c9d6a3c2b11", "", "\n"]


@pytest.mark.parametrize("field", [*FIELDS.split(), "schema_version"])
@pytest.mark.parametrize("kind", [Text, Hostile])
@pytest.mark.parametrize("text", TEXTS)
def test_a_text_of_another_class_is_read_as_what_it_says(field, kind, text):
    def read(value):
        try:
            return TransferIntent(**{**VALID, field: value}).model_dump()
        except InvalidIntent as error:
            return str(error)

    assert read(kind(text)) == read(text)


def test_texts_of_another_class_are_read_at_any_depth():
    asked = TransferIntent.from_dict(
        {**VALID, "destination": [Hostile("+12025550143")], Hostile("metadata"): {Hostile("a"): Hostile("b")}}
    )
    assert asked.metadata == {"a": "b"}
    assert TransferIntent.from_json(asked.to_json()) == asked
