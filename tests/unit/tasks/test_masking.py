"""Free text keeps no full number, whatever stands between its digits and however they are written."""

import ast
import json
import re
import unicodedata
import urllib.parse
import uuid
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from transfer_tasks.masking import digit_of, holds_number, keep_visible, mask_text

UUID = "6f1c1f0e-5b0a-4d4e-9a51-0c9d6a3c2b11"


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("call +1 (202) 555-0143 now", "call +1*******43 now"),
        ("12025550143", "+1*******43"),
        ("2025550143", "*******43"),
        ("x12025550143y", "x+1*******43y"),
        ("0012025550143", "+1*******43"),
        ("sip:alice@example.com:5060", "sip:***@example.com:5060"),
        ("to sip:alice:secret@example.com;lr", "to sip:***@example.com;lr"),
        ("sip:a@12025550143", "sip:***@***"),
        ("sip:desk@192.0.2.111", "sip:***@192.0.2.111"),
        (f"call {UUID}", f"call {UUID}"),
        (f"12025550143 {UUID}", f"+1*******43 {UUID}"),
        (f"{UUID},{UUID}", f"{UUID},{UUID}"),
        ("a" * 32 + "1234567", "a" * 32 + "*******67"),
        ("d41d8cd98f00b204e9800998ecf8427e", "d41d8cd98f00b204e*******98ecf8427e"),  # no digest is spared
        ("98765, 43210", "*******10"),
        ("98765&nbsp;43210", "*******10"),
        (r"98765\u202f43210 and \\u0669876543", "*******10 and *******43"),
        ("9876%20543%C2%A0210", "*******10"),
        ("&#57;&#56;&#55;&#54;&#53;&#52;&#51;", "*******43"),
        ("\u2460\u2461\u2462\u2463\u2464\u2465\u2466", "*******67"),
        ("98 76 54", "98 76 54"),
        ("98765    43210", "98765    43210"),  # four in between: two figures
        ("98765 or 43210", "98765 or 43210"),
        ("192.0.2.111:6379", "+1*******79"),
        ("2026-01-31T12:00:00.1234567Z", "2026-01-31T12:00:00.*******67Z"),
        ("+0000000", "*******"),
        ("2026-01-31T12:00:00.123Z", "2026-01-31T12:00:00.123Z"),
        ("status 503 after 12 ms, attempt 2", "status 503 after 12 ms, attempt 2"),
        ("127.0.0.1:6379", "127.0.0.1:6379"),
        ("", ""),
    ],
)
def test_free_text_loses_its_numbers_and_sip_users_and_keeps_the_rest(text, masked):
    assert mask_text(text) == masked


SPELLINGS = ["{}", "+{}", "00{}", "tel:+{}", "<{}>", "a{}", '"{}"', "={}&", "{}\n", "sip:{}@example.com"]


@given(
    number=st.from_regex(r"1202555[0-9]{4}", fullmatch=True),
    spelling=st.sampled_from(SPELLINGS),
    before=st.text(max_size=20),
    after=st.text(max_size=20),
    separator=st.sampled_from(["", " ", "-", ".", ") ", " - "]),
)
def test_no_full_number_survives_in_any_surroundings(number, spelling, before, after, separator):
    spelt = separator.join((number[0], number[1:4], number[4:7], number[7:]))
    masked = mask_text(f"{before} {spelling.format(spelt)} {after}")
    assert spelt not in masked
    assert number not in masked
    assert number[1:9] not in "".join(character for character in masked if character.isdigit())


def digits_of(text: str) -> str:
    return "".join(map(digit_of, text))


# What people, and programs, put between the digits of a number.
USUAL = [
    *" ,;:_'[]/.|~*#&%\t\n\\",
    *"\u00b7\u2026\u2019\u00a0\u202f\u2009\u200b\u00ad\u2060\u20e3",
    *(", ", ") ", " (", " - ", "\r\n"),
]
# Without the C1 controls: HTML reads their codes as letters of Windows.
SEPARATORS = st.sampled_from(USUAL) | st.text(
    st.characters(
        categories=("P", "S", "Z", "M", "Cc", "Cf"), exclude_characters="".join(map(chr, range(0x80, 0xA0)))
    ),
    max_size=3,
)
ZEROES = [chr(code) for code in range(0x11000) if unicodedata.category(chr(code)) == "Nd"][::10]
"""The zero of each script; its nine other digits follow."""
CODES = {
    "plain": str,
    "JSON": lambda text: json.dumps(text)[1:-1],
    "JSON in JSON": lambda text: json.dumps(json.dumps(text))[3:-3],
    "Python": ascii,
    "HTML": lambda text: "".join(c if c.isascii() and c.isalnum() else f"&#{ord(c)};" for c in text),
    "HTML, hexadecimal": lambda text: "".join(f"&#x{ord(c):x};" for c in text),
    "a URL": lambda text: urllib.parse.quote(text, safe=""),
    "a URL, all of it": lambda text: "".join(f"%{byte:02X}" for byte in text.encode()),
}
READ_BACK = {
    "JSON": lambda text: json.loads(f'"{text}"'),
    "JSON in JSON": lambda text: READ_BACK["JSON"](READ_BACK["JSON"](text)),
    "Python": lambda text: ast.literal_eval(text.removeprefix("call ")),
    "HTML": lambda text: re.sub(r"&#(\d+);", lambda found: chr(int(found[1])), text),
    "HTML, hexadecimal": lambda text: re.sub(r"&#x([0-9a-f]+);", lambda found: chr(int(found[1], 16)), text),
    "a URL": urllib.parse.unquote,
    "a URL, all of it": urllib.parse.unquote,
}


@given(
    number=st.from_regex(r"[1-9][0-9]{6,14}", fullmatch=True),
    zero=st.sampled_from(ZEROES),
    separators=st.lists(SEPARATORS, min_size=15, max_size=15),
    code=st.sampled_from(sorted(CODES)),
)
def test_no_number_survives_whatever_stands_between_its_digits(number, zero, separators, code):
    spelt = "".join(
        chr(ord(zero) + int(digit)) + between for digit, between in zip(number, separators, strict=False)
    )
    masked = mask_text(f"call {CODES[code](spelt)}")
    left = READ_BACK.get(code, str)(masked)
    assert number not in digits_of(left)
    assert holds_number(CODES[code](spelt))


@given(st.text() | st.from_regex(r"[0-9+ ().:\-%&;#\\ux]{0,40}", fullmatch=True))
def test_masked_text_is_masked_and_stays_as_it_is(text):
    masked = mask_text(text)
    assert mask_text(masked) == masked


@given(st.uuids(), st.datetimes(timezones=st.just(UTC)), st.integers(1, 999))
def test_what_we_write_ourselves_stays(identifier: uuid.UUID, moment: datetime, hop: int):
    for timespec in ("seconds", "milliseconds", "microseconds"):
        at = moment.isoformat(timespec=timespec)
        text = f"{identifier}:{hop} at {at}, {at.removesuffix('+00:00')}Z"
        assert mask_text(text) == text
    assert mask_text(str(identifier)) == str(identifier)


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_what_is_visible_stays_as_it_is_when_it_is_read_again(text):
    seen = keep_visible(text)
    assert keep_visible(seen) == seen
    hidden = {char for char in seen if unicodedata.category(char) in {"Cc", "Zl", "Zp"}}
    assert not hidden
    assert not re.search("[\u200b\u200e\u200f\u202a-\u202e\u2066-\u2069\ufeff\U000e0000-\U000e0fff]", seen)


def test_a_joiner_is_seen_between_two_characters_of_its_script_only():
    assert keep_visible("\u0645\u06cc\u200c\u062e") == "\u0645\u06cc\u200c\u062e"
    for stray in (
        "a\u200db",
        "\u00e9\u200d\u00a0",
        "\u200d\u00a0\u00e9",
        "\u00e9\u00a0\u200c\u00a0x",
        "\u00e9\u200d",
    ):
        assert not {"\u200c", "\u200d"} & set(keep_visible(stray)), ascii(stray)
