"""What calling a number may cost, and which numbers a SIP user may be dialled as."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

import phonenumbers
from phonenumbers import PhoneNumberType

from transfer_tasks.addresses import NON_GEOGRAPHIC_REGION, region_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_ORDINARY: Final = frozenset(
    {
        PhoneNumberType.FIXED_LINE,
        PhoneNumberType.MOBILE,
        PhoneNumberType.FIXED_LINE_OR_MOBILE,
        PhoneNumberType.TOLL_FREE,
        PhoneNumberType.VOIP,
    }
)

# What phonenumbers 9.0 takes for an ordinary line, by the digits behind the country code. North America's
# special exchange codes: ATIS-0300051, Central Office Code (NXX) Assignment Guidelines; its 555 lines: INC's
# 555 NXX Assignment Guidelines; 600 and 622: Canadian Non-Geographic Code Assignment Guideline (CNA).
_CHARGED: Final = {
    "1": re.compile(
        r"...976....|"  # information services, charged by the call
        r"...555(1212|4334)|"  # directory assistance, and a line for national use; 555-01XX is nobody's
        r"...[2-9]11....|"  # 411 and the like behind an area code
        r"...95[089]....|"  # carriers' access codes and test lines
        r"6(00|22)......."  # satellites and specialised carriers
    )
}
_TOLL_FREE: Final = frozenset({PhoneNumberType.TOLL_FREE})

_SEPARATORS: Final = str.maketrans("", "", "+-._~!*")
_SHORTEST: Final = 7
"""Fewer digits are an extension."""
_PREFIXES: Final = ("", "00", "011")


def is_chargeable(number: str) -> bool:
    """Whether calling a parsed number may cost more than an ordinary call.

    Only fixed lines, mobiles, toll-free and VoIP numbers of a country are ordinary: premium rate, shared
    cost, personal, pager, corporate (UAN) and satellite numbers are not, and neither are North America's
    numbers for information.
    """
    if region_of(number) == NON_GEOGRAPHIC_REGION:
        return True  # satellite +881 comes back as MOBILE (phonenumbers 9.0)
    parsed = phonenumbers.parse("+" + number)
    kind = phonenumbers.number_type(parsed)
    if kind not in _ORDINARY:
        return True
    charged = _CHARGED.get(str(parsed.country_code))
    return (
        kind not in _TOLL_FREE
        and charged is not None
        and charged.fullmatch(str(parsed.national_number)) is not None
    )


def is_emergency(user: str, regions: Iterable[str]) -> bool:
    """Whether a gateway in one of the regions may dial a SIP user as an emergency number."""
    digits = user.translate(_SEPARATORS)
    return digits.isdecimal() and any(phonenumbers.is_emergency_number(digits, region) for region in regions)


def find_dialled(user: str, regions: Iterable[str]) -> list[str] | None:
    """Return every number that a gateway may dial for a SIP user; None where the user is no number.

    Seven digits or more, whatever stands between them, are a number. Without a plus it may be a whole one,
    one behind the prefix for calls abroad, or one of the gateway's own country.

    Args:
        user: The user of a parsed SIP URI.
        regions: Where gateways are.
    """
    digits = user.translate(_SEPARATORS)
    if not digits.isdecimal() or len(digits) < _SHORTEST:
        return None
    return list(dict.fromkeys(_read(user, digits, regions)))


def _read(user: str, digits: str, regions: Iterable[str]) -> Iterator[str]:
    prefixes = [prefix for prefix in _PREFIXES if digits.startswith(prefix)]
    readings: list[tuple[str, str | None]] = [
        (f"+{digits.removeprefix(prefix)}", None) for prefix in prefixes
    ]
    if not user.startswith("+"):
        readings += [(digits, region) for region in sorted(regions)]
    for text, region in readings:
        try:
            number = phonenumbers.parse(text, region)
        except phonenumbers.NumberParseException:
            continue
        if phonenumbers.is_valid_number(number):
            yield f"{number.country_code}{phonenumbers.national_significant_number(number)}"
