"""Phone numbers and SIP URIs: parse, normalise, mask."""

from __future__ import annotations

import ipaddress
import re
from typing import Final

import phonenumbers

from transfer_tasks.refusals import REFUSALS

NON_GEOGRAPHIC_REGION: Final = "001"

# Letters are left out on purpose: vanity numbers (1-800-FLOWERS) and extensions are read as other numbers.
_SPELLING: Final = re.compile(r" *\(?(?P<prefix>[+＋]|00)?(?P<rest>[\d ().\-/\u00a0\u2010-\u2015\u2212]+)")  # noqa: RUF001
_SPELLING_MAX_LENGTH: Final = 64
_TEL_SCHEME: Final = "tel:"  # RFC 3966; its parameters (an extension, a context) are not read
_NATIONAL_MAX_DIGITS: Final = 10
"""So long a number may be without its country code: in North America, in India. Who reads it as a whole one
calls a stranger in another country."""
# piopiy 1.2.2, piopiy.voice.validators._PHONE_RE; there with match(), so a trailing newline slips through.
_PLATFORM_NUMBER: Final = re.compile(r"[1-9][0-9]{6,15}")

_SIP_URI: Final = re.compile(
    r"(?P<scheme>sips?):(?P<user>[^@]*)@(?P<host>\[[^\]]*\]|[^:;?]*)(?P<port>:[^;?]*)?(?P<tail>.*)",
    re.IGNORECASE | re.DOTALL,
)
_SIP_USER: Final = re.compile(r"[A-Za-z0-9_.!~*+\-]{1,64}")
_SIP_PORT: Final = re.compile(r":[1-9][0-9]{0,4}")
_SIP_TAIL: Final = re.compile(r"(;transport=(udp|tcp|tls|ws|wss))?", re.IGNORECASE)
_HOST_LABEL: Final = re.compile(r"[a-z0-9]([a-z0-9\-]{0,61}[a-z0-9])?")

MASK: Final = "*******"


class AddressError(ValueError):
    """A text is not a phone number or SIP URI that may be used.

    Attributes:
        code: Key of the refusal in `transfer_tasks.refusals.REFUSALS`.
        problem: What is wrong.
        fix: What to write instead.
    """

    def __init__(self, code: str) -> None:
        self.code = code
        self.problem, self.fix = REFUSALS[code]
        super().__init__(f"{self.problem}. {self.fix}")


def resembles_number(text: str) -> bool:
    """Whether text begins as a phone number does, so that its mistakes are those of a number."""
    if text[: len(_TEL_SCHEME)].lower() == _TEL_SCHEME:
        return True
    first = text.lstrip(" (")[:1]
    return first.isdecimal() or first in {"+", "＋"}  # noqa: RUF001


def parse_number(text: str) -> str:
    """Return the number as the platform takes it: digits only, country code first, no plus.

    What is read: ``+…`` and ``tel:+…``; ``00…`` whose groups are those of the country; and more than ten
    digits whose first group is the country code. ``435 555 0143`` is a number in Utah to its writer, and one
    in Austria (+43) to a parser; ``001 65 9486 8436`` is one in Singapore, dialled from Korea, or in Alabama.

    Raises:
        AddressError: The text is not a valid number, or its country code is not plain to see.
    """
    is_uri = text[: len(_TEL_SCHEME)].lower() == _TEL_SCHEME
    written = text[len(_TEL_SCHEME) :] if is_uri else text
    spelling = _SPELLING.fullmatch(written) if len(written) <= _SPELLING_MAX_LENGTH else None
    if spelling is None:
        raise AddressError("number_characters")
    prefix, groups = spelling["prefix"] or "", re.findall(r"\d+", spelling["rest"])
    is_international = prefix not in {"", "00"}
    if not is_international and (is_uri or (not prefix and len("".join(groups)) <= _NATIONAL_MAX_DIGITS)):
        raise AddressError("number_country_code")
    try:
        number = phonenumbers.parse("+" + "".join(groups))
    except phonenumbers.NumberParseException as error:
        raise AddressError("number_invalid" if prefix else "number_country_code") from error
    if not prefix and len(groups) > 1 and int(groups[0]) != number.country_code:
        raise AddressError("number_country_code")
    if not phonenumbers.is_valid_number(number):
        raise AddressError("number_invalid")
    if prefix == "00" and not _is_plain(number, groups, is_apart=spelling["rest"][0] == " "):
        raise AddressError("number_country_code")
    digits = f"{number.country_code}{phonenumbers.national_significant_number(number)}"
    if not _PLATFORM_NUMBER.fullmatch(digits):
        raise AddressError("number_length")
    return digits


def write_number(number: str) -> str:
    """Return a parsed number so that `parse_number` reads it again: a short one keeps its plus."""
    return number if len(number) > _NATIONAL_MAX_DIGITS else f"+{number}"


def _is_plain(number: phonenumbers.PhoneNumber, groups: list[str], *, is_apart: bool) -> bool:
    """Whether ``00`` can only be the prefix of what `number` is, by the groups that stand behind it.

    Args:
        number: What the digits behind ``00`` are.
        groups: These digits, as they were written.
        is_apart: Whether ``00`` stands by itself.
    """
    shown = phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.INTERNATIONAL)
    # A trunk zero, as in 0044 (0)20 7946 0958, is no digit of the number.
    own = [group for group in groups if group != "0"]
    ends, usual_ends = _ends(own), _ends(re.findall(r"\d+", shown))
    if not ends <= usual_ends:
        return False
    # One group, so nothing speaks for a country: 001 is a prefix of its own in Asia.
    is_one_group = not ends - {len(str(number.country_code))} - {len("".join(own))}
    return is_apart or not (is_one_group and groups[0][0] == "1" and _is_valid("".join(own)[1:]))


def _ends(groups: list[str]) -> set[int]:
    return {sum(map(len, groups[: count + 1])) for count in range(len(groups))}


def _is_valid(digits: str) -> bool:
    try:
        return phonenumbers.is_valid_number(phonenumbers.parse("+" + digits))
    except phonenumbers.NumberParseException:
        return False


def region_of(number: str) -> str:
    """Return the region of a parsed number, like ``US``; ``001`` if it belongs to no country."""
    region = phonenumbers.region_code_for_number(phonenumbers.parse("+" + number))
    return region or NON_GEOGRAPHIC_REGION


def mask_number(number: str) -> str:
    """Return a parsed number with nothing but its country code and its last two digits.

    The number of stars is fixed, so that the mask does not give the length away.
    """
    for length in (1, 2, 3):
        if number and int(number[:length]) in phonenumbers.COUNTRY_CODE_TO_REGION_CODE:
            return f"+{number[:length]}{MASK}{number[-2:]}"
    return f"{MASK}{number[-2:]}"


def parse_sip_uri(text: str) -> str:
    """Return the URI with its scheme, host and transport in lower case.

    The grammar is much narrower than RFC 3261: no password, no headers, no parameters but ``transport``.
    piopiy 1.2.2 does not check the URI at all.

    Raises:
        AddressError: The text is outside the grammar.
    """
    uri = _SIP_URI.fullmatch(text) if len(text) <= 512 else None
    if uri is None:
        raise AddressError("sip_scheme" if not text.lower().startswith(("sip:", "sips:")) else "sip_user")
    if not _SIP_USER.fullmatch(uri["user"]):
        raise AddressError("sip_user")
    host = uri["host"].lower()
    if not is_host(host):
        raise AddressError("sip_host")
    port = uri["port"] or ""
    if port and not (_SIP_PORT.fullmatch(port) and int(port[1:]) <= 65535):
        raise AddressError("sip_port")
    if not _SIP_TAIL.fullmatch(uri["tail"]):
        raise AddressError("sip_parameters")
    return f"{uri['scheme'].lower()}:{uri['user']}@{host}{port}{uri['tail'].lower()}"


def sip_user(uri: str) -> str:
    """Return the user of a parsed URI."""
    return uri.partition(":")[2].partition("@")[0]


def sip_host(uri: str) -> str:
    """Return the host of a parsed URI, without port; an IPv6 address keeps its brackets."""
    rest = uri.partition("@")[2].partition(";")[0]
    return rest[: rest.index("]") + 1] if rest.startswith("[") else rest.partition(":")[0]


def mask_sip_uri(uri: str) -> str:
    """Return a parsed URI with nothing but its scheme and host."""
    return f"{uri.partition(':')[0]}:***@{sip_host(uri)}"


def is_host(host: str) -> bool:
    """Whether text is a host name or an IP address as a SIP URI has it."""
    if host.startswith("["):
        return host.endswith("]") and _is_address(host[1:-1], version=6)
    labels = host.split(".")
    if labels[-1].isdecimal():
        return _is_address(host, version=4)
    return len(host) <= 253 and all(_HOST_LABEL.fullmatch(label) for label in labels)


def _is_address(text: str, *, version: int) -> bool:
    try:
        return ipaddress.ip_address(text).version == version and "%" not in text
    except ValueError:
        return False
