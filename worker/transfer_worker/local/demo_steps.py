"""What the demo asks for, and what each of it must come to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from transfer_tasks.outcome import Reason

DESTINATIONS: Final = """\
[support]
description = "Technical support: faults, outages, questions about how something works"
endpoints = ["+1 202-555-0143"]
caller_id = "+1 202-555-0100"

[front-desk]
description = "The front desk: appointments, deliveries, anything that needs a person in the building"
endpoints = ["sip:front-desk@pbx.example.com"]

[billing]
description = "The billing assistant: invoices, payments, refunds"
endpoints = ["agent:3d0b6a52-7c1e-4b8a-9f60-2a1f5e9c8d47"]

# The sandbox answers this number with 503 once, and then takes it.
[sales]
description = "Sales: prices, offers, new contracts"
endpoints = ["+1 202-555-0153"]

# The sandbox moves the call and never answers.
[night-desk]
description = "The night desk: emergencies outside of office hours"
endpoints = ["+1 202-555-0160"]
"""
"""The registry of the demo, and of an `up` that has no other."""


def _paste(endpoint: dict[str, str]) -> list[dict[str, Any]]:
    """Return a pipeline as Piopiy's how-tos write it: with `from`, and numbers with a plus."""
    return [
        {
            "action": "connect",
            "params": {"from": "+1 (202) 555-0100", "options": {"ring_timeout_sec": 20}},
            "endpoints": [endpoint],
        }
    ]


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One thing that is asked, and what it must come to.

    Attributes:
        title: What the table calls it.
        destination: Where to.
        reason: How it must end.
        attempts: How many attempts that must take.
        posts: How many requests of this call must have reached the sandbox.
        carried_out: How often the sandbox must have moved the call.
        repeats: The step that is asked for once more, by its title.
    """

    title: str
    destination: str | list[dict[str, Any]]
    reason: Reason = Reason.ACCEPTED_BY_PLATFORM
    attempts: int = 1
    posts: int = 1
    carried_out: int = 1
    repeats: str = ""


STEPS: Final = (
    Step(title="phone, by name", destination="support"),
    Step(title="SIP, by name", destination="front-desk"),
    Step(title="AI agent, by name", destination="billing"),
    Step(title="phone, pasted", destination=_paste({"type": "pstn", "number": "+1 (202) 555-0143"})),
    Step(title="SIP, pasted", destination=_paste({"type": "sip", "uri": "sip:front-desk@pbx.example.com"})),
    Step(
        title="AI agent, pasted",
        destination=_paste({"type": "agent", "id": "3d0b6a52-7c1e-4b8a-9f60-2a1f5e9c8d47"}),
    ),
    Step(title="asked for twice", destination="support", repeats="phone, by name"),
    Step(title="503, then taken", destination="sales", attempts=2, posts=2),
    Step(
        title="not in the registry",
        destination="+1 202 555 0177",
        reason=Reason.DESTINATION_NOT_ALLOWED,
        attempts=0,
        posts=0,
        carried_out=0,
    ),
    Step(title="answer lost", destination="night-desk", reason=Reason.ANSWER_LOST),
)
