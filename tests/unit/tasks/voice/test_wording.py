"""The sentences: by language, by call, with names of destinations in them; mistakes in them end the start."""

from __future__ import annotations

import tomllib

import pytest

from support.calling import CHOICES, OK, Caller, client_of, new_call_id, on_fake_time
from transfer_tasks.errors import SettingsError
from transfer_tasks.outcome import GUIDE, Reason, State
from transfer_tasks.testing import RecordingPublisher, ending
from transfer_tasks.voice import SessionReason, TransferClient, VoiceSettings, Wording
from transfer_tasks.voice.wording.wording import FOLDER

LANGUAGES = sorted(path.stem for path in FOLDER.glob("*.toml"))


def problems_of(error: pytest.ExceptionInfo[SettingsError]) -> str:
    return str(error.value)


def test_english_says_of_every_ending_what_the_guide_has_engineers_read():
    for reason, guide in GUIDE.items():
        if guide.state is not State.UNKNOWN:
            assert Wording().phrase(reason).say == guide.say, reason


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_language_speaks_where_english_does_and_is_complete(language):
    tables = {name: tomllib.loads((FOLDER / f"{name}.toml").read_text("utf-8")) for name in ("en", language)}
    assert tables[language].keys() == tables["en"].keys()
    assert tables[language]["say"].keys() == tables["en"]["say"].keys()
    own, english = Wording.for_language(language), Wording()
    for reason in (*Reason, *SessionReason):
        assert own.phrase(reason).speaks is english.phrase(reason).speaks
    for name in ("holding", "ringing", "unsure"):
        assert len(getattr(own, name)) == len(getattr(english, name)) >= 2
    for sentence in (own.announcement("x"), own.repeat(own.phrase(OK), "x").say):
        assert "x" in sentence


def test_a_language_that_does_not_come_along_says_what_to_do():
    with pytest.raises(SettingsError, match=r"only for en, hi.*from_file"):
        Wording.for_language("de")


def test_a_file_of_the_teams_own_is_read_over_english(tmp_path):
    path = tmp_path / "de.toml"
    path.write_text(
        'announcement = "Ich verbinde Sie mit {destination}."\n'
        '[say]\nfailed = "Das hat nicht geklappt."\nqueue_silent = ""\n'
        '[destinations]\nsupport = "der Technik"\n',
        encoding="utf-8",
    )
    wording = Wording.from_file(path)
    assert wording.announcement("support") == "Ich verbinde Sie mit der Technik."
    assert wording.phrase(Reason.RATE_LIMITED).say == "Das hat nicht geklappt."
    assert not wording.phrase(SessionReason.QUEUE_SILENT).speaks
    assert wording.phrase(Reason.REFUSED_BY_PLATFORM).say == GUIDE[Reason.REFUSED_BY_PLATFORM].say


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('anouncement = "x"', r"no 'anouncement'\. Did you mean 'announcement'"),
        ('[say]\nrate_limit = "x"', r"say has no 'rate_limit'\. Did you mean 'rate_limited'"),
        ('[notes]\nfailed = "x"', "notes has no 'failed'"),
        ('repeat = "{name} again"', r"repeat holds braces; only \{destination\}"),
        ('holding = "x"', "holding is no list"),
        ("holding = [1]", r"holding\[0\] is no text"),
        ("[say]\nfailed = 7", "say.failed is no text"),
        ('say = "x"', "say is no table"),
        ("[", "can't be read"),
    ],
)
def test_every_mistake_in_a_file_is_named(tmp_path, text, said):
    path = tmp_path / "own.toml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(SettingsError, match=said) as error:
        Wording.from_file(path)
    assert str(path) in problems_of(error)


def test_a_misspelt_reason_in_code_and_a_file_that_is_not_there_are_refused(tmp_path):
    with pytest.raises(SettingsError, match="Did you mean 'rate_limited'"):
        Wording(say={"rate_limitted": "x"})
    with pytest.raises(SettingsError, match="can't be read"):
        Wording.from_file(tmp_path / "nowhere.toml")


def test_a_destination_that_is_named_and_not_on_offer_ends_the_start():
    wording = Wording(destinations={"suport": "technical support"})
    with pytest.raises(SettingsError, match=r"'suport' that is not on offer\. Did you mean 'support'"):
        TransferClient(
            RecordingPublisher(),
            choices=CHOICES,
            settings=VoiceSettings(_env_file=None),
            wording=wording,
        )


@on_fake_time
async def test_each_call_has_the_wording_it_was_given():
    hindi = Wording(language="hi", destinations={"support": "तकनीकी सहायता"})
    async with client_of(ending(Reason.RATE_LIMITED), announce="before") as (client, _):
        async with client.session(new_call_id(), wording=hindi) as session:
            caller = Caller()
            await session.transfer("support", say=caller.say)
            assert caller.texts == [
                "मैं अभी आपकी कॉल तकनीकी सहायता से जोड़ रही हूँ, कृपया एक क्षण रुकिए।",
                hindi.phrase(Reason.RATE_LIMITED).say,
            ]
        async with client.session(new_call_id()) as session:
            caller = Caller()
            await session.transfer("billing", say=caller.say)
            assert caller.texts == ["I'm connecting you to billing now, one moment."]


def test_a_name_is_spoken_without_dashes():
    assert Wording().announcement("front-desk_2") == "I'm connecting you to front desk 2 now, one moment."
