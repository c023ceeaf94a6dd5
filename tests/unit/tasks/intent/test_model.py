"""The contract: what is accepted, what it becomes, and that everything else is refused in one way."""

import hashlib
import json
import pickle
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from uuid import UUID

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from transfer_tasks.errors import InvalidIntent, UnsupportedSchemaVersion
from transfer_tasks.intent import (
    EndpointsDestination,
    NamedDestination,
    PipelineDestination,
    TransferIntent,
)
from transfer_tasks.intent.actions import Dtmf
from transfer_tasks.intent.endpoints import PhoneEndpoint
from transfer_tasks.intent.fields import ContractModel
from transfer_tasks.registry.destinations import Destination

CALL_ID = "6f1c1f0e-5b0a-4d4e-9a51-0c9d6a3c2b11"
AGENT_ID = "3d0b6a52-7c1e-4b8a-9f60-2a1f5e9c8d47"
OTHER_AGENT_ID = "5e2f2a1c-94c5-4a3e-8c38-7d6b9b0d5a10"
PHONE = {"type": "pstn", "number": "12025550143"}
CONNECT = {"action": "connect", "params": {"caller_id": "12025550100"}, "endpoints": [PHONE]}


def intent(**fields) -> TransferIntent:
    return TransferIntent(**{"call_id": CALL_ID, "destination": "support", **fields})


def stored(value: TransferIntent) -> dict:
    return json.loads(value.to_json())


def refused(**fields) -> InvalidIntent:
    with pytest.raises(InvalidIntent) as caught:
        intent(**fields)
    return caught.value


@pytest.mark.parametrize(
    "spelling",
    [
        CALL_ID,
        CALL_ID.upper(),
        CALL_ID.replace("-", ""),
        "{" + CALL_ID + "}",
        "urn:uuid:" + CALL_ID,
        UUID(CALL_ID),
    ],
)
def test_every_spelling_of_a_call_id_is_one_call(spelling):
    assert intent(call_id=spelling).call_id == CALL_ID


@pytest.mark.parametrize(
    "spelling", [CALL_ID + "\n", CALL_ID[1:] + "\n", "0x" + CALL_ID[2:], "_" + CALL_ID[1:], ""]
)
def test_what_int_reads_besides_digits_is_no_call_id(spelling):
    assert refused(call_id=spelling).field == "call_id"


@pytest.mark.parametrize(
    ("spelling", "destination"),
    [
        ("support", {"name": "support"}),
        ({"name": "support"}, {"name": "support"}),
        (NamedDestination(name="support"), {"name": "support"}),
        ("+1 (202) 555-0143", {"endpoints": [PHONE]}),
        (" (+1) 202-555-0143", {"endpoints": [PHONE]}),
        ("12025550143", {"endpoints": [PHONE]}),
        (PHONE, {"endpoints": [PHONE]}),
        ({"type": "pstn", "number": "+1 202-555-0143"}, {"endpoints": [PHONE]}),
        ({"endpoints": ["+1 202-555-0143"]}, {"endpoints": [PHONE]}),
        ("SIP:Desk@PBX.example.com", {"endpoints": [{"type": "sip", "uri": "sip:Desk@pbx.example.com"}]}),
        ("agent:" + AGENT_ID.upper(), {"endpoints": [{"type": "agent", "id": AGENT_ID}]}),
        (["+1 202-555-0143", "agent:" + AGENT_ID], {"endpoints": [PHONE, {"type": "agent", "id": AGENT_ID}]}),
        ((PHONE,), {"endpoints": [PHONE]}),
        ([CONNECT], {"pipeline": [CONNECT]}),
        ({"pipeline": [CONNECT]}, {"pipeline": [CONNECT]}),
        (SimpleNamespace(build=lambda: [CONNECT]), {"pipeline": [CONNECT]}),
    ],
)
def test_every_spelling_of_a_destination_becomes_one_of_three_shapes(spelling, destination):
    assert stored(intent(destination=spelling))["destination"] == destination


def test_the_three_shapes_are_three_types():
    assert isinstance(intent().destination, NamedDestination)
    assert isinstance(intent(destination=PHONE).destination, EndpointsDestination)
    assert isinstance(intent(destination=[CONNECT]).destination, PipelineDestination)


def test_what_the_published_examples_say_is_taken_and_put_right():
    pasted = [
        {"action": "param", "data": {"ticket": 7, "vip": True}},
        {"action": "play", "file_name": "hold.mp3"},
        {"action": "record", "format": "mp3", "channels": "dual"},
        {
            "action": "connect",
            "params": {
                "from": "+1 202-555-0100",
                "strategy": "sequential",
                "options": {
                    "ring_timeout_sec": 20,
                    "recording": {"enabled": True},
                    "waiting_music": "jazz.mp3",
                },
                "metadata": {"source": "agent"},
            },
            "endpoints": [{"type": "pstn", "number": "+1 (202) 555-0143"}, {"type": "agent", "id": AGENT_ID}],
        },
        {"action": "hangup"},
    ]
    pipeline = stored(intent(destination=pasted))["destination"]["pipeline"]
    assert pipeline[3]["params"]["caller_id"] == "12025550100"
    assert "from" not in pipeline[3]["params"]
    assert pipeline[3]["endpoints"][0]["number"] == "12025550143"
    assert pipeline[:3] == pasted[:3]
    assert pipeline[4] == pasted[4]


@pytest.mark.parametrize(
    "endpoints",
    [
        [],
        ["agent:" + AGENT_ID, PHONE],
        [PHONE, "agent:" + AGENT_ID, "sip:desk@example.com"],
        ["agent:" + AGENT_ID] * 3,
        [PHONE] * 21,
    ],
)
def test_endpoints_are_one_to_twenty_with_at_most_two_agents_and_those_last(endpoints):
    assert refused(destination=endpoints).field == "destination.endpoints"
    assert (
        refused(destination=[{"action": "connect", "endpoints": endpoints}]).field
        == "destination.pipeline[0].endpoints"
    )


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"From": "x"},
        {"X-": "x"},
        {"X-A": ""},
        {"X-A": "a\r\nVia: b"},
        {"X-A": "é"},
        {"X-A": 1},
        {"X-A\n": "x"},
        {f"X-{i}": "x" for i in range(21)},
        [],
    ],
)
def test_sip_headers_are_custom_and_clean(headers):
    error = refused(destination={"type": "sip", "uri": "sip:desk@example.com", "headers": headers})
    assert error.field.startswith("destination.endpoints[0].headers")


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


@pytest.mark.parametrize("reason", ["नमस्ते \u200d🙂", "a\u00a0b", "x" * 500])
def test_other_scripts_and_long_texts_stay_whole(reason):
    assert intent(reason=reason).reason == reason


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


def test_an_intent_cannot_be_changed():
    with pytest.raises(ValidationError):
        intent().reason = "other"


def test_an_intent_survives_json_and_pickle():
    value = intent(
        destination=["sip:desk@example.com", "agent:" + AGENT_ID],
        caller_id="+1 202-555-0100",
        reason="wants “billing”",
        metadata={"a": 1},
        options={"ring_timeout_sec": 20},
        strategy="simultaneous",
        idempotency_key="order-7",
    )
    assert TransferIntent.from_json(value.to_json()) == value
    assert TransferIntent.from_json(value.to_json().encode()) == value
    assert TransferIntent.from_dict(stored(value)) == value
    assert pickle.loads(pickle.dumps(value)) == value


def test_json_is_canonical():
    text = intent(transfer_id=AGENT_ID, expires_at="2026-01-31T12:00:00Z").to_json()
    assert text == (
        f'{{"call_id":"{CALL_ID}","destination":{{"name":"support"}},"expires_at":"2026-01-31T12:00:00Z",'
        f'"metadata":{{}},"options":{{}},"reason":"","requested_by":"","schema_version":1,'
        f'"transfer_id":"{AGENT_ID}"}}'
    )


def test_json_is_canonical_however_deep_and_in_whatever_order_it_was_said():
    connect = {
        "action": "connect",
        "params": {"strategy": "sequential", "metadata": {"b": 1, "a": 2.5}, "from": "12025550100"},
        "endpoints": [{"type": "sip", "uri": "sip:a@b.com", "headers": {"X-b": "1", "X-a": "%"}}, PHONE],
    }
    say = {"type": "say", "say": "“Hi”", "language": "en", "voice_id": "amy", "speed": 1.0}
    menu = {"type": "pcmo", "ref": "menu"}
    prompt = {"action": "play_get_input", "prompt": say, "input": ["speech"], "on_result": menu}
    param = {"action": "param", "data": {"z": 1, "y": True}}
    text = intent(destination=[param, prompt, connect], metadata={"d": 1, "c": "é"}).to_json()
    assert text == json.dumps(json.loads(text), sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def test_the_fields_of_every_model_of_the_contract_stand_in_the_order_of_their_names():
    # What no example shows: that this holds for every field that may be set.
    models = [ContractModel]
    for model in models:
        models += (each for each in model.__subclasses__() if each is not Destination)  # the registry's own
        assert list(model.model_fields) == sorted(model.model_fields), model
    assert {TransferIntent, PhoneEndpoint, Dtmf} <= set(models)


def test_two_requests_have_two_ids_and_one_content():
    first = intent(reason="a", requested_by="b", idempotency_key="c", expires_in_seconds=20)
    second = intent(call_id=CALL_ID.upper())
    assert first.transfer_id != second.transfer_id
    assert first.destination_digest() == second.destination_digest()
    assert first.content_digest() == second.content_digest()


@pytest.mark.parametrize(
    "change",
    [
        {"caller_id": "12025550100"},
        {"options": {"ring_timeout_sec": 20}},
        {"strategy": "sequential"},
        {"metadata": {"a": 1}},
    ],
)
def test_how_to_connect_is_content_and_not_destination(change):
    assert intent(**change).destination_digest() == intent().destination_digest()
    assert intent(**change).content_digest() != intent().content_digest()


@pytest.mark.parametrize("place", ["billing", PHONE])
def test_another_place_is_another_transfer(place):
    assert intent(destination=place).destination_digest() != intent().destination_digest()
    assert intent(destination=place).content_digest() != intent().content_digest()


def test_another_call_is_another_content():
    assert intent(call_id=AGENT_ID).content_digest() != intent().content_digest()


def test_digests_are_sha256_over_canonical_json():
    place, call = '{"name":"support"}', f'"call_id":"{CALL_ID}"'
    content = f'{{{call},"destination":{place},"metadata":{{}},"options":{{}}}}'
    assert intent().destination_digest() == hashlib.sha256(place.encode()).hexdigest()
    assert intent().content_digest() == hashlib.sha256(content.encode()).hexdigest()
    place = '{"endpoints":[{"number":"12025550143","type":"pstn"}]}'
    assert intent(destination=PHONE).destination_digest() == hashlib.sha256(place.encode()).hexdigest()


def test_spellings_of_one_place_have_one_digest():
    spellings = ["+1 202-555-0143", PHONE, [PHONE], {"endpoints": ["12025550143"]}]
    assert len({intent(destination=spelling).destination_digest() for spelling in spellings}) == 1


def test_labels_are_masked_and_short():
    assert intent().labels() == {"destination": "support"}
    assert intent(destination=["+1 202-555-0143", "sip:alice@example.com", f"agent:{AGENT_ID}"]).labels() == {
        "destination": "endpoints",
        "to": f"+1*******43, sip:***@example.com, agent:{AGENT_ID}",
    }
    assert intent(destination=[CONNECT, {"action": "hangup"}]).labels() == {
        "destination": "pipeline",
        "to": "+1*******43",
    }


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
        said = [error.field, error.value, error.problem, error.mend]
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
