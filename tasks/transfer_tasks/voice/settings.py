"""What a voice process reads from the environment: the publisher's settings, and how long a caller waits."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field

from transfer_tasks.settings import PublisherSettings, load_settings


class VoiceSettings(PublisherSettings):
    """The publisher's settings, and a session's.

    Attributes:
        expires_in_seconds: How long after the request nobody may send any more.
        announce: Whether the caller hears what is about to happen before the request goes out, or only what
            became of it after.
        announce_seconds: How long a sentence is taken to last where the framework does not report its end.
        hand_over_reason: Whether the model's reason travels to the platform, as the metadata `reason`.
        holding_after_seconds: How long the caller waits in silence before the first holding line, if nothing
            was said before.
        holding_every_seconds: How long a silence may be after that, until the next line.
        session_evidence: Whether a session is evidence of what became of a transfer whose answer was lost: if
            it ended, the transfer was carried out; if it is still in the call when the request can't be
            ringing any more, and the grace time after that is over, it was not. Off: such a transfer stays
            unknown until somebody settles it.
        session_evidence_grace_seconds: How long after the longest ring time a session must still be in the
            call to count.
        session_evidence_retry: Whether a transfer that was not carried out, by that evidence, is asked for
            once more by itself. Unsafe until it has been confirmed on a live account that the agent stays
            with the caller only while the target rings: it may move a call twice.
    """

    expires_in_seconds: float = Field(default=15, ge=1, le=300, allow_inf_nan=False)
    announce: Literal["before", "after"] = "before"
    announce_seconds: float = Field(default=3, ge=0, le=10, allow_inf_nan=False)
    hand_over_reason: bool = False
    holding_after_seconds: float = Field(default=1.5, ge=0, le=60, allow_inf_nan=False)
    holding_every_seconds: float = Field(default=7, ge=1, le=60, allow_inf_nan=False)
    session_evidence: bool = True
    session_evidence_grace_seconds: float = Field(default=6, ge=0, le=60, allow_inf_nan=False)
    session_evidence_retry: bool = False

    @classmethod
    def load(cls) -> Self:
        """Read the settings from the environment; see `load_settings`."""
        return load_settings(cls)
