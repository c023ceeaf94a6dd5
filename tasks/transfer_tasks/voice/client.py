"""What all voice sessions of a process share: one `TransferClient`, which opens a session for each call."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, Final, Self

from transfer_tasks.publisher import AsyncTransferPublisher
from transfer_tasks.voice.choices import Choice, read_choices, tool_properties
from transfer_tasks.voice.cleanup import SessionCleanup
from transfer_tasks.voice.session import TransferSession
from transfer_tasks.voice.settings import VoiceSettings
from transfer_tasks.voice.wording import Wording

if TYPE_CHECKING:
    from collections.abc import Iterable
    from types import TracebackType

    from transfer_tasks.voice.ports import Publisher

log = logging.getLogger(__name__)

CLOSE_SECONDS: Final = 2.0
"""How long the end of a process waits for sessions to end and requests to be withdrawn."""


class TransferClient:
    """What all sessions of a process share. Use it as an async context manager, or call `close` at the end.

    Args:
        publisher: Carries the requests; by default an `AsyncTransferPublisher` of our own.
        choices: The destinations on offer; by default those of the file in TRANSFER_DESTINATIONS_FILE, or of
            destinations.toml in the working directory.
        settings: Read from the environment when not given.
        wording: What callers hear and models are told.

    Raises:
        SettingsError: The settings are wrong, or no destination is known.
        InvalidIntent: A choice leads nowhere.
    """

    def __init__(
        self,
        publisher: Publisher | None = None,
        *,
        choices: Iterable[Choice] | None = None,
        settings: VoiceSettings | None = None,
        wording: Wording | None = None,
    ) -> None:
        self.settings = settings or VoiceSettings.load()
        self.wording = wording or Wording()
        self.choices = read_choices(choices, destinations_file=self.settings.destinations_file)
        self.wording.check_destinations(list(self.choices))
        log.info(
            "Destinations on offer: %s, from %s",
            ", ".join(self.choices),
            "the choices given" if choices is not None else self.settings.destinations_file,
        )
        self.publisher: Publisher = publisher or AsyncTransferPublisher(self.settings)
        self._cleanup = SessionCleanup()

    def session(self, call_id: str | None, *, wording: Wording | None = None) -> TransferSession:
        """Return the transfers of one call, for ``async with``: leave it when the call's session ends.

        Args:
            call_id: The call, as the platform names it.
            wording: What this caller hears, if it is not the client's: in their language, say.

        Raises:
            RuntimeError: The client is closed.
        """
        if self._cleanup.is_closed:
            raise RuntimeError("This TransferClient is closed. Open one for the life of the process.")
        return TransferSession(
            call_id,
            publisher=self.publisher,
            choices=self.choices,
            settings=self.settings,
            wording=wording or self.wording,
            cleanup=self._cleanup,
        )

    def tool_properties(self) -> dict[str, Any]:
        """Return the JSON Schema of a tool's arguments: ``destination``, by name, and ``reason``."""
        return tool_properties(self.choices)

    async def close(self) -> None:
        """Withdraw what ending sessions have not sent, then close the publisher; see `CLOSE_SECONDS`."""
        await self._cleanup.close(within_seconds=CLOSE_SECONDS)
        await self.publisher.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()
