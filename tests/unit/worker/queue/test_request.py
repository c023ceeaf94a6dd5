"""What Flower shows of a message that one of our publishers wrote, or somebody who writes like one."""

from __future__ import annotations

import pytest

from transfer_tasks.masking import mask_text
from transfer_worker.queue.request import MaskedRequest

CALL = "0f5c2b1e-6a4d-4f7e-9b3a-2d1c0e9f8a77"


@pytest.mark.parametrize(
    "said",
    [
        "asks for a person",
        "call +1 555 010 1234 back",
        "5550101234",
        r"555\u202f0101234",
        "555&nbsp;0101234",
        "sip:alice@example.com",
        "4f7e-9b3a-2d1c0e9f8a77",
        CALL,
    ],
)
@pytest.mark.parametrize("call_id", [CALL, "5550101234", CALL.upper()])
def test_it_is_masked_as_a_whole_whoever_wrote_it(call_id, said):
    shown = f"{{'call_id': '{call_id}', 'reason': '{said}'}}"
    assert MaskedRequest._describe((), {}, shown) == mask_text(shown)
