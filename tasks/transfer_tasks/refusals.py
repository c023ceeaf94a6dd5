"""Every way in which an intent, a registry or an address can be refused: the problem and its fix.

The keys are pydantic's own error types where pydantic finds the fault, and our codes elsewhere.
`docs/refusals.md` has at least one row for each; a test holds the two together.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping


class Refusal(NamedTuple):
    """What is wrong and what to write instead; both may hold ``{placeholders}``."""

    problem: str
    fix: str

    def filled(self, context: Mapping[str, object]) -> Refusal:
        """Return the refusal with its placeholders filled in."""
        return Refusal(self.problem.format_map(context), self.fix.format_map(context))


_NUMBER_FIX: Final = "Write the whole number with its country code, like +1 202-555-0143."
_SIP_FIX: Final = "Write sip:user@host, with an optional :port and ;transport=udp, tcp, tls, ws or wss."

REFUSALS: Final[dict[str, Refusal]] = {
    # phone numbers and SIP URIs
    "number_characters": Refusal("holds characters that no phone number has", _NUMBER_FIX),
    "number_country_code": Refusal("does not show which country it belongs to", _NUMBER_FIX),
    "number_invalid": Refusal("is not a phone number that anybody can have", _NUMBER_FIX),
    "number_length": Refusal(
        "has a length that the platform does not take", "Use a number of 7 to 16 digits."
    ),
    "sip_scheme": Refusal("is not a SIP address", _SIP_FIX),
    "sip_user": Refusal("has no user, or one with characters that are not allowed", _SIP_FIX),
    "sip_host": Refusal("has no valid host", _SIP_FIX),
    "sip_port": Refusal("has no valid port", "Use a port from 1 to 65535, or leave it out."),
    "sip_parameters": Refusal("has parameters or headers that are not allowed", _SIP_FIX),
    # identities
    "uuid": Refusal(
        "is not a UUID", "Use the id as Piopiy gave it, like 6f1c1f0e-5b0a-4d4e-9a51-0c9d6a3c2b11."
    ),
    "idempotency_key": Refusal(
        "is not a usable key", "Use 1 to 200 printable ASCII characters without spaces, or leave it out."
    ),
    "idempotency_key_number": Refusal(
        "may be a phone number", "Use a key that identifies the request, like order-7/1, or leave it out."
    ),
    "correlation_id": Refusal(
        "is not a usable id",
        "Use 1 to 128 of A-Z a-z 0-9 _ . : / = + -, like a traceparent, or leave it out.",
    ),
    "correlation_id_number": Refusal(
        "holds what may be a phone number",
        "Use a whole traceparent, a UUID, or fewer than 7 digits in a row.",
    ),
    # text and values
    "control_characters": Refusal("holds control characters or broken Unicode", "Remove them."),
    "url": Refusal(
        "is not an http or https URL", "Write a URL like https://example.com/path, without spaces."
    ),
    "dtmf_key": Refusal("is not a key of a telephone", "Use one of 0-9, *, # or A-D."),
    "dtmf_range": Refusal("wants more digits at least than at most", "Make min_digits at most max_digits."),
    "duplicate": Refusal("lists the same thing twice", "Name each once."),
    "scalar": Refusal(
        "is not text, a finite number or a boolean", "Use a flat value; write anything else as text."
    ),
    "scalar_range": Refusal("is a whole number beyond what JSON carries safely", "Write it as text."),
    "variable_name": Refusal(
        "has a name that the platform does not take",
        "Start it with a letter or _, go on with letters, digits and _, at most 64 in all.",
    ),
    "sip_header_name": Refusal(
        "is not a header that may be set",
        "Use custom headers only: X- and up to 62 letters, digits and hyphens.",
    ),
    "sip_header_value": Refusal("is not a clean header value", "Use 1 to 255 printable ASCII characters."),
    # where to
    "destination": Refusal(
        "is not a destination",
        "Write a registered name, a number with its country code, sip:user@host, agent:<uuid>, "
        "a list of endpoints or a list of pipeline actions.",
    ),
    "pipeline_builder": Refusal(
        "is a pipeline builder that raises {error}", "Call its build() yourself, and see what it says."
    ),
    "destination_name": Refusal(
        "is not a destination's name",
        "Use lower-case letters, digits, _ and -, starting with a letter, at most 64 in all.",
    ),
    "endpoint": Refusal(
        "is not an endpoint",
        'Write {{"type": "pstn", "number": …}}, {{"type": "sip", "uri": …}} or {{"type": "agent", "id": …}}, '
        "or their short forms +1…, sip:… and agent:….",
    ),
    "agents_last": Refusal("has an agent before a phone or SIP endpoint", "Put agents at the end."),
    "agents_too_many": Refusal("has more than two agents", "Name at most two agents."),
    "connect_missing": Refusal("connects the call to nobody", "Add a connect action."),
    "limit": Refusal(
        "is not a limit on rate",
        'Write a number and a time, like "30/min", "5/10min" or "100/h", or "off"; at most 100000 in 1 day.',
    ),
    "from_and_caller_id": Refusal("has both from and caller_id", "Keep caller_id and remove from."),
    # when
    "expires_at": Refusal(
        "is not a point in time with its zone",
        "Write it like 2026-01-31T12:00:00Z, or give expires_in_seconds.",
    ),
    "expires_too_late": Refusal("is too far ahead", "Choose at most {max_seconds} seconds from now."),
    "expires_in_seconds": Refusal(
        "is not a number of seconds from {min_seconds} to {max_seconds}",
        "Choose from {min_seconds} to {max_seconds} seconds, or leave it out for {default_seconds}.",
    ),
    "expires_twice": Refusal("comes together with expires_at", "Give one of the two."),
    # the whole
    "json_twice": Refusal("names a field twice", "Name each field once."),
    "json": Refusal("is not JSON", "Send one JSON object in UTF-8, without NaN or Infinity."),
    "intent_too_large": Refusal("is larger than {max_bytes} bytes", "Shorten the pipeline or the metadata."),
    "schema_version": Refusal(
        "is a version that this side does not know", "Leave it out, or upgrade this side: it knows version 1."
    ),
    # found by pydantic
    "missing": Refusal("is missing", "Add it."),
    "extra_forbidden": Refusal("is not a known field", "Correct its spelling, or remove it."),
    "invalid_key": Refusal("is not a known field", "Use text for the names of fields."),
    "model_type": Refusal("is not an object", "Write an object with named fields."),
    "model_attributes_type": Refusal("is not an object", "Write an object with named fields."),
    "dict_type": Refusal("is not an object", "Write an object with named values."),
    "list_type": Refusal("is not a list", "Write a list."),
    "string_type": Refusal("is not text", "Write it as text."),
    "string_unicode": Refusal("holds control characters or broken Unicode", "Remove them."),
    "string_too_short": Refusal("is too short", "Write at least {min_length} character(s)."),
    "string_too_long": Refusal("is too long", "Write at most {max_length} character(s)."),
    "too_short": Refusal("has too few entries", "Give at least {min_length}."),
    "too_long": Refusal("has too many entries", "Give at most {max_length}."),
    "int_type": Refusal("is not a whole number", "Write a whole number, without quotes."),
    "float_type": Refusal("is not a number", "Write a number, without quotes."),
    "finite_number": Refusal("is not a finite number", "Write a finite number."),
    "greater_than_equal": Refusal("is too small", "Choose {ge} or more."),
    "less_than_equal": Refusal("is too large", "Choose {le} or less."),
    "bool_type": Refusal("is neither true nor false", "Write true or false, without quotes."),
    "literal_error": Refusal("is not one of the known values", "Use {expected}."),
    "union_tag_not_found": Refusal("does not say what it is", "Add {discriminator}."),
    "union_tag_invalid": Refusal("is of an unknown kind", "Use {expected_tags} as {discriminator}."),
}
