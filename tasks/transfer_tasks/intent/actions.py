"""The PCMO actions of a pipeline, at least as strict as piopiy 1.2.2 (`piopiy.voice.validators`)."""

from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from transfer_tasks.intent.endpoints import Endpoints
from transfer_tasks.intent.fields import (
    ANY_LIST,
    ContractModel,
    HttpUrl,
    LongText,
    Number,
    Params,
    RingTimeout,
    ShortText,
    Strategy,
    Variables,
    refusal,
)

AudioFormat = Literal["mp3", "wav"]
Channels = Literal["dual", "single"]


class Recording(ContractModel):
    """Whether and how the connected call is recorded."""

    channels: Channels | None = None
    enabled: Annotated[bool, Field(strict=True)] | None = None
    format: AudioFormat | None = None


class ConnectOptions(ContractModel):
    """How the new leg is called; what is left out is the platform's default. Times are in seconds."""

    machine_detection: Annotated[bool, Field(strict=True)] | None = None
    max_duration_sec: Annotated[int, Field(strict=True, ge=10, le=7200)] | None = None
    recording: Recording | None = None
    ring_timeout_sec: RingTimeout | None = None
    waiting_music: LongText | None = None


def _rename_from(value: object) -> object:
    # The published examples say "from", which piopiy 1.2.2 itself refuses.
    if isinstance(value, dict) and "from" in value:
        if "caller_id" in value:
            raise refusal("from_and_caller_id")
        return {("caller_id" if key == "from" else key): item for key, item in value.items()}
    return value


def _describe_from(schema: dict[str, Any]) -> None:
    schema["properties"]["from"] = {
        "description": "Input only: another name for caller_id, as the published examples have it.",
        "type": "string",
    }


class ConnectParams(ContractModel, json_schema_extra=_describe_from):
    """What a connect action says besides its endpoints; the worker fills in a missing `caller_id`."""

    caller_id: Number | None = None
    metadata: Variables | None = None
    options: ConnectOptions | None = None
    strategy: Strategy | None = None


class Connect(ContractModel):
    """Call one or more endpoints and connect the caller to who answers."""

    action: Literal["connect"]
    endpoints: Endpoints
    params: Annotated[ConnectParams, BeforeValidator(_rename_from)] = ConnectParams()


class FilePrompt(ContractModel):
    """A recording that is played."""

    file_name: LongText
    type: Literal["file"]


class SayPrompt(ContractModel):
    """A text that is spoken."""

    language: ShortText
    say: LongText
    speed: Annotated[float, Field(strict=True, ge=0.5, le=2.0, allow_inf_nan=False)]
    type: Literal["say"]
    voice_id: ShortText


Prompt = Annotated[FilePrompt | SayPrompt, Field(discriminator="type")]


def _dtmf_key(text: str) -> str:
    if text and text not in "0123456789*#ABCDabcd":
        raise refusal("dtmf_key")
    return text


class Dtmf(ContractModel):
    """How keys are collected. piopiy 1.2.2 sets no upper limits; these keep the numbers sane."""

    finish_on_key: Annotated[str, Field(strict=True, max_length=1), AfterValidator(_dtmf_key)] | None = None
    first_digit_timeout: Annotated[int, Field(strict=True, ge=1, le=600_000)] | None = None
    flush_buffer: Annotated[bool, Field(strict=True)] | None = None
    inter_digit_timeout: Annotated[int, Field(strict=True, ge=1, le=600_000)] | None = None
    max_digits: Annotated[int, Field(strict=True, ge=1, le=100)] | None = None
    min_digits: Annotated[int, Field(strict=True, ge=1, le=100)] | None = None

    @model_validator(mode="after")
    def _check_range(self) -> Self:
        if self.min_digits is not None and self.max_digits is not None and self.min_digits > self.max_digits:
            raise refusal("dtmf_range")
        return self


class PcmoResult(ContractModel):
    """The input is handed to a flow at Piopiy."""

    ref: ShortText
    type: Literal["pcmo"]


class UrlResult(ContractModel):
    """The input is posted to a URL."""

    type: Literal["url"]
    url: HttpUrl


OnResult = Annotated[PcmoResult | UrlResult, Field(discriminator="type")]


class Retries(ContractModel):
    """How often the prompt is repeated."""

    invalid_prompt: Prompt | None = None
    max: Annotated[int, Field(strict=True, ge=0, le=100)] | None = None
    no_input_prompt: Prompt | None = None


class Play(ContractModel):
    """Play a file."""

    action: Literal["play"]
    file_name: LongText


def _unique(modes: list[Any]) -> list[Any]:
    if len(set(modes)) != len(modes):
        raise refusal("duplicate")
    return modes


class PlayGetInput(ContractModel):
    """Play a prompt and collect keys or speech."""

    action: Literal["play_get_input"]
    dtmf: Dtmf | None = None
    input: Annotated[
        list[Literal["dtmf", "speech"]], Field(min_length=1, max_length=2), ANY_LIST, AfterValidator(_unique)
    ]
    on_result: OnResult
    prompt: Prompt
    retries: Retries | None = None


class Param(ContractModel):
    """Attach variables to the call."""

    action: Literal["param"]
    data: Params


class Record(ContractModel):
    """Record the call."""

    action: Literal["record"]
    channels: Channels | None = None
    format: AudioFormat | None = None


class Hangup(ContractModel):
    """End the call."""

    action: Literal["hangup"]


class Input(ContractModel):
    """Collect keys without a prompt."""

    action: Literal["input"]
    dtmf: Dtmf | None = None
    on_result: OnResult


Action = Annotated[
    Connect | Play | PlayGetInput | Param | Record | Hangup | Input, Field(discriminator="action")
]


def _connects(actions: list[Any]) -> list[Any]:
    if not any(isinstance(action, Connect) for action in actions):
        raise refusal("connect_missing")
    return actions


Actions = Annotated[list[Action], Field(min_length=1, max_length=20), ANY_LIST, AfterValidator(_connects)]
