"""Free text for people: no full numbers and SIP users, however written, and nothing that nobody sees."""

from __future__ import annotations

import html
import re
import unicodedata
from typing import TYPE_CHECKING, Final
from urllib.parse import unquote

from transfer_tasks.addresses import MASK, is_host, mask_number

if TYPE_CHECKING:
    from collections.abc import Iterator

# Every script's digits; and those that are raised, lowered, in circles, in brackets or before a full stop.
_DIGIT: Final = (
    r"[\d\u00b2\u00b3\u00b9\u2070\u2074-\u2079\u2080-\u2089\u2460-\u2468\u2474-\u247c\u2488-\u2490\u24ea"
    r"\u24f5-\u24fd\u24ff\u2776-\u277e\u2780-\u2788\u278a-\u2792\U0001f100-\U0001f10a]"
)
_NUMBER: Final = re.compile(rf"{_DIGIT}(?:[\W_]{{0,3}}{_DIGIT}){{6,}}")
"""Seven digits or more, with up to three characters in between that are no letters."""

_SENSITIVE: Final = re.compile(
    rf"(?P<scheme>sips?):[^\s@]{{1,512}}@(?P<host>[A-Za-z0-9.\-]*)|[+＋]?\(?{_NUMBER.pattern}",  # noqa: RUF001
    re.IGNORECASE,
)
UUID_PATTERN: Final = r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"
_TRACEPARENT: Final = r"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}"
"""W3C Trace Context, 3.2: version, trace id, parent id, flags."""
# What must survive in logs although it holds digits: canonical UUIDs, traces, points in time as we write
# them, this machine's address, which is the beginning of nobody's number.
_KEPT: Final = re.compile(
    rf"(?<![0-9A-Za-z])(?:{UUID_PATTERN}|{_TRACEPARENT}"
    r"|\d{4}-(?:0[1-9]|1[0-2])-(?:0[1-9]|[12]\d|3[01])T(?:[01]\d|2[0-3]):[0-5]\d:[0-5]\d(?:\.\d{3}|\.\d{6})?"
    r"(?:Z|\+00:00)?|(?<![\d.])127\.0\.0\.1(?!\.?\d))(?![0-9A-Za-z])",
    re.ASCII,
)
_OWN_ID: Final = re.compile(rf"{UUID_PATTERN}(?::\d{{1,6}})?")
"""A transfer, a call, or the key that is made of a call and its hop."""
_SUSPECT: Final = re.compile(rf"{_DIGIT}|[@\\&%]")
"""Most texts have none of these, and need no closer look."""
# A character that stands there as its code: in JSON and in what Python shows, in HTML, in a URL.
_CODED: Final = re.compile(
    r"\\+(?:u[dD][89abAB][0-9a-fA-F]{2}\\+u[dD][c-fC-F][0-9a-fA-F]{2}|u[0-9a-fA-F]{4}|U[0-9a-fA-F]{8}"
    r"|x[0-9a-fA-F]{2}|[abfnrtv\"'/])|\\{2,}|&(?:\#\d{1,7}|\#[xX][0-9a-fA-F]{1,6}|[A-Za-z]{2,8});?|(?:%[0-9a-fA-F]{2})+"
)
# Controls; Unicode 16.0's Default_Ignorable_Code_Point, less the two joiners: bidirectional marks, fillers,
# variation selectors, tags, whatever takes no room and may say anything; and annotations.
_INVISIBLE: Final = re.compile(
    r"[\x00-\x1f\x7f-\x9f\xad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b\u200e\u200f\u2028-\u202e"
    r"\u2060-\u206f\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufffb\U0001bca0-\U0001bca3\U0001d173-\U0001d17a"
    r"\U000e0000-\U000e0fff]"
)
# Persian, Hindi and emoji need one joiner between two characters of theirs; elsewhere nobody sees it.
_STRAY_JOINERS: Final = re.compile(
    r"[\u200c\u200d]{2,}|(?<![^\x00-\x7f\s])[\u200c\u200d]|[\u200c\u200d](?![^\x00-\x7f\s])"
)
_LINE_BREAKS: Final = re.compile(r"[\t\n\v\f\r\x85\u2028\u2029]+")


def mask_text(text: str) -> str:
    """Return free text with everything masked that looks like a phone number or a SIP user.

    A phone number is any run of seven or more digits, of any script, with up to three characters in between
    that are no letters; also where one of them stands as its code (``&nbsp;``, ``\\u202f``, ``%20``).
    Canonical UUIDs, W3C's ``traceparent``, and points in time as this project writes them stay as they are.
    """
    if not _SUSPECT.search(text) or _OWN_ID.fullmatch(text):
        return text
    if _CODED.search(text):
        return _mask_coded(text)
    if not _SENSITIVE.search(text):
        return text
    parts, end = [], 0
    for start, stop, mask in _find_masks(text):
        parts += [text[end:start], mask]
        end = stop
    return "".join(parts) + text[end:]


def holds_number(text: str) -> bool:
    """Whether a number stands in a text that `mask_text` would mask."""
    return mask_text(text) != text


def keep_visible(text: str) -> str:
    """Return what a person sees of a text, in one line."""
    if text.isascii() and text.isprintable():
        return text
    return _STRAY_JOINERS.sub("", _INVISIBLE.sub("", _LINE_BREAKS.sub(" ", text)).strip()).strip()


def digit_of(character: str) -> str:
    """Return the digit that a character of any script is; an empty text where it is none."""
    value = unicodedata.digit(character, None)
    return "" if value is None else str(value)


def _find_masks(text: str) -> Iterator[tuple[int, int, str]]:
    """Yield where something is to be masked, and what is to be there instead."""
    begin = 0
    for kept in (*_KEPT.finditer(text), None):
        stop = kept.start() if kept else len(text)
        for found in _SENSITIVE.finditer(text, begin, stop):
            yield found.start(), found.end(), _mask_of(found)
        begin = kept.end() if kept else stop


def _mask_of(found: re.Match[str]) -> str:
    if found["scheme"]:
        host = found["host"]
        return f"{found['scheme']}:***@{host if is_host(host.lower().rstrip('.-')) else '***'}"
    run = found[0]
    digits = "".join(map(digit_of, run)).lstrip("0")
    if run[0] in "+＋" or len(digits) > 10:  # noqa: RUF001 - shorter ones are national: no country code
        return mask_number(digits)
    return f"{MASK}{digits[-2:]}"


def _mask_coded(text: str) -> str:
    """As `mask_text`, for a text in which characters stand as their codes: masked are the codes."""
    plain, starts, ends, end = "", [], [], 0
    for coded in _CODED.finditer(text):
        between = range(end, coded.start())
        character = _decode(coded[0])
        plain += text[end : coded.start()] + character
        starts += [*between, *[coded.start()] * len(character)]
        ends += [*(index + 1 for index in between), *[coded.end()] * len(character)]
        end = coded.end()
    rest = range(end, len(text))
    plain += text[end:]
    starts += rest
    ends += (index + 1 for index in rest)
    parts, end = [], 0
    for start, stop, mask in _find_masks(plain):
        parts += [text[end : starts[start]], mask]
        end = max(end, ends[stop - 1])
    return "".join(parts) + text[end:]


def _decode(coded: str) -> str:
    """Return what a code stands for; itself, where it stands for nothing."""
    if coded[0] == "&":
        return html.unescape(coded if coded[-1] == ";" else coded + ";")
    if coded[0] == "%":
        return unquote(coded)
    code = coded.lstrip("\\")
    if len(code) <= 1:
        return " "
    try:
        # A pair of surrogates is one character.
        codes = [int(part, 16) for part in re.findall(r"[uUx]([0-9a-fA-F]+)", code)]
        return "".join(map(chr, codes)).encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    except (ValueError, OverflowError):
        return " "
