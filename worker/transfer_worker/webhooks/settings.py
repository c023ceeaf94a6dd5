"""The settings of whoever receives webhooks: the publisher's, and the secrets."""

from __future__ import annotations

from typing import Annotated, Final, Self

from pydantic import AfterValidator, Field, SecretStr
from pydantic_core import PydanticCustomError

from transfer_tasks.settings import PublisherSettings, load_settings

MIN_SECRET_LENGTH: Final = 24
"""Whoever knows it can have a transfer shown as connected, and anybody may try."""


def _check_secret(secret: SecretStr) -> SecretStr:
    text = secret.get_secret_value()
    if len(text) < MIN_SECRET_LENGTH or not all(c.isascii() and (c.isalnum() or c in "-_") for c in text):
        raise PydanticCustomError(
            "webhook_secret",
            "write {least} or more letters, digits, - and _; `openssl rand -hex 24` makes one",
            {"least": MIN_SECRET_LENGTH},
        )
    return secret


Secret = Annotated[SecretStr, AfterValidator(_check_secret)]


class WebhookSettings(PublisherSettings):
    """What the receiver of webhooks must know.

    Attributes:
        webhook_secret: The last part of the address that the platform's dashboard is given.
        webhook_header_secret: What must stand in the header `X-Webhook-Secret` as well, where it is set.
        webhook_rate: How many webhooks are taken a second; more are answered with 429.
    """

    webhook_secret: Secret
    webhook_header_secret: Secret | None = None
    webhook_rate: int = Field(default=50, ge=1, le=1000)

    @classmethod
    def load(cls) -> Self:
        """Read the settings from the environment; see `load_settings`."""
        return load_settings(cls)
