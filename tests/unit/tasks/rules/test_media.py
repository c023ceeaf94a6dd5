from __future__ import annotations

import pytest

from transfer_tasks.rules.media import MediaRules

RULES = MediaRules.parse("hold.wav, prompts/Night desk.mp3, welcome, Media.Example.com, 8.8.8.8")


@pytest.mark.parametrize(
    "text",
    [
        "hold.wav",
        "prompts/Night desk.mp3",
        "welcome",
        "https://media.example.com",
        "https://MEDIA.example.com/a/b.wav?x=1&y=2#z",
        "https://8.8.8.8/hold.wav",
    ],
)
def test_what_is_named_is_allowed(text: str) -> None:
    assert RULES.find_fault(text) is None


@pytest.mark.parametrize(
    "text",
    ["HOLD.WAV", "hold.wav ", "./hold.wav", "../hold.wav", "../../x", "/hold.wav", "prompts/../hold.wav",
     "hold.wav\u200b", "\uff48old.wav", "media.example.com", "media.example.com/a.wav", "8.8.8.8",
     "welcome.wav"],
)  # fmt: skip
def test_a_file_is_allowed_as_it_is_written(text: str) -> None:
    problem, fix = RULES.find_fault(text) or ("", "")
    assert problem == "is a file that is not allowed"
    assert "TRANSFER_ALLOW_MEDIA" in fix


@pytest.mark.parametrize(
    "text",
    [
        "https://evil.example.com/hold.wav",
        "https://media.example.com.evil.example/x",
        "https://media.example.com@evil.example/x",
        "https://media.example.com:x@evil.example/x",
        "https://evil.example.net#@media.example.com/",
        "https://evil.example.net?@media.example.com/",
        "https://evil.example.net\\@media.example.com/",
        "https:\\\\media.example.com/x",
        "https:/media.example.com/x",
        "https:media.example.com/x",
        "//media.example.com/x",
        "\\\\media.example.com\\x",
        "http://media.example.com/x",
        "ftp://media.example.com/x",
        "https://user:secret@media.example.com/x",
        "https://@media.example.com/x",
        "https://media.example.com:443/x",
        "https://media.example.com:6379/x",
        "https://media.example.com./x",
        "https://media。example。com/x",
        "https://\uff4dedia.example.com/x",
        "https://media.e%78ample.com/x",
        "https://media.example.com\\.evil.example/x",
        "https://media.example.com/x\\y",
        " https://media.example.com/x",
        "https://media.example.com/x y",
        "https://media.example.\u212aom/x",
        "https://8.8.2056/x",
    ],
)
def test_a_url_leads_to_a_host_that_is_named_and_has_one_spelling(text: str) -> None:
    problem, fix = RULES.find_fault(text) or ("", "")
    assert problem == "is a URL that is not allowed"
    assert "TRANSFER_ALLOW_MEDIA" in fix


@pytest.mark.parametrize(
    "text",
    [
        "http://169.254.169.254/latest/meta-data/",
        "http://[::1]:6379/",
        "https://[::ffff:7f00:1]/",
        "http://2130706433/",
        "http://0x7f.1:8900/v3",
        "https://localhost./x",
        "https://media.example.com@127.0.0.1/x",
        "https:\\\\127.0.0.1\\x",
        "//10.0.0.1/x",
        "https://metadata.google.internal/computeMetadata/v1/",
        "file:///etc/passwd",
        "file:/etc/passwd",
        "data:audio/wav;base64,AAAA",
        "gopher://redis:6379/_FLUSHALL",
    ],
)
def test_no_setting_allows_what_is_not_everybodys(text: str) -> None:
    problem, fix = RULES.find_fault(text) or ("", "")
    assert problem.startswith("leads to this machine")
    assert "no setting" in fix


@pytest.mark.parametrize(
    "item",
    ["https://media.example.com", "media.example.com/x", "media.example.com:8443", "*.example.com",
     "../hold.wav", "/hold.wav", "127.0.0.1", "localhost.", "0x7f.1", "169.254.169.254", "[::1]",
     "printer.local", "a@b.example.com", "https://user:hunter2@media.example.com"],
)  # fmt: skip
def test_an_item_that_can_never_be_allowed_is_a_mistake_and_is_not_shown(item: str) -> None:
    with pytest.raises(ValueError, match=r"^item 2 is neither") as refused:
        MediaRules.parse(f"hold.wav, {item}")
    assert "hunter2" not in str(refused.value)
