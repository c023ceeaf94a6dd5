"""The sentences and notes of a language, or of a team: read from a file, changed in code, checked at once."""

from __future__ import annotations

import difflib
import re
import tomllib
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal, Self

from transfer_tasks.connection import ConnectionReason, ConnectionStatus
from transfer_tasks.errors import SettingsError
from transfer_tasks.outcome import Reason, State
from transfer_tasks.voice.wording.phrases import REPEAT_NOTE, SessionReason, default_phrase

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from transfer_tasks.voice.wording.phrases import AnyReason, Phrase

FOLDER: Final = Path(__file__).parent
DEFAULT_LANGUAGE: Final = "en"

_SENTENCES: Final = ("announcement", "called_off", "repeat")
_LISTS: Final = ("holding", "ringing", "unsure")
_TABLES: Final = ("say", "connection", "notes", "destinations")
_REASONS: Final = {str(reason) for kind in (Reason, SessionReason) for reason in kind}
_CONNECTION_KEYS: Final = {str(reason) for reason in ConnectionReason} | {ConnectionStatus.NOT_CONNECTED}
_SLOT: Final = "{destination}"


class Wording:
    """What callers hear and models are told: the sentences of a language, and what replaces them.

    Args:
        language: Whose sentences they are: one of the files beside this module, ``en`` or ``hi``.
        say: Sentences for the caller, by reason or by state; None or ``""`` where nothing should be said.
        connection: Sentences for a caller whom nobody was connected with, by reason; ``not_connected`` where
            there is none.
        notes: Notes for the model, by reason.
        destinations: How a destination is called in a sentence, by its name.
        announcement: Said before anything is asked for; ``""`` for nothing.
        called_off: Said to who has changed their mind in time.
        repeat: Said to who asks for the same again.
        holding: Said in turn into a silence while nothing is known.
        ringing: Said in turn into a silence while the target may be ringing.
        unsure: Said in turn into a silence while the outcome can't be known.

    Attributes:
        holding: As given, and so are `ringing` and `unsure`.

    ``{destination}`` in a sentence stands for the destination's name.

    Raises:
        SettingsError: There is no such language, or a key is misspelt; every mistake is listed.
    """

    def __init__(
        self,
        *,
        language: str = DEFAULT_LANGUAGE,
        say: Mapping[AnyReason | State, str | None] | None = None,
        connection: Mapping[ConnectionReason | Literal["not_connected"], str | None] | None = None,
        notes: Mapping[AnyReason, str] | None = None,
        destinations: Mapping[str, str] | None = None,
        announcement: str | None = None,
        called_off: str | None = None,
        repeat: str | None = None,
        holding: Sequence[str] | None = None,
        ringing: Sequence[str] | None = None,
        unsure: Sequence[str] | None = None,
    ) -> None:
        given: dict[str, object] = {"announcement": announcement, "called_off": called_off, "repeat": repeat}
        given |= {"holding": holding, "ringing": ringing, "unsure": unsure}
        tables: dict[str, Mapping[Any, str | None] | None] = {"say": say, "connection": connection}
        tables |= {"notes": notes, "destinations": destinations}
        own: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
        own |= {
            name: {str(key): text or "" for key, text in (of or {}).items()} for name, of in tables.items()
        }
        self._fill(own, [_read_language(language)], origin="the wording")

    @classmethod
    def for_language(cls, language: str) -> Self:
        """Return the sentences of a language that comes along: ``en`` or ``hi``.

        Raises:
            SettingsError: There is no such language.
        """
        return cls(language=language)

    @classmethod
    def from_file(cls, path: Path | str) -> Self:
        """Return the sentences of a file of the team's own, written as ``en.toml`` beside this module.

        Raises:
            SettingsError: The file can't be read, or a key in it is misspelt; every mistake is listed.
        """
        wording = cls()
        wording._fill(_read(Path(path)), [_read_language(DEFAULT_LANGUAGE)], origin=str(path))
        return wording

    def phrase(self, reason: AnyReason, destination: str = "") -> Phrase:
        """Return what is said and done about a reason."""
        default = default_phrase(reason)
        say = self._tables["say"].get(reason, self._tables["say"].get(default.state, ""))
        return replace(
            default,
            say=self._name_destination(say, destination) or None,
            note=self._tables["notes"].get(reason, default.note),
        )

    def announcement(self, destination: str) -> str:
        """Return what is said before a request goes out; empty for nothing."""
        return self._name_destination(self._announcement, destination)

    def not_connected(self, reason: ConnectionReason | None, destination: str) -> str:
        """Return what is said when nobody was connected, and the caller is still there; empty for nothing."""
        sentences = self._tables["connection"]
        sentence = sentences.get(str(reason)) if reason else None
        if sentence is None:
            sentence = sentences[ConnectionStatus.NOT_CONNECTED]
        return self._name_destination(sentence, destination)

    def called_off(self, phrase: Phrase, destination: str) -> Phrase:
        """Return what is said to who has changed their mind in time."""
        return replace(phrase, say=self._name_destination(self._called_off, destination) or None)

    def repeat(self, phrase: Phrase, destination: str) -> Phrase:
        """Return what is said to who asks for the same again, when the platform has accepted it."""
        sentence = self._name_destination(self._repeat, destination)
        return replace(phrase, say=sentence or None, note=REPEAT_NOTE)

    def check_destinations(self, known: Sequence[str]) -> None:
        """Refuse names of destinations that are not on offer.

        Raises:
            SettingsError: One of them is not.
        """
        problems = [
            f"The wording names a destination {name!r} that is not on offer.{_suggest(name, known)}"
            for name in self._tables["destinations"]
            if name not in known
        ]
        if problems:
            raise SettingsError(problems)

    def _fill(self, own: Mapping[str, Any], defaults: Sequence[Mapping[str, Any]], *, origin: str) -> None:
        if problems := [f"{origin}: {problem}" for problem in _find_problems(own)]:
            raise SettingsError(problems)
        layers = [*defaults, own]
        merged = {name: value for layer in layers for name, value in layer.items()}
        self._announcement, self._called_off, self._repeat = (str(merged[name]) for name in _SENTENCES)
        self.holding, self.ringing, self.unsure = (tuple[str, ...](merged[name]) for name in _LISTS)
        self._tables: dict[str, dict[str, str]] = {
            name: {key: text for layer in layers for key, text in layer.get(name, {}).items()}
            for name in _TABLES
        }

    def _name_destination(self, sentence: str, name: str) -> str:
        spoken = self._tables["destinations"].get(name) or re.sub(r"[-_]+", " ", name)
        return sentence.replace(_SLOT, spoken)


def _read(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise SettingsError([f"{path}: can't be read: {error}"]) from error


@lru_cache
def _read_language(language: str) -> dict[str, Any]:
    languages = sorted(path.stem for path in FOLDER.glob("*.toml"))
    if language not in languages:
        problem = f"No wording comes along for {language!r}, only for {', '.join(languages)}."
        raise SettingsError([f"{problem} Copy {FOLDER / 'en.toml'} and load yours with Wording.from_file."])
    return _read(FOLDER / f"{language}.toml")


def _find_problems(tables: Mapping[str, Any]) -> list[str]:
    known = (*_SENTENCES, *_LISTS, *_TABLES)
    problems = [f"there is no {name!r}.{_suggest(name, known)}" for name in tables if name not in known]
    keys = {
        "say": _REASONS | {str(state) for state in State},
        "connection": _CONNECTION_KEYS,
        "notes": _REASONS,
    }
    texts: list[tuple[str, object]] = [(name, tables[name]) for name in _SENTENCES if name in tables]
    for name in _LISTS:
        lines = tables.get(name, ())
        if isinstance(lines, list | tuple):
            texts += [(f"{name}[{number}]", line) for number, line in enumerate(lines)]
        else:
            problems.append(f"{name} is no list of sentences.")
    for name in _TABLES:
        table = tables.get(name, {})
        if not isinstance(table, dict):
            problems.append(f"{name} is no table.")
            continue
        texts += [(f"{name}.{key}", text) for key, text in table.items()]
        problems += [
            f"{name} has no {key!r}.{_suggest(key, keys[name])}"
            for key in table
            if name in keys and key not in keys[name]
        ]
    for where, text in texts:
        if not isinstance(text, str):
            problems.append(f"{where} is no text.")
        elif not where.startswith("notes.") and re.search(r"[{}]", text.replace(_SLOT, "")):
            problems.append(f"{where} holds braces; only {_SLOT} is replaced.")
    return problems


def _suggest(name: str, known: Sequence[str] | set[str]) -> str:
    close = difflib.get_close_matches(name, sorted(known), n=1)
    return f" Did you mean {close[0]!r}?" if close else ""
