"""Which destination number brings which behaviours about, as a payment provider's test cards do."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from transfer_worker.sandbox.behaviours import parse_script
from transfer_worker.sandbox.courses import parse_course

if TYPE_CHECKING:
    from transfer_worker.sandbox.behaviours import Script
    from transfer_worker.sandbox.courses import Course

MAGIC_NUMBERS: Final[dict[str, Script]] = {
    "12025550100": parse_script([], "ok"),
    "12025550101": parse_script([], "slow:2"),
    "12025550102": parse_script([], "hints"),
    "12025550103": parse_script([], "403"),
    "12025550104": parse_script([], "404"),
    "12025550105": parse_script([], "410"),
    "12025550109": parse_script([], "409"),
    "12025550110": parse_script([], "400"),
    "12025550111": parse_script([], "401"),
    "12025550122": parse_script([], "422"),
    "12025550128": parse_script(["429:1"]),
    "12025550129": parse_script([], "429:1"),
    "12025550150": parse_script([], "500"),
    "12025550152": parse_script([], "502"),
    "12025550153": parse_script(["503"]),
    "12025550154": parse_script([], "504"),
    "12025550155": parse_script([], "503"),
    "12025550156": parse_script(["503:1"]),
    "12025550157": parse_script([], "proxy"),
    "12025550158": parse_script([], "proxy-not-done"),
    "12025550160": parse_script([], "silence"),
    "12025550161": parse_script([], "silence-not-done"),
    "12025550162": parse_script([], "reset"),
    "12025550163": parse_script([], "reset-not-done"),
    "12025550164": parse_script([], "close"),
    "12025550165": parse_script([], "cut"),
    "12025550166": parse_script([], "drip"),
    "12025550170": parse_script([], "html"),
    "12025550171": parse_script([], "empty"),
    "12025550172": parse_script([], "truncated"),
    "12025550173": parse_script([], "array"),
    "12025550174": parse_script([], "redirect"),
    "12025550175": parse_script([], "denied"),
}
"""What a destination number brings about; any other is answered with ``ok``."""

MAGIC_COURSES: Final[dict[str, Course]] = {
    "12025550130": parse_course(["ringing", "connected:1"]),
    "12025550131": parse_course(["ringing", "busy:1"]),
    "12025550132": parse_course(["ringing", "no_answer:3"]),
    "12025550133": parse_course(["ringing", "rejected:1"]),
    "12025550134": parse_course(["invalid_number"]),
    "12025550135": parse_course(["unreachable:1"]),
    "12025550136": parse_course(["call_barred"]),
    "12025550137": parse_course(["network_error:1"]),
    "12025550138": parse_course(["ringing", "no_answer_and_call_ended:1"]),
    "12025550139": parse_course(["ringing-lost", "connected-lost:1"]),
    "12025550180": parse_course(["ringing", "connected:20"]),
    "12025550181": parse_course(["ringing-doubled", "connected-doubled:1"]),
    "12025550182": parse_course(["ringing", "connected:1", "no_answer"]),
    "12025550183": parse_course(["other-busy", "ringing", "connected:1"]),
    "12025550184": parse_course(["ringing"]),
}
"""What becomes of a transfer to a number that is answered with ``tracked``; of any other nothing is told."""
