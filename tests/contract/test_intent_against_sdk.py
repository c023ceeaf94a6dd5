"""Whatever an intent takes, the platform's own validator takes too; stored intents load for ever."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from piopiy.voice.pipeline import PipelineBuilder
from piopiy.voice.validators import validate_transfer_request

from support.sdk_intents import CALL_ID, CALLER_ID, action
from transfer_tasks.errors import InvalidIntent
from transfer_tasks.intent import EndpointsDestination, PipelineDestination, TransferIntent
from transfer_tasks.intent.fields import is_destination_name

FIXTURES = Path(__file__).parent / "fixtures" / "intents_v1.jsonl"


def sdk_request(intent: TransferIntent) -> dict:
    """The plainest mapping of an intent to what the SDK sends."""
    stored = json.loads(intent.to_json())
    match intent.destination:
        case PipelineDestination():
            pipeline = stored["destination"]["pipeline"]
        case EndpointsDestination():
            pipeline = [{"action": "connect", "params": {}, "endpoints": stored["destination"]["endpoints"]}]
        case _:
            endpoints = [{"type": "pstn", "number": "12025550143"}]
            pipeline = [{"action": "connect", "params": {}, "endpoints": endpoints}]
    for step in pipeline:
        if step["action"] == "connect":
            own = step.get("params", {})
            given_params = {
                name: stored[name]
                for name in ("caller_id", "strategy", "options", "metadata")
                if name in stored
            }
            step["params"] = {"caller_id": CALLER_ID, **given_params, **own}
    return {"call_id": stored["call_id"], "pipeline": pipeline}


def optional(**fields):
    return st.fixed_dictionaries({}, optional=fields)


TEXT = st.text(
    st.characters(exclude_categories=["Cc", "Cs", "Cf", "Zl"], exclude_characters="\u2029"),
    min_size=1,
    max_size=40,
)


NUMBERS = st.builds(
    "{} 202-555-01{:02}".format, st.sampled_from(["+1", "1", "001", "(+1)"]), st.integers(0, 99)
) | st.builds("120255501{:02}".format, st.integers(0, 99))


UUIDS = st.one_of(
    st.uuids().map(str),
    st.uuids().map(lambda value: value.hex.upper()),
    st.uuids().map("{{{}}}".format),
    st.uuids().map("urn:uuid:{}".format),
)


SIP_URIS = st.from_regex(
    r"sips?:[A-Za-z0-9._+-]{1,20}@[a-z]{1,10}(\.[a-z]{1,10}){0,3}(:[1-9][0-9]{0,3})?(;transport=(udp|tls))?",
    fullmatch=True,
)


HEADERS = st.dictionaries(
    st.from_regex(r"X-[A-Za-z0-9-]{1,20}", fullmatch=True),
    st.from_regex(r"[ -~]{1,20}", fullmatch=True),
    min_size=1,
    max_size=3,
)


PHONES = st.fixed_dictionaries({"type": st.just("pstn"), "number": NUMBERS}) | NUMBERS


SIPS = (
    st.fixed_dictionaries({"type": st.just("sip"), "uri": SIP_URIS}, optional={"headers": HEADERS}) | SIP_URIS
)


AGENTS = st.fixed_dictionaries({"type": st.just("agent"), "id": UUIDS}) | UUIDS.map("agent:{}".format)


ENDPOINTS = (
    st.tuples(st.lists(PHONES | SIPS, max_size=4), st.lists(AGENTS, max_size=2))
    .map(lambda parts: parts[0] + parts[1])
    .filter(bool)
)


VARIABLES = st.dictionaries(
    st.from_regex(r"[A-Za-z_][A-Za-z0-9_]{0,20}", fullmatch=True),
    TEXT
    | st.booleans()
    | st.integers(-(2**53) + 1, 2**53 - 1)
    | st.floats(allow_nan=False, allow_infinity=False),
    max_size=5,
)


STRATEGIES = st.sampled_from(["sequential", "simultaneous"])


FORMATS, CHANNELS = st.sampled_from(["mp3", "wav"]), st.sampled_from(["dual", "single"])
OPTIONS = optional(
    ring_timeout_sec=st.integers(5, 120),
    max_duration_sec=st.integers(10, 7200),
    machine_detection=st.booleans(),
    recording=optional(enabled=st.booleans(), channels=CHANNELS, format=FORMATS),
    waiting_music=TEXT,
)


PROMPTS = st.fixed_dictionaries({"type": st.just("file"), "file_name": TEXT}) | st.fixed_dictionaries(
    {
        "type": st.just("say"),
        "say": TEXT,
        "language": TEXT,
        "voice_id": TEXT,
        "speed": st.floats(0.5, 2.0) | st.integers(1, 2),
    }
)


DTMF = optional(
    min_digits=st.integers(1, 3),
    max_digits=st.integers(3, 100),
    finish_on_key=st.sampled_from(["", "#", "*", "5"]),
    first_digit_timeout=st.integers(1, 600_000),
    inter_digit_timeout=st.integers(1, 600_000),
    flush_buffer=st.booleans(),
)


ON_RESULT = st.fixed_dictionaries({"type": st.just("pcmo"), "ref": TEXT}) | st.fixed_dictionaries(
    {"type": st.just("url"), "url": st.from_regex(r"https?://[a-z.]{1,20}(/[a-z?=&]{0,20})?", fullmatch=True)}
)


RETRIES = optional(max=st.integers(0, 100), no_input_prompt=PROMPTS, invalid_prompt=PROMPTS)


MODES = st.lists(st.sampled_from(["dtmf", "speech"]), min_size=1, max_size=2, unique=True)


CONNECT_PARAMS = optional(strategy=STRATEGIES, options=OPTIONS, metadata=VARIABLES).flatmap(
    lambda params: st.sampled_from([{}, {"from": "+1 202-555-0100"}, {"caller_id": "12025550100"}]).map(
        lambda caller: {**params, **caller}
    )
)


CONNECT = action("connect", {"endpoints": ENDPOINTS}, params=CONNECT_PARAMS)


OTHERS = st.one_of(
    action("play", {"file_name": TEXT}),
    action(
        "play_get_input",
        {"prompt": PROMPTS, "input": MODES, "on_result": ON_RESULT},
        dtmf=DTMF,
        retries=RETRIES,
    ),
    action("param", {"data": VARIABLES}),
    action("record", format=FORMATS, channels=CHANNELS),
    action("hangup"),
    action("input", {"on_result": ON_RESULT}, dtmf=DTMF),
)


PIPELINES = st.tuples(st.lists(OTHERS, max_size=3), CONNECT, st.lists(OTHERS, max_size=2)).map(
    lambda parts: [*parts[0], parts[1], *parts[2]]
)


DESTINATIONS = st.one_of(
    # A name that looks like a number is none.
    st.from_regex(r"[a-z][a-z0-9_-]{0,20}", fullmatch=True).filter(is_destination_name),
    PHONES,
    SIPS,
    AGENTS,
    ENDPOINTS,
    PIPELINES,
    PIPELINES.map(PipelineBuilder),
    ENDPOINTS.map(lambda endpoints: {"endpoints": endpoints}),
    PIPELINES.map(lambda pipeline: {"pipeline": pipeline}),
)


REQUESTS = st.fixed_dictionaries(
    {"call_id": UUIDS, "destination": DESTINATIONS},
    optional={
        "caller_id": NUMBERS,
        "reason": st.text(st.characters(exclude_categories=["Cs"]), max_size=500),
        "requested_by": TEXT,
        "metadata": VARIABLES,
        "expires_in_seconds": st.integers(1, 300),
        "idempotency_key": st.from_regex(r"[!-~]{1,200}", fullmatch=True),
        "options": OPTIONS,
        "strategy": STRATEGIES,
        "schema_version": st.just(1),
    },
)


JUNK = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(),
    st.lists(st.text(max_size=3), max_size=2),
    st.dictionaries(st.text(max_size=5), st.integers(), max_size=2),
    NUMBERS,
    SIP_URIS,
    st.sampled_from(
        [
            "12025550143\n",
            "+12025550143",
            "http://a@b",
            "sip:a@b?c=d",
            "\ud800",
            "https://a b",
            "",
            "x" * 3000,
        ]
    ),
)


def places(value, path=()):
    """Every path into a request."""
    if path:
        yield path
    if isinstance(value, dict):
        for key, item in value.items():
            yield from places(item, (*path, key))
    if isinstance(value, list):
        for index, item in enumerate(value):
            yield from places(item, (*path, index))


def damaged(request, path, junk, *, kind):
    copy = json.loads(json.dumps(request, default=lambda builder: builder.build()))
    holder = copy
    for step in path[:-1]:
        holder = holder[step]
    if kind == "replace":
        holder[path[-1]] = junk
    elif kind == "remove":
        del holder[path[-1]]
    elif isinstance(holder, dict):
        holder[junk if isinstance(junk, str) else "extra"] = junk
    else:
        holder.insert(path[-1], junk)
    return copy


@settings(max_examples=300, suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much])
@given(REQUESTS)
def test_every_well_formed_request_is_accepted_and_passes_the_sdk(request):
    intent = TransferIntent(**request)
    validate_transfer_request(sdk_request(intent))
    assert TransferIntent.from_json(intent.to_json()) == intent


@settings(max_examples=1000, suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much])
@given(request=REQUESTS, kind=st.sampled_from(["replace", "remove", "add"]), junk=JUNK, data=st.data())
def test_a_damaged_request_is_refused_or_still_passes_the_sdk(request, kind, junk, data):
    plain = json.loads(json.dumps(request, default=lambda builder: builder.build()))
    path = data.draw(st.sampled_from(list(places(plain))))
    try:
        intent = TransferIntent.from_dict(damaged(plain, path, junk, kind=kind))
    except InvalidIntent:
        return
    validate_transfer_request(sdk_request(intent))
    assert TransferIntent.from_json(intent.to_json()) == intent


def test_the_sdks_own_builder_is_accepted():
    builder = (
        PipelineBuilder()
        .param({"ticket": 7})
        .play("hold.mp3")
        .connect({"from": "+1 202-555-0100"}, [{"type": "pstn", "number": "+1 (202) 555-0143"}])
        .hangup()
    )
    intent = TransferIntent(call_id=CALL_ID, destination=builder)
    validate_transfer_request(sdk_request(intent))
    assert [step["action"] for step in sdk_request(intent)["pipeline"]] == [
        "param",
        "play",
        "connect",
        "hangup",
    ]


@pytest.mark.parametrize("line", FIXTURES.read_text(encoding="utf-8").splitlines())
def test_a_stored_intent_of_version_1_loads_for_ever_and_is_stored_the_same(line):
    intent = TransferIntent.from_json(line)
    assert intent.to_json() == line
    validate_transfer_request(sdk_request(intent))
