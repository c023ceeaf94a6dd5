"""The legs of a destination: a phone, a SIP user or an AI agent, and the short forms people write."""

from typing import Annotated, Any, Final, Literal

from pydantic import AfterValidator, BeforeValidator, Field

from transfer_tasks.addresses import mask_number, mask_sip_uri, resembles_number
from transfer_tasks.intent.fields import (
    ANY_LIST,
    ContractModel,
    Number,
    SipHeaders,
    SipUri,
    Uuid,
    read_number,
    read_sip_uri,
    read_uuid,
    refusal,
)

_MAX_AGENTS: Final = 2  # piopiy 1.2.2, piopiy.voice.validators._validate_connect_action


class PhoneEndpoint(ContractModel):
    """A phone, called over the public network."""

    number: Number
    type: Literal["pstn"]

    @property
    def masked(self) -> str:
        """The number with nothing but its country code and last two digits."""
        return mask_number(self.number)


class SipEndpoint(ContractModel):
    """A SIP user."""

    headers: SipHeaders | None = None
    type: Literal["sip"]
    uri: SipUri

    @property
    def masked(self) -> str:
        """The address without its user."""
        return mask_sip_uri(self.uri)


class AgentEndpoint(ContractModel):
    """An AI agent, by its id at Piopiy."""

    id: Uuid
    type: Literal["agent"]

    @property
    def masked(self) -> str:
        """The short form; an agent's id identifies no person."""
        return f"agent:{self.id}"


def read_short_form(text: str) -> PhoneEndpoint | SipEndpoint | AgentEndpoint:
    """Return the endpoint that ``+1…``, ``sip:…`` or ``agent:…`` stands for.

    Raises:
        PydanticCustomError: The text stands for none; pydantic turns it into a refusal of the field.
    """
    scheme = text.partition(":")[0].lower()
    if scheme in {"sip", "sips"}:
        return SipEndpoint.model_construct(type="sip", uri=read_sip_uri(text), headers=None)
    if scheme == "agent":
        return AgentEndpoint.model_construct(type="agent", id=read_uuid(text[len("agent:") :]))
    if resembles_number(text):
        return PhoneEndpoint.model_construct(type="pstn", number=read_number(text))
    raise refusal("endpoint")


def _endpoint(value: object) -> object:
    if isinstance(value, str):
        return read_short_form(value)
    if isinstance(value, dict | PhoneEndpoint | SipEndpoint | AgentEndpoint):
        return value
    if isinstance(value, int | float) and not isinstance(value, bool):
        raise refusal("string_type")  # a phone number, most likely
    raise refusal("endpoint")


Endpoint = Annotated[
    Annotated[PhoneEndpoint | SipEndpoint | AgentEndpoint, Field(discriminator="type")],
    BeforeValidator(_endpoint, json_schema_input_type=PhoneEndpoint | SipEndpoint | AgentEndpoint | str),
]


def _agents_last(endpoints: list[Any]) -> list[Any]:
    are_agents = [isinstance(endpoint, AgentEndpoint) for endpoint in endpoints]
    if are_agents != sorted(are_agents):
        raise refusal("agents_last")
    if sum(are_agents) > _MAX_AGENTS:
        raise refusal("agents_too_many")
    return endpoints


Endpoints = Annotated[
    list[Endpoint],
    Field(min_length=1, max_length=20),
    ANY_LIST,
    AfterValidator(_agents_last),
]
