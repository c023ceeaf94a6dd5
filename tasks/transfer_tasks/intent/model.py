"""The contract: what may be asked. A `TransferIntent` that exists is valid."""

import hashlib
import time
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Annotated, Any, Final, Literal, Self
from uuid import uuid4

from pydantic import BeforeValidator, Field, ValidationError, ValidationInfo, model_validator
from pydantic_core import from_json, to_json

from transfer_tasks.errors import InvalidIntent, UnsupportedSchemaVersion
from transfer_tasks.intent.actions import Connect, ConnectOptions
from transfer_tasks.intent.destination import (
    DestinationShape,
    EndpointsDestination,
    NamedDestination,
    PipelineDestination,
)
from transfer_tasks.intent.fields import (
    VISIBLE,
    ContractModel,
    CorrelationId,
    IdempotencyKey,
    Number,
    Strategy,
    Uuid,
    Variables,
    as_plain,
    refusal,
)
from transfer_tasks.intent.json_names import has_name_twice
from transfer_tasks.intent.validation import invalid_intent, mask_value
from transfer_tasks.refusals import REFUSALS

SCHEMA_VERSION: Final = 1
DEFAULT_EXPIRES_IN_SECONDS: Final = 15
MIN_EXPIRES_IN_SECONDS: Final = 1
MAX_EXPIRES_IN_SECONDS: Final = 300
MAX_INTENT_BYTES: Final = 32 * 1024

_BY_REDIS: Final = {"deadline": "by Redis's clock"}
"""Validation context: this machine's clock says nothing about the deadline."""

_CONTENT_FIELDS: Final = ("call_id", "caller_id", "destination", "metadata", "options", "strategy")


def _read_point_in_time(value: object, info: ValidationInfo) -> datetime:
    try:
        moment = datetime.fromisoformat(value) if isinstance(value, str) else value
        if not isinstance(moment, datetime) or moment.tzinfo is None:
            raise refusal("expires_at")
        moment = moment.astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise refusal("expires_at") from error
    is_ours = info.context is not _BY_REDIS
    if is_ours and moment > datetime.now(UTC) + timedelta(seconds=MAX_EXPIRES_IN_SECONDS):
        raise refusal("expires_too_late", max_seconds=MAX_EXPIRES_IN_SECONDS)
    return moment.replace(microsecond=moment.microsecond // 1000 * 1000)


def _add_expires_in_seconds(schema: dict[str, Any]) -> None:
    schema["properties"]["expires_in_seconds"] = {
        "description": "Input only, and not together with expires_at, which is what is stored.",
        "type": "number",
        "minimum": MIN_EXPIRES_IN_SECONDS,
        "maximum": MAX_EXPIRES_IN_SECONDS,
        "default": DEFAULT_EXPIRES_IN_SECONDS,
    }
    schema["required"] = ["call_id", "destination"]


class TransferIntent(ContractModel, json_schema_extra=_add_expires_in_seconds):
    """One request to move a live call.

    Every wrong input raises `InvalidIntent`, whichever way in is taken. Submitting the same object again is
    safe: it carries its own `transfer_id`.

    Attributes:
        transfer_id: A new UUID unless given.
        call_id: The call to move; any spelling of its UUID, kept in the canonical one.
        destination: Where to. Also takes a name, ``+1…``, ``sip:…``, ``agent:<uuid>``, an endpoint, a list
            of endpoints or of PCMO actions, or piopiy's ``PipelineBuilder``.
        caller_id: The number that the new leg shows.
        correlation_id: Stands in each audit line of the transfer: a W3C ``traceparent`` as it is, or an id of
            the caller's own.
        reason: What the caller wants, for people to read.
        requested_by: Who asks, for people to read.
        metadata: Flat values that travel to the platform with the connect action.
        expires_at: After this nobody may send any more. Give ``expires_in_seconds`` (default 15) instead.
        idempotency_key: A key of the caller's own, to recognise repeats by.
        options: How the new leg is called.
        strategy: Whether several endpoints ring in turn or at once.
        schema_version: The version of this contract.
    """

    __slots__ = ("_built_at",)

    call_id: Uuid
    caller_id: Number | None = None
    correlation_id: CorrelationId | None = None
    destination: DestinationShape
    expires_at: Annotated[datetime, BeforeValidator(_read_point_in_time, json_schema_input_type=datetime)]
    idempotency_key: IdempotencyKey | None = None
    metadata: Variables = Field(default_factory=dict)
    options: ConnectOptions = ConnectOptions()
    reason: Annotated[str, Field(strict=True, max_length=500), VISIBLE] = ""
    requested_by: Annotated[str, Field(strict=True, max_length=200), VISIBLE] = ""
    schema_version: Literal[1] = SCHEMA_VERSION
    strategy: Strategy | None = None
    transfer_id: Uuid = Field(default_factory=lambda: str(uuid4()))

    def __init__(self, /, **data: object) -> None:
        data = {name: as_plain(value) for name, value in data.items()}
        _check_schema_version(data)
        try:
            super().__init__(**data)
        except ValidationError as error:
            raise invalid_intent(error) from error

    # Tells pydantic that this __init__ adds no fields, so that model_validate does not go through it.
    __init__.__pydantic_base_init__ = True  # type: ignore[attr-defined]

    @classmethod
    def model_validate(cls, obj: object, **options: Any) -> Self:
        """Validate an object; as `from_dict`."""
        return cls._validate(as_plain(obj), **options)

    @classmethod
    def _validate(cls, obj: object, **options: Any) -> Self:
        """Validate what holds Python's own texts only."""
        _check_schema_version(obj)
        try:
            return super().model_validate(obj, **options)
        except ValidationError as error:
            raise invalid_intent(error) from error

    @classmethod
    def model_validate_json(cls, json_data: str | bytes | bytearray, **options: Any) -> Self:
        """Validate JSON; as `from_json`."""
        size = len(json_data)
        # Spaces and escapes may double the size; the compact form is measured at the end.
        if size > 2 * MAX_INTENT_BYTES:
            raise _refused("intent_too_large", value=f"{size} bytes", max_bytes=MAX_INTENT_BYTES)
        try:
            obj = from_json(json_data, allow_inf_nan=False)
            # The reader lets the last of two equal names win; which one was meant, nobody knows.
            is_ambiguous = has_name_twice(obj, json_data)
        except ValueError as error:
            raise _refused("json", value=f"{size} bytes") from error
        if is_ambiguous:
            raise _refused("json_twice", value=f"{size} bytes")
        return cls._validate(obj, **options)

    @classmethod
    def from_dict(cls, obj: object) -> Self:
        """Return the intent that an object of plain JSON values describes.

        Raises:
            InvalidIntent: It describes none.
            UnsupportedSchemaVersion: It is written in a version that this side does not know.
        """
        return cls.model_validate(obj)

    @classmethod
    def from_json(cls, text: str | bytes) -> Self:
        """Return the intent that a JSON text describes.

        Raises:
            InvalidIntent: It describes none.
            UnsupportedSchemaVersion: It is written in a version that this side does not know.
        """
        return cls.model_validate_json(text)

    @classmethod
    def from_elsewhere(cls, obj: object) -> Self:
        """Return the intent of a record or a message: its deadline is by another clock than this machine's.

        Args:
            obj: JSON text, or an object of plain JSON values.

        Raises:
            InvalidIntent: It describes none.
            UnsupportedSchemaVersion: It is written in a version that this side does not know.
        """
        if isinstance(obj, str):
            return cls.model_validate_json(obj, context=_BY_REDIS)
        return cls.model_validate(obj, context=_BY_REDIS)

    def remaining_seconds(self) -> float:
        """Return what is left until the deadline, counted from the building of this object.

        However the machine's clock is set meanwhile. A copy, and what was unpickled, is measured by this
        machine's time of day.
        """
        built_at, told_at = getattr(self, "_built_at", (time.monotonic(), time.time()))
        return self.expires_at.timestamp() - told_at - (time.monotonic() - built_at)

    @model_validator(mode="before")
    @classmethod
    def _set_expires_at(cls, data: object) -> object:
        if not isinstance(data, dict):
            return data
        if "expires_in_seconds" not in data and "expires_at" in data:
            return data
        data = dict(data)
        seconds = data.pop("expires_in_seconds", DEFAULT_EXPIRES_IN_SECONDS)
        if "expires_at" in data:
            raise refusal("expires_twice", path="expires_in_seconds", shown=mask_value(seconds))
        if (
            isinstance(seconds, bool)
            or not isinstance(seconds, int | float)
            or not (MIN_EXPIRES_IN_SECONDS <= seconds <= MAX_EXPIRES_IN_SECONDS)
        ):
            raise refusal(
                "expires_in_seconds",
                path="expires_in_seconds",
                shown=mask_value(seconds),
                min_seconds=MIN_EXPIRES_IN_SECONDS,
                max_seconds=MAX_EXPIRES_IN_SECONDS,
                default_seconds=DEFAULT_EXPIRES_IN_SECONDS,
            )
        data["expires_at"] = datetime.now(UTC) + timedelta(seconds=seconds)
        return data

    @model_validator(mode="after")
    def _finish(self) -> Self:
        object.__setattr__(self, "_built_at", (time.monotonic(), time.time()))
        # Without these two, the limits of the other fields add up to less than a sixth of the cap.
        if self.metadata or not isinstance(self.destination, NamedDestination):
            size = len(self.to_json().encode())
            if size > MAX_INTENT_BYTES:
                raise refusal("intent_too_large", max_bytes=MAX_INTENT_BYTES)
        return self

    def to_json(self) -> str:
        """Return the intent as one line of canonical JSON: sorted keys, no spaces, what is unset left out."""
        return self.model_dump_json(exclude_none=True)

    def destination_digest(self) -> str:
        """Return a SHA-256 that two intents of one call share if they move it to the same place."""
        if isinstance(self.destination, NamedDestination):
            return _digest_of_name(self.destination.name)
        return _digest(self.destination.model_dump_json(exclude_none=True).encode())

    def content_digest(self) -> str:
        """Return a SHA-256 that two intents share if carrying out either comes to the same."""
        # As `model_dump_json` with these fields, which takes twice as long to find out which they are.
        content = {name: value for name in _CONTENT_FIELDS if (value := getattr(self, name)) is not None}
        return _digest(to_json(content, exclude_none=True))

    def labels(self) -> dict[str, str]:
        """Return a masked description for logs and Flower; ``to`` is absent for a named destination."""
        known = {"correlation_id": self.correlation_id} if self.correlation_id else {}
        match self.destination:
            case NamedDestination(name=name):
                return {**known, "destination": name}
            case EndpointsDestination(endpoints=endpoints):
                kind = "endpoints"
            case PipelineDestination(pipeline=pipeline):
                kind = "pipeline"
                endpoints = [
                    leg for action in pipeline if isinstance(action, Connect) for leg in action.endpoints
                ]
        return {**known, "destination": kind, "to": ", ".join(endpoint.masked for endpoint in endpoints)}


def _check_schema_version(data: object) -> None:
    version = data.get("schema_version", SCHEMA_VERSION) if isinstance(data, dict) else SCHEMA_VERSION
    # Not True, and not 1.0: both are equal to 1, and neither is what the schema says.
    if isinstance(version, bool | float):
        raise _refused_field("int_type", field="schema_version", value=mask_value(version))
    if isinstance(version, int) and version != SCHEMA_VERSION:
        problem, fix = REFUSALS["schema_version"]
        raise UnsupportedSchemaVersion(
            field="schema_version", value=mask_value(version), problem=problem, fix=fix
        )


def _refused_field(code: str, *, field: str, value: str) -> InvalidIntent:
    return InvalidIntent(field=field, value=value, problem=REFUSALS[code].problem, fix=REFUSALS[code].fix)


def _refused(code: str, *, value: str, **context: object) -> InvalidIntent:
    problem, fix = REFUSALS[code].filled(context)
    return InvalidIntent(field="intent", value=value, problem=problem, fix=fix)


@lru_cache(maxsize=256)  # registries are small; the models that make names up are not to fill the memory
def _digest_of_name(name: str) -> str:
    return _digest(NamedDestination(name=name).model_dump_json().encode())


def _digest(text: bytes) -> str:
    return hashlib.sha256(text).hexdigest()[:32]
