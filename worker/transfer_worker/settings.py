"""The worker's settings: the publisher's, and what it takes to act."""

from __future__ import annotations

import ipaddress
from pathlib import Path
from typing import Annotated, Final, Literal, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, SecretStr, ValidationInfo, field_validator
from pydantic_core import PydanticCustomError

from transfer_tasks.addresses import is_host, parse_number
from transfer_tasks.settings import PublisherSettings, keys_read_by, load_settings, readable_by, rule_parser
from transfer_tasks.signature import Key, parse_audit_keys, parse_verify_keys

VISIBILITY_TIMEOUT_SECONDS: Final = 12
"""When kombu gives an unacknowledged message to another worker: a fallback, in case recovery fails."""

MAX_ATTEMPT_TIMEOUT_SECONDS: Final = 10
MIN_TOKEN_LENGTH: Final = 6
"""A shorter one is a slip: Piopiy's have dozens of characters. And no line of the log would stay readable."""
MIN_FLOWER_PASSWORD_LENGTH: Final = 12
SETTLE_PATIENCE_SECONDS: Final = 60.0


def find_token_problem(token: str) -> str:
    """Return what is wrong with a bearer token, or an empty text."""
    if not token or not all("!" <= character <= "~" for character in token):
        return "a token is printable ASCII, without blanks and line breaks"
    if len(token) < MIN_TOKEN_LENGTH:
        return f"a token has {MIN_TOKEN_LENGTH} characters or more; copy the whole of it"
    return ""


def find_login_problem(login: str) -> str:
    """Return what is wrong with a login for Flower, ``user:password``; or an empty text."""
    user, _, password = login.partition(":")
    # Flower 2.2.0 compares with hmac.compare_digest, which takes no other text than ASCII.
    if not user or not login.isascii() or "," in login or not password:
        return "write it like user:password, in ASCII and without a comma"
    if len(password) < MIN_FLOWER_PASSWORD_LENGTH:
        return f"its password has {MIN_FLOWER_PASSWORD_LENGTH} characters or more"
    return ""


def _check_token(secret: SecretStr) -> SecretStr:
    if problem := find_token_problem(secret.get_secret_value()):
        raise PydanticCustomError("token", "{problem}", {"problem": problem})
    return secret


def _parse_hosts(text: str) -> frozenset[str]:
    """Read ``sandbox, piopiy.test``: host names and addresses, without scheme and port.

    Raises:
        ValueError: An item is no host.
    """
    hosts = frozenset(part.strip().lower() for part in text.split(",") if part.strip())
    if not all(map(is_host, hosts)):
        raise ValueError("name hosts, without http:// and port, with a comma between")
    return frozenset(host.strip("[]") for host in hosts)


def _check_api_url(text: str, info: ValidationInfo) -> str:
    try:
        url = urlsplit(text)
        host = url.hostname or ""
        is_usable = url.scheme in {"http", "https"} and bool(host) and url.port != 0
    except ValueError:
        is_usable = False
    if not is_usable or any(character in text for character in "?# \t\r\n\\"):
        raise PydanticCustomError("api_url", "write it like https://rest.piopiy.com/v3")
    if "@" in url.netloc:
        raise PydanticCustomError(
            "api_url", "it holds a login, which the API does not take: leave out what is before the @"
        )
    allowed = _parse_hosts(info.data.get("allow_http", ""))  # absent where it is wrong itself
    if url.scheme == "http" and not is_this_machine(host) and host not in allowed:
        raise PydanticCustomError(
            "api_url",
            "the token goes out by https:// only, or everybody on the way reads it; a sandbox in the same "
            "network is named in TRANSFER_ALLOW_HTTP",
        )
    return text


def _check_proxy_url(secret: SecretStr, info: ValidationInfo) -> SecretStr:
    text = secret.get_secret_value()
    try:
        url = urlsplit(text)
        is_usable = (
            url.scheme in {"http", "https"}
            and bool(url.hostname)
            and url.port not in {0, None}
            and url.path in {"", "/"}
        )
    except ValueError:
        is_usable = False
    if not is_usable or any(character in text for character in "?# \t\r\n"):
        raise PydanticCustomError(
            "proxy_url",
            "write it like http://proxy.example:3128, or http://login:password@proxy.example:3128",
        )
    api_url = info.data.get("piopiy_api_url")  # absent where it is wrong itself
    if api_url and urlsplit(api_url).scheme != "https":
        raise PydanticCustomError(
            "proxy_url",
            "a proxy carries an https:// PIOPIY_API_URL only (else its own answers can't be told from the "
            "platform's); leave it empty for a sandbox",
        )
    return secret


def is_this_machine(host: str) -> bool:
    """Whether a host name or address is this machine's own."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


Token = Annotated[SecretStr, AfterValidator(_check_token)]
CallerNumber = Annotated[str, AfterValidator(parse_number)]


class AuditSettings(PublisherSettings):
    """What it takes to verify the audit files.

    Attributes:
        audit_key: ``<key id>:<secret>,…``: the first seals the audit file's lines, the others did before.
    """

    audit_key: Annotated[SecretStr, keys_read_by(parse_audit_keys)] | None = None

    def load_audit_keys(self) -> dict[str, Key]:
        """Return the keys by their ids, the one that seals new lines first; none where chains are plain."""
        return parse_audit_keys(self.audit_key.get_secret_value()) if self.audit_key else {}


class WorkerSettings(AuditSettings):
    """Everything a worker reads from the environment.

    Attributes:
        allow_http: The hosts that get the token by http:// besides this machine, such as a sandbox nearby.
        piopiy_token: The REST token. Only the worker has it.
        piopiy_api_url: The API's root; the default is the SDK's own (piopiy 1.2.2).
        piopiy_proxy_url: The proxy through which alone the API is reached, by CONNECT; may hold a password.
        piopiy_number: Caller id where neither the intent nor the registry names one.
        caller_ids: Which numbers an intent may have shown besides that one and the registry's.
        verify_keys: ``<key id>:<secret>[names],…``: whose requests are carried out; everybody's
            if none is set.
        concurrency: How many transfers a worker carries out at a time.
        processes: How many processes of `call-transfer worker` share them, if not as many as `slots` says.
        attempt_timeout_seconds: What one HTTP request may take as a whole.
        keep_alive: Whether a connection to the platform carries more than one request.
        ask_platform: Whether the platform is asked how requests went that it has given an id.
        max_attempts: How many HTTP requests one transfer may cost, all proven not carried out but the last.
        audit_file: Audit lines are also appended here; its mode is 0600.
        redis_never_evicts: The operator's word for a Redis that does not say its memory policy.
        remote_control: Whether Celery's remote control only looks, or obeys whoever may write to Redis.
        log_level: The lowest level that is logged.
    """

    allow_http: Annotated[str, readable_by(_parse_hosts)] = ""
    piopiy_token: Token = Field(validation_alias="PIOPIY_TOKEN")
    piopiy_api_url: Annotated[str, AfterValidator(_check_api_url)] = Field(
        "https://rest.piopiy.com/v3", validation_alias="PIOPIY_API_URL"
    )
    piopiy_proxy_url: Annotated[SecretStr, AfterValidator(_check_proxy_url)] | None = Field(
        None, validation_alias="PIOPIY_PROXY_URL"
    )
    piopiy_number: CallerNumber | None = Field(None, validation_alias="PIOPIY_NUMBER")
    caller_ids: Annotated[str, readable_by(rule_parser("caller_ids:parse_caller_ids"))] = ""
    verify_keys: Annotated[SecretStr, keys_read_by(parse_verify_keys)] | None = None
    concurrency: int = Field(8, ge=1, le=256)
    processes: int | None = Field(None, ge=1, le=64)
    attempt_timeout_seconds: float = Field(5.0, gt=0, le=MAX_ATTEMPT_TIMEOUT_SECONDS)
    keep_alive: bool = True
    ask_platform: bool = True
    max_attempts: int = Field(5, ge=1, le=20)
    audit_file: Path | None = None
    redis_never_evicts: bool = False
    remote_control: Literal["look", "operator"] = "look"
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"

    @field_validator("processes")
    @classmethod
    def _check_processes(cls, processes: int | None, info: ValidationInfo) -> int | None:
        slots = info.data.get("concurrency")  # absent where it is wrong itself
        if processes and slots and processes > slots:
            raise PydanticCustomError(
                "processes",
                "{processes} processes (--processes) can't share {slots} transfers at a time "
                "(--concurrency); ask for {slots} at most, or leave it out",
                {"processes": processes, "slots": slots},
            )
        return processes

    @classmethod
    def load(
        cls, *, concurrency: int | None = None, processes: int | None = None, log_level: str | None = None
    ) -> Self:
        """Read the environment and ``.env`` once.

        Args:
            concurrency: Instead of the one that is set.
            processes: Instead of the one that is set.
            log_level: Instead of the one that is set.

        Raises:
            SettingsError: Something is wrong or missing; every problem is listed.
        """
        return load_settings(cls, concurrency=concurrency, processes=processes, log_level=log_level)

    @property
    def secrets(self) -> tuple[str, ...]:
        """Texts that no line may show."""
        named = (self.piopiy_token, self.redis_url, self.piopiy_proxy_url)
        keys = [*self.load_verify_keys().values(), *self.load_audit_keys().values(), self.load_signing_key()]
        return (
            *(secret.get_secret_value() for secret in named if secret is not None),
            *(key.secret for key in keys if key is not None),
        )

    def load_verify_keys(self) -> dict[str, Key]:
        """Return the keys of those whose requests are carried out, by their ids; none means everybody."""
        return parse_verify_keys(self.verify_keys.get_secret_value()) if self.verify_keys else {}
