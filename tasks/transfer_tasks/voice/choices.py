"""The destinations that a model may choose from: names with descriptions, never numbers."""

from __future__ import annotations

import logging
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from transfer_tasks.errors import InvalidIntent, SettingsError
from transfer_tasks.intent import TransferIntent
from transfer_tasks.registry.destinations import DestinationRegistry
from transfer_tasks.registry.ring_time import longest_ring_seconds

if TYPE_CHECKING:
    from pathlib import Path

    from transfer_tasks.registry.destinations import Destination
    from transfer_tasks.voice.settings import VoiceSettings

log = logging.getLogger(__name__)

MAX_REASON_CHARACTERS: Final = 500
MAX_NAME_CHARACTERS: Final = 200
MAX_METADATA_CHARACTERS: Final = 256
"""Of one value, as an intent may hold it."""
_PROBE_CALL_ID: Final = "00000000-0000-4000-8000-000000000000"


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """One destination on offer.

    Attributes:
        name: What the model says.
        description: What the destination is for, in words that a model can choose by.
        to: Whatever a `TransferIntent` takes as destination; None for the entry of this name in the worker's
            registry.
        caller_id: The number that the new leg shows; None leaves it to the worker.
        metadata: What travels to the platform with each transfer there: flat values, as an intent's.
    """

    name: str
    description: str
    to: object = None
    caller_id: str | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)

    def intent(
        self,
        call_id: str | None,
        *,
        reason: object = "",
        expires_in_seconds: float = 15,
        metadata: Mapping[str, Any] | None = None,
    ) -> TransferIntent:
        """Return the request to move a call there; what is given as metadata goes before the choice's own.

        Raises:
            InvalidIntent: The call id or the destination is wrong.
        """
        return TransferIntent(
            call_id=call_id,
            destination=self.name if self.to is None else self.to,
            caller_id=self.caller_id,
            metadata={**self.metadata, **(metadata or {})},
            reason=readable(reason),
            requested_by="voice session",
            expires_in_seconds=expires_in_seconds,
        )


class Choices(Mapping[str, Choice]):
    """What is on offer, by name, and how long each may ring.

    Args:
        offered: The choices.
        registry: The named destinations, as far as this process knows them.

    Raises:
        InvalidIntent: A choice leads nowhere.
    """

    def __init__(self, offered: Iterable[Choice], registry: Mapping[str, Destination]) -> None:
        self._choices = {choice.name: choice for choice in offered}
        # Also pays for the number plans here, at the start: reading them would stall the loop of a live call.
        self._ring_seconds = {
            name: longest_ring_seconds(choice.intent(_PROBE_CALL_ID), registry)
            for name, choice in self._choices.items()
        }

    def find(self, asked: object) -> str | None:
        """Return the name that a model means by what it asked for; None where that is none on offer.

        Case, spaces, dashes and underscores don't matter, nor does a list around one name. Where there is
        only one destination, a model that names none means that.
        """
        if isinstance(asked, list | tuple) and len(asked) == 1:
            asked = asked[0]
        if asked is None or asked == "" or (isinstance(asked, list | tuple) and not asked):
            return next(iter(self._choices)) if len(self._choices) == 1 else None
        if not isinstance(asked, str) or len(asked) > MAX_NAME_CHARACTERS:
            return None
        if asked in self._choices:
            return asked
        alike = [name for name in self._choices if _plain(name) == _plain(asked)]
        return alike[0] if len(alike) == 1 else None

    def build_intent(
        self,
        name: str,
        call_id: str | None,
        *,
        reason: object,
        metadata: Mapping[str, Any] | None,
        settings: VoiceSettings,
    ) -> TransferIntent:
        """Return the request to move a live call.

        Metadata that can't be handed over is left out, and the log says why: there is a caller on the line.

        Raises:
            InvalidIntent: The call id is wrong.
        """
        said = readable(reason, MAX_METADATA_CHARACTERS) if settings.hand_over_reason else ""
        handed_over = {**({"reason": said} if said else {}), **(metadata or {})}
        build = partial(
            self[name].intent, call_id, reason=reason, expires_in_seconds=settings.expires_in_seconds
        )
        try:
            return build(metadata=handed_over)
        except InvalidIntent as error:
            if not error.field.startswith("metadata"):
                raise
            log.error("The metadata of call %s is not handed over: %s", call_id, error)  # noqa: TRY400 - it is all said
            return build()

    def describe(self) -> dict[str, str]:
        """Return what is on offer, for a model to choose from."""
        return {choice.name: choice.description for choice in self.values()}

    def longest_ring_seconds(self, name: str) -> float | None:
        """Return how long a request to this destination may ring; None where that can't be known."""
        return self._ring_seconds[name]

    def __getitem__(self, name: str) -> Choice:
        return self._choices[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._choices)

    def __len__(self) -> int:
        return len(self._choices)


def read_choices(offered: Iterable[Choice] | None, *, destinations_file: Path | None) -> Choices:
    """Return what is on offer, by name: what is given, else the registry in the file.

    Raises:
        SettingsError: There is nothing on offer, or the same name twice, or one that the registry does not
            know; or the file holds mistakes.
        InvalidIntent: A choice leads nowhere.
    """
    registry: Mapping[str, Destination] = {}
    if destinations_file:
        registry = DestinationRegistry.load(destinations_file)
    if offered is None:
        offered = [Choice(name=entry.name, description=entry.description) for entry in registry.values()]
    offered = list(offered)
    if problems := [*_find_problems(offered, registry)]:
        raise SettingsError(problems)
    choices = Choices(offered, registry)
    if not choices:
        raise SettingsError(
            ["No destination is known: give choices, a destinations.toml, or TRANSFER_DESTINATIONS_FILE."]
        )
    return choices


def _find_problems(offered: Iterable[Choice], registry: Mapping[str, Destination]) -> Iterator[str]:
    for name, count in Counter(choice.name for choice in offered).items():
        if count > 1:
            yield f"The destination {name!r} is offered {count} times."
    for choice in offered:
        if choice.to is None and registry and choice.name not in registry:
            yield (
                f"The destination {choice.name!r} is not in the registry, and the choice does not say where "
                f"it leads. The registry has {', '.join(registry)}."
            )


def readable(reason: object, max_characters: int = MAX_REASON_CHARACTERS) -> str:
    """Return a model's reason as an intent may hold it, whatever the model wrote."""
    text = "" if reason is None else str(reason)
    # Half a surrogate pair is no text: neither Redis nor a log takes it.
    return text[:max_characters].encode("utf-8", "ignore").decode("utf-8")


def _plain(name: str) -> str:
    return re.sub(r"[\s_-]+", "-", name.strip().casefold())


def tool_properties(choices: Choices) -> dict[str, Any]:
    """Return the JSON Schema of a tool's arguments: ``destination``, by name, and ``reason``."""
    listed = "; ".join(f"{choice.name}: {choice.description}" for choice in choices.values())
    return {
        "destination": {"type": "string", "enum": list(choices), "description": f"Where to. {listed}"},
        "reason": {
            "type": "string",
            "description": "What the caller wants, in one sentence, for whoever takes over.",
        },
    }
