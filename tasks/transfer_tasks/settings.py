"""The publisher's settings, and how either side reads its own: once, with all problems reported together."""

from collections.abc import Callable
from pathlib import Path
from pkgutil import resolve_name
from typing import TYPE_CHECKING, Annotated, Any, Final, Self, TypeVar
from urllib.parse import parse_qsl, urlsplit

import pydantic_settings
from pydantic import AfterValidator, Field, FilePath, SecretStr, ValidationError
from pydantic_core import PydanticCustomError
from pydantic_settings import BaseSettings, EnvSettingsSource, PydanticBaseSettingsSource, SettingsConfigDict

from transfer_tasks.errors import SettingsError
from transfer_tasks.redis.sentinel_url import EXAMPLE, SentinelUrl, WrongUrl, check_ca_file, is_sentinel_url
from transfer_tasks.secret_files import SecretFiles
from transfer_tasks.signature import Key, WrongKey, parse_signing_key

if TYPE_CHECKING:
    from transfer_tasks.rules.destination_rules import DestinationRules

SETTINGS_CONFIG: Final = SettingsConfigDict(
    env_prefix="TRANSFER_",
    env_file=".env",
    env_file_encoding="utf-8",
    env_ignore_empty=True,  # an empty line in .env means "not set"
    extra="ignore",  # the two sides and other programs share one .env
    frozen=True,
    hide_input_in_errors=True,
)

SettingsT = TypeVar("SettingsT", bound=BaseSettings)


class Settings(BaseSettings):
    """What is read from the environment, then from ``.env``; a secret also from a file that either names."""

    model_config = SETTINGS_CONFIG

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Put the files behind the source that names them."""
        sources: list[PydanticBaseSettingsSource] = [init_settings]
        for source in (env_settings, dotenv_settings):
            sources.append(source)
            if isinstance(source, EnvSettingsSource):
                sources.append(SecretFiles(settings_cls, source.env_vars))
        return tuple(sources)


def load_settings(settings_class: type[SettingsT], **given: Any) -> SettingsT:
    """Read settings from the environment and from ``.env`` in the working directory.

    Args:
        settings_class: What is read.
        given: Fields that win over both; None leaves one to them.

    Raises:
        SettingsError: Something is wrong or missing. Each problem names its environment variable; values are
            never shown, because some are secrets.
    """
    try:
        return settings_class(**{name: value for name, value in given.items() if value is not None})
    except ValidationError as error:
        lines = error.errors(include_url=False, include_input=False, include_context=False)
        problems = [
            f"{_name_place(settings_class, line['loc'])} {_complaint(line['type'], line['msg'])}"
            for line in lines
        ]
    except pydantic_settings.SettingsError as error:
        problems = [str(error)]
    except UnicodeDecodeError:
        problems = [".env is not written in UTF-8"]
    raise SettingsError(problems)  # outside of the handlers: the cause holds the values


def _name_place(settings_class: type[BaseSettings], location: tuple[int | str, ...]) -> str:
    return name_variable(settings_class, str(location[0])) if location else "The settings as a whole:"


def name_variable(settings_class: type[BaseSettings], name: str) -> str:
    """Return the environment variable of a field, by its name or its alias."""
    if name not in settings_class.model_fields:
        return name.upper()  # an alias is the variable
    alias = settings_class.model_fields[name].validation_alias
    return (alias if isinstance(alias, str) else f"{settings_class.model_config['env_prefix']}{name}").upper()


def _complaint(code: str, message: str) -> str:
    return "is not set, and has no default" if code == "missing" else f"is wrong: {message}"


def _redis_url(secret: SecretStr) -> SecretStr:
    text = secret.get_secret_value()
    try:
        if is_sentinel_url(text):
            SentinelUrl.parse(text)
            return secret
        url = urlsplit(text)
        is_usable = (
            url.scheme in {"redis", "rediss"}
            and bool(url.hostname)
            and url.port != 0
            and (url.path in {"", "/"} or url.path[1:].isdecimal())
        )
        check_ca_file(dict(parse_qsl(url.query)).get("ssl_ca_certs"))
    except WrongUrl as error:
        raise PydanticCustomError("redis_url", "{problem}", {"problem": str(error)}) from None
    except ValueError:
        is_usable = False
    if not is_usable:
        raise PydanticCustomError(
            "redis_url",
            "write it like redis://host:6379/0, or rediss:// for TLS, or {example}",
            {"example": EXAMPLE},
        )
    return secret


RedisUrl = Annotated[SecretStr, AfterValidator(_redis_url)]
DESTINATIONS_FILE: Final = Path("destinations.toml")
"""The registry where no other is named: in the working directory, beside ``.env``."""


def _find_destinations_file() -> Path | None:
    return DESTINATIONS_FILE.absolute() if DESTINATIONS_FILE.is_file() else None


QueueName = Annotated[str, Field(pattern=r"\A[A-Za-z0-9][A-Za-z0-9_.-]{0,63}\z")]


def readable_by(parse: Callable[[str], object]) -> AfterValidator:
    """Check a text that is read where rules are made of it."""

    def check(text: str) -> str:
        parse(text)
        return text

    return AfterValidator(check)


def rule_parser(name: str) -> Callable[[str], object]:
    """Return a parser of `transfer_tasks.rules` that is imported when there is a text to read.

    Whoever makes no rules, as most commands, does without all that rules need.
    """
    return lambda text: resolve_name(f"transfer_tasks.rules.{name}")(text) if text else None


def keys_read_by(parse: Callable[[str], object]) -> AfterValidator:
    """Check a secret that is read where keys are made of it."""

    def check(secret: SecretStr) -> SecretStr:
        try:
            parse(secret.get_secret_value())
        except WrongKey as error:
            raise PydanticCustomError("keys", "{problem}", {"problem": str(error)}) from None
        return secret

    return AfterValidator(check)


RULE_FIELDS: Final = (
    "allow_unlisted",
    "allow_actions",
    "allow_media",
    "allow_sip_headers",
    "max_legs",
    "max_duration_seconds",
    "max_ring_seconds",
)
"""What may be asked, as far as both sides judge it."""


class PublisherSettings(Settings):
    """What a publisher must know.

    Attributes:
        redis_url: The Redis that carries the queue and the ledger, or the Sentinels that know it; may hold
            passwords.
        publish_budget_seconds: The longest that one call of the publisher may take, whatever Redis does.
        repeat_window_seconds: How long after `submitted` the same request counts as a repeat.
        record_ttl_hours: How long Redis keeps the record of a transfer, audit lines and dead letters; at
            least as long as a call may last: a repeat of what is gone is not recognised.
        destinations_file: The registry of named destinations; `DESTINATIONS_FILE` if it is there and nothing
            else is set. A publisher that has it refuses at once what the worker would refuse later.
        allow_unlisted: Which endpoints outside the registry are allowed: regions, SIP hosts, ``agents``.
        allow_actions: Which actions a pipeline may hold besides connect, play, param and hangup.
        allow_media: Which files may be played, and which hosts a URL may lead to.
        allow_sip_headers: Which custom SIP headers may be set besides those of the registry.
        max_legs: How many endpoints one request may call.
        max_duration_seconds: The longest `max_duration_sec` that may be asked for.
        max_ring_seconds: The longest `ring_timeout_sec` that may be asked for.
        queue: The Redis list that the worker reads.
        signing_key: ``<key id>:<secret>``; what this publisher asks for is signed with it.
    """

    redis_url: RedisUrl = SecretStr("redis://127.0.0.1:6379/0")
    publish_budget_seconds: float = Field(default=1.0, ge=0.05, le=30, allow_inf_nan=False)
    repeat_window_seconds: float = Field(default=30, ge=0, le=3600, allow_inf_nan=False)
    record_ttl_hours: int = Field(default=7 * 24, ge=1, le=365 * 24)
    destinations_file: FilePath | None = Field(default_factory=_find_destinations_file)
    allow_unlisted: Annotated[str, readable_by(rule_parser("unlisted:UnlistedRules.parse"))] = ""
    allow_actions: Annotated[str, readable_by(rule_parser("actions:parse_actions"))] = ""
    allow_media: Annotated[str, readable_by(rule_parser("media:MediaRules.parse"))] = ""
    allow_sip_headers: Annotated[str, readable_by(rule_parser("unlisted:parse_headers"))] = ""
    max_legs: int = Field(default=5, ge=1, le=100)
    max_duration_seconds: int = Field(default=3600, ge=10, le=7200)
    max_ring_seconds: int = Field(default=60, ge=5, le=120)
    queue: QueueName = "transfers"
    signing_key: Annotated[SecretStr, keys_read_by(parse_signing_key)] | None = None

    @property
    def record_ttl_seconds(self) -> int:
        """How long the record of a transfer is kept, in seconds."""
        return self.record_ttl_hours * 3600

    def load_signing_key(self) -> Key | None:
        """Return the key that signs; None where nothing is signed."""
        return parse_signing_key(self.signing_key.get_secret_value()) if self.signing_key else None

    def load_rules(self) -> "DestinationRules":
        """Read the registry; without a file it is empty.

        Raises:
            SettingsError: The file can't be read or holds mistakes; every one of them is listed.
        """
        from transfer_tasks.registry.destinations import DestinationRegistry
        from transfer_tasks.rules.actions import ActionRules
        from transfer_tasks.rules.bounds import Bounds
        from transfer_tasks.rules.destination_rules import DestinationRules
        from transfer_tasks.rules.unlisted import UnlistedRules

        registry = (
            DestinationRegistry.load(self.destinations_file)
            if self.destinations_file
            else DestinationRegistry({})
        )
        return DestinationRules(
            registry,
            UnlistedRules.parse(self.allow_unlisted, headers=self.allow_sip_headers),
            ActionRules.parse(self.allow_actions, self.allow_media),
            Bounds(
                legs=self.max_legs,
                duration_seconds=self.max_duration_seconds,
                ring_seconds=self.max_ring_seconds,
            ),
        )

    @classmethod
    def load(cls) -> Self:
        """Read the settings from the environment; see `load_settings`."""
        return load_settings(cls)
