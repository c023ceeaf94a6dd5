"""What a voice process reads from the environment: the publisher's settings, and how long a caller waits."""

from __future__ import annotations

from typing import Self

from pydantic import Field

from transfer_tasks.settings import PublisherSettings, load_settings


class VoiceSettings(PublisherSettings):
    """The publisher's settings, and a session's.

    Attributes:
        expires_in_seconds: How long after the request nobody may send any more.
        holding_after_seconds: How long the caller waits in silence before the first holding line.
        holding_every_seconds: How long between further holding lines, where the wording has any.
        witness: Whether a session is evidence of what became of a transfer whose answer was lost: if the
            session is still in the call after the grace time, it was not carried out; if the session ended,
            it was. Off: such a transfer stays unknown until somebody settles it.
        witness_grace_seconds: How long a session must outlive a lost answer to count.
        witness_retry: Whether a transfer that provably was not carried out is asked for once more by itself.
    """

    expires_in_seconds: float = Field(default=15, ge=1, le=300, allow_inf_nan=False)
    holding_after_seconds: float = Field(default=1.5, ge=0, le=60, allow_inf_nan=False)
    holding_every_seconds: float = Field(default=8, ge=1, le=60, allow_inf_nan=False)
    witness: bool = True
    witness_grace_seconds: float = Field(default=6, ge=0, le=60, allow_inf_nan=False)
    witness_retry: bool = True

    @classmethod
    def load(cls) -> Self:
        """Read the settings from the environment; see `load_settings`."""
        return load_settings(cls)
