"""Phone numbers and SIP URIs: read, normalise, mask."""

import phonenumbers
import pytest
from hypothesis import given
from hypothesis import strategies as st

from transfer_tasks.addresses import (
    AddressError,
    mask_number,
    mask_sip_uri,
    parse_number,
    parse_sip_uri,
    region_of,
    sip_host,
    write_number,
)

UUID = "6f1c1f0e-5b0a-4d4e-9a51-0c9d6a3c2b11"


@pytest.mark.parametrize(
    "text",
    [
        "+1 (202) 555-0143",
        "+12025550143",
        "12025550143",
        "1-202-555-0143",
        "1 (202) 555 0143",
        "0012025550143",
        "00 1 202 555 0143",
        "+1.202.555.0143",
        "+1\u2011202\u2011555\u20110143",
        "+1\u00a0202\u00a0555\u00a00143",
        "\uff0b\uff11\uff12\uff10\uff12\uff15\uff15\uff15\uff10\uff11\uff14\uff13",  # full-width
        "(+1) 202-555-0143",
        " +1 202 555 0143 ",
        "001 202 555 0143",
        "tel:+1-202-555-0143",
        "TEL:+1(202)555.0143",
    ],
)
def test_any_human_spelling_with_a_country_code_is_read(text):
    assert parse_number(text) == "12025550143"


def test_a_national_trunk_zero_is_dropped_where_the_country_drops_it():
    assert parse_number("+44 (0)20 7946 0958") == "442079460958"


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("(435) 555-0143", "number_country_code"),  # Utah to its writer, Austria (+43) to a parser
        ("202-555-0143", "number_country_code"),
        ("4355550143", "number_country_code"),
        ("4512345678", "number_country_code"),  # Denmark, or nobody knows
        ("45 12 34 56 78", "number_country_code"),
        ("001 65 9486 8436", "number_country_code"),  # Singapore from Korea, Alabama (+1 659) to a parser
        ("001 6594868436", "number_country_code"),
        ("0016594868436", "number_country_code"),
        ("0044 2079 460 958", "number_country_code"),  # no grouping of London's
        ("tel:2025550143", "number_country_code"),
        ("tel:12025550143", "number_country_code"),
        ("tel:+12025550143;ext=5", "number_characters"),
        ("tel:tel:+12025550143", "number_characters"),
        ("158 1234 5678", "number_country_code"),  # China to its writer, Quebec (+1 581) to a parser
        ("0202 555 0143", "number_country_code"),
        ("+1 555 0143", "number_invalid"),
        ("+15550001111", "number_invalid"),
        ("+", "number_characters"),
        ("", "number_characters"),
        ("+12025550143\n", "number_characters"),
        ("+1202555\x000143", "number_characters"),
        ("+12025550143 ext. 5", "number_characters"),
        ("+1-800-FLOWERS", "number_characters"),
        ("++12025550143", "number_characters"),
        ("+1" + " " * 100 + "2025550143", "number_characters"),
        ("+98 9601", "number_length"),
    ],
)
def test_what_is_not_plainly_one_whole_number_is_refused(text, code):
    with pytest.raises(AddressError) as refused:
        parse_number(text)
    assert refused.value.code == code
    assert refused.value.problem
    assert refused.value.fix


def test_reading_a_number_again_changes_nothing_in_any_country():
    for region in phonenumbers.SUPPORTED_REGIONS:
        example = phonenumbers.example_number(region)
        number = parse_number(
            phonenumbers.format_number(example, phonenumbers.PhoneNumberFormat.INTERNATIONAL)
        )
        assert parse_number("+" + number) == number


@given(st.from_regex(r"[0-9][0-9 ().\-]{0,20}", fullmatch=True))
def test_ten_digits_and_fewer_are_nobodys_number_without_a_plus(text):
    digits = "".join(filter(str.isdigit, text))
    if len(digits) <= 10 and not digits.startswith("00"):
        with pytest.raises(AddressError) as refused:
            parse_number(text)
        assert refused.value.code == "number_country_code"


def test_what_is_written_of_a_number_is_read_as_the_same_in_every_country():
    for region in phonenumbers.SUPPORTED_REGIONS:
        example = phonenumbers.example_number(region)
        number = parse_number(phonenumbers.format_number(example, phonenumbers.PhoneNumberFormat.E164))
        assert parse_number(write_number(number)) == number
        international = phonenumbers.format_number(example, phonenumbers.PhoneNumberFormat.INTERNATIONAL)
        assert parse_number(f"00 {international[1:]}") == number


@given(st.text(max_size=70) | st.from_regex(r"[+]?[0-9 ().\-]{5,25}", fullmatch=True))
def test_a_text_is_a_number_of_7_to_16_digits_or_an_address_error(text):
    try:
        number = parse_number(text)
    except AddressError:
        return
    assert number.isascii()
    assert number.isdigit()
    assert 7 <= len(number) <= 16
    assert number[0] != "0"


@pytest.mark.parametrize(
    ("text", "region"),
    [
        ("+1 202-555-0143", "US"),
        ("+1 876 555 0143", "JM"),  # the same +1: a prefix list is a trap
        ("+44 20 7946 0958", "GB"),
        ("+881 6 1234 5678", "001"),
        ("+800 1234 5678", "001"),
    ],
)
def test_the_region_is_the_countrys_not_the_prefixs(text, region):
    assert region_of(parse_number(text)) == region


def test_a_masked_number_shows_its_country_and_its_last_two_digits_only():
    assert mask_number("12025550143") == "+1*******43"
    assert mask_number("442079460958") == "+44*******58"
    assert mask_number("35312345678") == "+353*******78"


@pytest.mark.parametrize(
    ("text", "normalised"),
    [
        ("sip:Desk@PBX.Example.com", "sip:Desk@pbx.example.com"),
        ("SIPS:a.b-c_d+1@example.com:5061", "sips:a.b-c_d+1@example.com:5061"),
        ("sip:desk@example.com;transport=TLS", "sip:desk@example.com;transport=tls"),
        ("sip:desk@192.0.2.1:5060;transport=udp", "sip:desk@192.0.2.1:5060;transport=udp"),
        ("sip:desk@[2001:DB8::1]:5060", "sip:desk@[2001:db8::1]:5060"),
        ("sip:+12025550143@pbx", "sip:+12025550143@pbx"),
    ],
)
def test_a_sip_uri_is_normalised(text, normalised):
    assert parse_sip_uri(text) == normalised
    assert parse_sip_uri(normalised) == normalised


@pytest.mark.parametrize(
    "text",
    [
        "http://desk@example.com",
        "desk@example.com",
        "sip:example.com",
        "sip:@example.com",
        "sip:desk:secret@example.com",
        "sip:a b@example.com",
        "sip:desk@example.com@evil.example",
        "sip:desk@",
        "sip:desk@-example.com",
        "sip:desk@exa_mple.com",
        "sip:desk@example.com.",
        "sip:desk@300.1.1.1",
        "sip:desk@1.2.3",
        "sip:desk@[::1",
        "sip:desk@[fe80::1%eth0]",
        "sip:desk@exämple.com",
        "sip:desk@example.com:0",
        "sip:desk@example.com:65536",
        "sip:desk@example.com:",
        "sip:desk@example.com?Replaces=1",
        "sip:desk@example.com;maddr=evil.example",
        "sip:desk@example.com;transport=tls;lr",
        "sip:desk@example.com\r\nX: y",
        "sip:desk@example.com\n",
        "sip:desk@example.com;transport=tls\n",
        "sip:desk%0d@example.com",
        "sip:" + "a" * 65 + "@example.com",
        "sip:desk@" + "a." * 300 + "com",
    ],
)
def test_a_sip_uri_outside_the_grammar_is_refused(text):
    with pytest.raises(AddressError):
        parse_sip_uri(text)


@given(
    st.text(max_size=60).map("sip:{}".format)
    | st.from_regex(r"sips?:[^@]+@[a-z0-9.:;=\-\[\]]+", fullmatch=True)
)
def test_an_accepted_sip_uri_is_stable_and_printable(text):
    try:
        uri = parse_sip_uri(text)
    except AddressError:
        return
    assert parse_sip_uri(uri) == uri
    assert uri.isascii()
    assert uri.isprintable()
    assert sip_host(uri) in uri
    assert mask_sip_uri(uri).endswith(f"***@{sip_host(uri)}")


@pytest.mark.parametrize(
    ("uri", "host"),
    [
        ("sip:desk@example.com", "example.com"),
        ("sip:desk@example.com:5061;transport=tls", "example.com"),
        ("sip:desk@[2001:db8::1]:5060", "[2001:db8::1]"),
    ],
)
def test_the_host_comes_without_its_port(uri, host):
    assert sip_host(uri) == host
    assert mask_sip_uri(uri) == f"sip:***@{host}"
