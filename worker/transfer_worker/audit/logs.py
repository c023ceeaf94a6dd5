"""One renderer for every line of the process: JSON objects, UTC, masked. Celery's own lines included."""

from __future__ import annotations

import logging
import sys
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import parse_qsl, quote, unquote

import structlog

from transfer_tasks.masking import mask_text
from transfer_worker.audit.outbox import program

if TYPE_CHECKING:
    from collections.abc import Iterable, MutableMapping

    from structlog.typing import EventDict, Processor


# What we make ourselves; digits in them are no phone number. Ids of transfers and calls are others': they may
# be anything, and a canonical UUID passes the masking.
_OWN: Final = frozenset({"timestamp", "event_id", "entry", "worker", "level", "logger", "service", "version"})
_MEASURES: Final = ("_ms", "_bytes", "_seconds")
_LARGE: Final = 1_000_000
"""A number has at least seven digits."""

_MIN_SECRET_LENGTH: Final = 6
"""What is shorter is hidden only where a URL says that it is a password: words that look like it stay."""

# What these say of every transfer, the audit log says better, without what people have said (Celery 5.7.0).
_CHATTY_LOGGERS: Final = ("celery.worker.strategy", "celery.app.trace", "celery.pool")


class Redaction:
    """Takes secrets and full numbers out of every text of a line, wherever it came from.

    Args:
        secrets: Texts that must never be shown: the token, URLs with passwords. The password of a URL is also
            hidden where it stands alone, if it is long enough for a secret.
    """

    def __init__(self, secrets: Iterable[str]) -> None:
        hidden = {form for secret in secrets for form in (secret, *_passwords(secret))}
        self._secrets = tuple(sorted(filter(_is_secret, hidden), key=len, reverse=True))

    def __call__(self, _logger: Any, _method: str, event: EventDict) -> EventDict:
        """Clean one line, as structlog's processors do."""
        return self.clean(event)

    def clean(self, event: EventDict) -> EventDict:
        """Return one line without secrets and full numbers."""
        return {
            self._clean(name): value if name in _OWN else self._clean(value, name=name)
            for name, value in event.items()
        }

    def _clean(self, value: Any, *, name: str = "") -> Any:
        match value:
            case str():
                for secret in self._secrets:
                    value = value.replace(secret, "***")
                return mask_text(value)
            case dict():
                return {
                    self._clean(str(key)): self._clean(inner, name=str(key)) for key, inner in value.items()
                }
            case list() | tuple():
                return [self._clean(inner, name=name) for inner in value]
            case None | bool():
                return value
            case int() | float():
                is_large = abs(value) >= _LARGE and not name.endswith(_MEASURES)
                return mask_text(repr(value)) if is_large else value
            case _:
                return self._clean(repr(value))  # as the renderer would write it


def _is_secret(text: str) -> bool:
    return len(text) >= _MIN_SECRET_LENGTH or (len(text) > len(":@") and text[0] == ":" and text[-1] == "@")


def _passwords(secret: str) -> tuple[str, ...]:
    """Return the forms in which the passwords of a URL may stand in a line; of what is not a URL, none."""
    # Not `urlsplit`: it refuses several Sentinels with an IPv6 one among them.
    _, is_url, rest = secret.partition("://")
    if not is_url:
        return ()
    authority, _, query = rest.partition("?")
    login = authority.partition("/")[0].rpartition("@")[0]
    password = login.partition(":")[2]
    asked = [value for name, value in parse_qsl(query) if name.endswith("password")]
    return (*asked, *map(quote, asked), password, unquote(password), f":{password}@")


def configure(*, level: str, secrets: Iterable[str], stream: Any = None) -> None:
    """Send every log line of this process, ours and others', through one JSON renderer to stdout.

    Args:
        level: The lowest level that is written, such as ``INFO``.
        secrets: Texts that must never be shown.
        stream: Instead of stdout.
    """
    shared: list[Processor] = [
        structlog.stdlib.add_log_level,
        structlog.processors.StackInfoRenderer(),
    ]
    structlog.configure(
        processors=[
            *shared,
            _add_timestamp,
            _add_program,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=False,
    )
    handler = logging.StreamHandler(stream or sys.stdout)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[
                *shared,
                _add_timestamp,
                structlog.stdlib.add_logger_name,
                _add_program,
            ],
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.format_exc_info,
                Redaction(secrets),
                structlog.processors.JSONRenderer(),
            ],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    for name in _CHATTY_LOGGERS:
        logging.getLogger(name).setLevel(logging.WARNING)


def make_line_logger(*, level: str, stream: Any = None) -> Any:
    """Return a logger for complete, clean lines: the same JSON to the same place, by a shorter way.

    The way through the standard library's `logging` costs as much again as the line itself.

    Args:
        level: As for `configure`.
        stream: As for `configure`.
    """
    return structlog.wrap_logger(
        structlog.WriteLogger(stream or sys.stdout),
        processors=[structlog.processors.JSONRenderer()],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level]),
        cache_logger_on_first_use=True,
    )


def _add_program(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    event.update(program())
    return event


def _add_timestamp(logger: Any, method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    # Audit lines bring the time of the change itself, by Redis's clock.
    if "timestamp" in event:
        return event
    return structlog.processors.TimeStamper(fmt="iso", utc=True)(logger, method, event)
