from __future__ import annotations

import hashlib
import hmac

import pytest
from hypothesis import given
from hypothesis import strategies as st

from transfer_tasks.signature import (
    Key,
    SignatureInvalid,
    Written,
    WrongKey,
    parse_audit_keys,
    parse_signing_key,
    parse_verify_keys,
    verify,
)

SECRET, OTHER = "s" * 32, "o" * 32
VOICE, CRM = Key("voice", SECRET), Key("crm", OTHER, frozenset({"billing", "support"}))


def test_a_signature_is_what_any_language_computes():
    written = VOICE.sign('{"a":"é"}')
    digest = hmac.new(SECRET.encode(), '{"a":"é"}'.encode(), hashlib.sha256).hexdigest()
    assert written == Written('{"a":"é"}', f"voice:{digest}")


@given(st.text())
def test_whatever_was_signed_is_verified_under_its_keys_name(text):
    keys = parse_verify_keys(f"voice:{SECRET},crm:{OTHER}[support]")
    assert verify(VOICE.sign(text), keys).id == "voice"
    assert verify(CRM.sign(text), keys).names == {"support"}


@given(st.text(min_size=1), st.data())
def test_any_changed_byte_of_text_or_signature_is_refused(text, data):
    written = VOICE.sign(text)
    part = data.draw(st.sampled_from(["text", "signature"]))
    before = getattr(written, part).encode(errors="surrogatepass")
    at = data.draw(st.integers(0, len(before) - 1))
    byte = data.draw(st.integers(0, 255).filter(lambda byte: byte != before[at]))
    after = (before[:at] + bytes([byte]) + before[at + 1 :]).decode(errors="surrogateescape")
    with pytest.raises(SignatureInvalid):
        verify(written._replace(**{part: after}), {"voice": VOICE, "crm": CRM})


@pytest.mark.parametrize("signature", ["", "voice", "voice:", ":", "nobody:00", "voice:é", f"crm:{'0' * 64}"])
def test_what_is_no_signature_is_refused(signature):
    with pytest.raises(SignatureInvalid):
        verify(Written("{}", signature), {"voice": VOICE, "crm": CRM})


def test_a_signature_under_another_keys_name_is_refused():
    written = VOICE.sign("{}")
    with pytest.raises(SignatureInvalid):
        verify(written._replace(signature=written.signature.replace("voice", "crm")), {"crm": CRM})


def test_old_and_new_keys_stand_side_by_side():
    keys = parse_verify_keys(f" voice-1:{SECRET}, voice-2:{OTHER}[support, billing] ,")
    assert keys == {
        "voice-1": Key("voice-1", SECRET),
        "voice-2": Key("voice-2", OTHER, frozenset({"support", "billing"})),
    }


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "write it like"),
        (" ", "write it like"),
        (",", "write it like"),
        ("voice", "write it like"),
        (f"voice:{SECRET} crm:{OTHER}", "write it like"),
        (f"voice:{SECRET}[support", "write it like"),
        ("voice:short", "shorter than 32"),
        (f"voice:{SECRET},voice:{OTHER}", "there twice"),
        (f"voice:{SECRET},crm:{SECRET}", "another key's secret"),
        (f"voice:{SECRET}[]", "no destination's name"),
        (f"voice:{SECRET}[+12025550100]", "no destination's name"),
        (f"a12025550100:{SECRET}", "digits"),
    ],
)
def test_keys_that_cannot_be_used_are_refused_without_showing_a_secret(text, says):
    with pytest.raises(WrongKey, match=says) as caught:
        parse_verify_keys(text)
    assert SECRET not in str(caught.value)
    assert OTHER not in str(caught.value)


@pytest.mark.parametrize("text", ["", "voice", f"voice:{SECRET}[support]", f"voice:{SECRET},crm:{OTHER}"])
def test_a_publisher_signs_with_one_key_that_is_bound_to_nothing(text):
    with pytest.raises(WrongKey):
        parse_signing_key(text)


def test_the_first_of_several_audit_keys_is_the_one_that_seals():
    keys = parse_audit_keys(f"audit-2:{SECRET}, audit-1:{OTHER}")
    assert list(keys.values()) == [Key("audit-2", SECRET), Key("audit-1", OTHER)]


@pytest.mark.parametrize("text", ["", "audit-1", f"audit-1:{SECRET}[support]", "audit-1:short"])
def test_what_is_no_audit_key_is_refused(text):
    with pytest.raises(WrongKey):
        parse_audit_keys(text)


def test_a_key_shows_no_secret():
    assert SECRET not in repr(parse_signing_key(f"voice:{SECRET}"))
