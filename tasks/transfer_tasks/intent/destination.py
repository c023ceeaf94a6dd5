"""The three shapes of an intent's destination, and every spelling that is read as one of them."""

from collections.abc import Callable
from typing import Annotated, Final

from pydantic import BeforeValidator, Discriminator, Tag

from transfer_tasks.addresses import resembles_number
from transfer_tasks.intent.actions import Action, Actions
from transfer_tasks.intent.endpoints import Endpoint, Endpoints, read_short_form
from transfer_tasks.intent.fields import ContractModel, DestinationName, is_destination_name, refusal


class NamedDestination(ContractModel):
    """A destination from the registry, by its name."""

    name: DestinationName


class EndpointsDestination(ContractModel):
    """One or more endpoints; agents come last, and there are at most two of them."""

    endpoints: Endpoints


class PipelineDestination(ContractModel):
    """A whole PCMO pipeline with at least one connect action."""

    pipeline: Actions


_DESTINATION_MODELS: Final[dict[str, type]] = {
    "name": NamedDestination,
    "endpoints": EndpointsDestination,
    "pipeline": PipelineDestination,
}


def _read_destination(value: object) -> object:
    """Turn every accepted spelling into an object that has one of the three shapes."""
    if isinstance(value, str):
        return _read_destination_text(value)
    if isinstance(value, dict):
        if value.keys() & _DESTINATION_MODELS.keys():
            return value
        return {"endpoints": [value]} if "type" in value else _no_destination()
    if isinstance(value, NamedDestination | EndpointsDestination | PipelineDestination):
        return value
    if isinstance(value, int | float) and not isinstance(value, bool):
        raise refusal("string_type")  # a phone number, most likely
    if not isinstance(value, list | tuple):
        build = getattr(value, "build", None)  # piopiy's PipelineBuilder
        if not callable(build) or isinstance(value, type):
            return _no_destination()
        return {"pipeline": _build(build)}
    is_pipeline = any(isinstance(item, dict) and "action" in item for item in value)
    return {"pipeline" if is_pipeline else "endpoints": value}


def _read_destination_text(text: str) -> object:
    if is_destination_name(text):
        return NamedDestination.model_construct(name=text)
    if ":" in text or resembles_number(text):
        return {"endpoints": [read_short_form(text)]}
    raise refusal("destination_name")


def _build(build: Callable[[], object]) -> object:
    try:
        return build()
    except Exception as error:
        raise refusal("pipeline_builder", error=type(error).__name__) from error


def _no_destination() -> object:
    raise refusal("destination")


def _destination_tag(value: object) -> str | None:
    for tag, model in _DESTINATION_MODELS.items():
        if isinstance(value, model) or (isinstance(value, dict) and tag in value):
            return tag
    return None


DestinationShape = Annotated[
    Annotated[NamedDestination, Tag("name")]
    | Annotated[EndpointsDestination, Tag("endpoints")]
    | Annotated[PipelineDestination, Tag("pipeline")],
    Discriminator(_destination_tag),
    BeforeValidator(
        _read_destination,
        json_schema_input_type=(
            NamedDestination
            | EndpointsDestination
            | PipelineDestination
            | str
            | Endpoint
            | list[Endpoint]
            | list[Action]
        ),
    ),
]
