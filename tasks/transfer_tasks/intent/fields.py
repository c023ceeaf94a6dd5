"""The kinds of values that intents and registries are made of: each normalises, or refuses with a code."""

import math
import re
from collections.abc import Callable
from typing import Annotated, Any, Final, Literal, cast
from uuid import UUID

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    PlainValidator,
    SerializationInfo,
    WithJsonSchema,
)
from pydantic_core import PydanticCustomError

from transfer_tasks.addresses import AddressError, parse_number, parse_sip_uri, write_number
from transfer_tasks.masking import holds_number, keep_visible
from transfer_tasks.refusals import REFUSALS

# JSON readers that keep numbers as doubles lose whole numbers beyond this (RFC 8259, section 6).
_LARGEST_EXACT_INTEGER: Final = 2**53 - 1
_PLAIN_DEPTH: Final = 20
"""No intent is nested so deeply."""
_UUID_DIGITS: Final = re.compile(r"[0-9a-fA-F]{32}")
# C0 and C1 controls, line separators, bidirectional overrides: whatever can forge a line of a log.
_CONTROLS: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]")
_SURROGATES: Final = re.compile(r"[\ud800-\udfff]")
_VARIABLE_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,63}")
_SIP_HEADER_NAME: Final = re.compile(r"[Xx]-[A-Za-z0-9\-]{1,62}")
_SIP_HEADER_VALUE: Final = re.compile(r"[\x20-\x7e]{1,255}")
_HTTP_URL: Final = re.compile(r"https?://[^\s/?#@\\]+(?:[/?#][^\s\\]*)?", re.IGNORECASE)
_DESTINATION_NAME: Final = re.compile(r"[a-z][a-z0-9_-]{0,63}")
_IDEMPOTENCY_KEY: Final = re.compile(r"[\x21-\x7e]{1,200}")
_CORRELATION_ID: Final = re.compile(r"[0-9A-Za-z_.:/=+-]{1,128}")


class ContractModel(BaseModel):
    """A frozen object that refuses what it does not know, and hides what it was given from its errors.

    The fields of each stand in the order of their names, and so does what pydantic writes of them: canonical
    JSON.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


def refusal(code: str, **context: object) -> PydanticCustomError:
    """Return the error that makes pydantic refuse a value with one of our codes."""
    return PydanticCustomError(code, REFUSALS[code].problem, dict(context))


def _uuid(value: object) -> str:
    if isinstance(value, UUID):
        return str(value)
    if not isinstance(value, str):
        raise refusal("string_type")
    # The same spellings as uuid.UUID, less what int() reads besides digits: "0x", "_", spaces, newlines.
    digits = value.replace("urn:", "").replace("uuid:", "").strip("{}").replace("-", "")
    if not _UUID_DIGITS.fullmatch(digits):
        raise refusal("uuid")
    digits = digits.lower()
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"


def as_plain(value: object, *, depth: int = 0) -> object:
    """Return a value with every text in it as Python's own: a class of the caller's may raise anything."""
    if isinstance(value, str):
        return value if type(value) is str else str.__str__(value)
    if depth < _PLAIN_DEPTH:
        if type(value) is dict:
            return {
                as_plain(name, depth=depth + 1): as_plain(inner, depth=depth + 1)
                for name, inner in value.items()
            }
        if type(value) in {list, tuple}:
            return [as_plain(inner, depth=depth + 1) for inner in cast("list[object]", value)]
    return value


def is_clean(text: str) -> bool:
    """Whether text holds no control characters, no bidirectional overrides and no lone surrogates."""
    return text.isprintable() or not (_CONTROLS.search(text) or _SURROGATES.search(text))


def _clean(text: str) -> str:
    if is_clean(text):
        return text
    raise refusal("control_characters")


def _cleaned(value: object) -> object:
    if not isinstance(value, str) or (value.isascii() and value.isprintable()):
        return value
    if _SURROGATES.search(value):
        raise refusal("control_characters")
    return keep_visible(value)


def is_destination_name(text: str) -> bool:
    """Whether text may name a destination."""
    return _DESTINATION_NAME.fullmatch(text) is not None and not holds_number(text)


def _destination_name(value: object) -> str:
    if isinstance(value, str) and is_destination_name(value):
        return value
    raise refusal("destination_name")


def _idempotency_key(value: object) -> str:
    if not isinstance(value, str) or not _IDEMPOTENCY_KEY.fullmatch(value):
        raise refusal("idempotency_key")
    # It names a key in Redis, and travels to the platform: it can't be masked.
    if not any(map(str.isalpha, value)) and holds_number(value):
        raise refusal("idempotency_key_number")
    return value


def _correlation_id(value: object) -> str:
    if not isinstance(value, str) or not _CORRELATION_ID.fullmatch(value):
        raise refusal("correlation_id")
    # Masked, it would correlate nothing.
    if holds_number(value):
        raise refusal("correlation_id_number")
    return value


def _address(parse: Callable[[str], str]) -> Callable[[str], str]:
    def validate(text: str) -> str:
        try:
            return parse(text)
        except AddressError as error:
            raise refusal(error.code) from error

    return validate


read_number: Final = _address(parse_number)
read_sip_uri: Final = _address(parse_sip_uri)
read_uuid: Final = _uuid


FOR_PLATFORM: Final = {"for": "platform"}
"""The serialisation context in which a number has no plus: piopiy 1.2.2 refuses one."""


def _write_number(number: str, info: SerializationInfo) -> str:
    return number if info.context == FOR_PLATFORM else write_number(number)


def _url(text: str) -> str:
    if _HTTP_URL.fullmatch(text) and is_clean(text):
        return text
    raise refusal("url")


def _variable_name(value: object) -> str:
    # piopiy 1.2.2, piopiy.voice.validators._VAR_KEY_RE; there with match() and without a limit.
    if isinstance(value, str) and _VARIABLE_NAME.fullmatch(value):
        return value
    raise refusal("variable_name")


def _scalar(*, max_text_length: int) -> Callable[[object], str | int | float | bool]:
    def validate(value: object) -> str | int | float | bool:
        match value:
            case bool():
                return value
            case int():
                if abs(value) > _LARGEST_EXACT_INTEGER:
                    raise refusal("scalar_range")
                return value
            case float() if math.isfinite(value):
                return value
            case str():
                if len(value) > max_text_length:
                    raise refusal("string_too_long", max_length=max_text_length)
                return _clean(value)
            case _:
                raise refusal("scalar")

    return validate


def _scalar_schema(*, max_text_length: int) -> dict[str, Any]:
    text = {"type": "string", "maxLength": max_text_length}
    return {"anyOf": [text, {"type": "number"}, {"type": "boolean"}]}


def _sip_header_name(value: object) -> str:
    if isinstance(value, str) and _SIP_HEADER_NAME.fullmatch(value):
        return value
    raise refusal("sip_header_name")


def _sip_header_value(value: object) -> str:
    if isinstance(value, str) and _SIP_HEADER_VALUE.fullmatch(value):
        return value
    raise refusal("sip_header_value")


def _list(value: object) -> list[Any]:
    if isinstance(value, list | tuple):
        return list(value)
    raise refusal("list_type")


def _in_order(mapping: dict[str, Any]) -> dict[str, Any]:
    return dict(sorted(mapping.items()))


def _pattern(pattern: str) -> dict[str, Any]:
    return {"type": "string", "pattern": pattern}


ANY_LIST: Final = BeforeValidator(_list)
IN_ORDER: Final = AfterValidator(_in_order)  # as canonical JSON has them
VISIBLE: Final = BeforeValidator(_cleaned)  # for texts that people read; machines' texts must be clean

Uuid = Annotated[str, BeforeValidator(_uuid), WithJsonSchema({"type": "string", "format": "uuid"})]
Number = Annotated[
    str,
    Field(strict=True, examples=["+1 202-555-0143"]),
    AfterValidator(read_number),
    PlainSerializer(_write_number),
]
SipUri = Annotated[str, Field(strict=True, examples=["sip:desk@example.com"]), AfterValidator(read_sip_uri)]
HttpUrl = Annotated[str, Field(strict=True, max_length=2048), AfterValidator(_url)]
ShortText = Annotated[str, Field(strict=True, min_length=1, max_length=256), AfterValidator(_clean)]
LongText = Annotated[str, Field(strict=True, min_length=1, max_length=2048), AfterValidator(_clean)]
DestinationName = Annotated[
    str, BeforeValidator(_destination_name), WithJsonSchema(_pattern("^[a-z][a-z0-9_-]{0,63}$"))
]
IdempotencyKey = Annotated[str, PlainValidator(_idempotency_key), WithJsonSchema(_pattern("^[!-~]{1,200}$"))]
CorrelationId = Annotated[
    str, PlainValidator(_correlation_id), WithJsonSchema(_pattern("^[0-9A-Za-z_.:/=+-]{1,128}$"))
]
VariableName = Annotated[
    str, PlainValidator(_variable_name), WithJsonSchema(_pattern("^[A-Za-z_][A-Za-z0-9_]{0,63}$"))
]
VariableValue = Annotated[
    str | int | float | bool,
    PlainValidator(_scalar(max_text_length=1000)),
    WithJsonSchema(_scalar_schema(max_text_length=1000)),
]
# piopiy 1.2.2, piopiy.voice.validators._validate_param_action
ParamValue = Annotated[
    str | int | float | bool,
    PlainValidator(_scalar(max_text_length=256)),
    WithJsonSchema(_scalar_schema(max_text_length=256)),
]
Params = Annotated[dict[VariableName, ParamValue], Field(max_length=10), IN_ORDER]
Variables = Annotated[dict[VariableName, VariableValue], Field(max_length=50), IN_ORDER]
SipHeaderName = Annotated[
    str, PlainValidator(_sip_header_name), WithJsonSchema(_pattern("^[Xx]-[A-Za-z0-9-]{1,62}$"))
]
SipHeaderValue = Annotated[str, PlainValidator(_sip_header_value), WithJsonSchema(_pattern("^[ -~]{1,255}$"))]
SipHeaders = Annotated[dict[SipHeaderName, SipHeaderValue], Field(min_length=1, max_length=20), IN_ORDER]
Strategy = Literal["sequential", "simultaneous"]
RingTimeout = Annotated[int, Field(strict=True, ge=5, le=120)]
