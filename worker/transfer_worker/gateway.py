"""One `RestClient.voice.transfer` call, and what is known after it.

The SDK (piopiy 1.2.2) is asked for exactly one POST, and its errors are not read: they can't tell a request
that never left from one whose answer was lost. What is known comes from two witnesses instead, the
connection (`wire.Stage`: was anything written?) and the answer itself (a hook on the session):

===========================================  ==============================  ====================
what was seen                                what is known                   reason
===========================================  ==============================  ====================
the SDK's validator refused                  refused, nothing was sent       REFUSED_BY_PLATFORM
no name, no connection, no TLS               not sent                        PLATFORM_UNREACHABLE
held up before the first byte                not sent                        NOT_SENT
429                                          not carried out                 RATE_LIMITED
503                                          not carried out                 PLATFORM_UNAVAILABLE
401, 403                                     refused                         UNAUTHORIZED
404, 410                                     refused                         CALL_NOT_FOUND
409                                          refused                         TRANSFER_IN_PROGRESS
any other 4xx but 408                        refused                         REFUSED_BY_PLATFORM
written, then no (whole) answer; 408         may have been carried out       ANSWER_LOST
any other 5xx                                may have been carried out       SERVER_ERROR
1xx, 3xx; a 2xx that is no JSON object       may have been carried out       ANSWER_UNREADABLE
===========================================  ==============================  ====================

A status line that arrived counts even when its body is lost: only a 2xx needs its body to be believed.
"""

from __future__ import annotations

import json
import logging
import re
import threading
import time
import urllib.parse
import weakref
from dataclasses import dataclass
from http.cookiejar import DefaultCookiePolicy
from typing import TYPE_CHECKING, Any, Final

import requests
from piopiy_voice import PiopiyError, PiopiyNetworkError, PiopiyValidationError, RestClient

from transfer_tasks.outcome import Reason
from transfer_worker.errors import AttemptError, NotCarriedOut, OutcomeUnknown, Refused
from transfer_worker.retry_after import parse_retry_after
from transfer_worker.wire import LAST_LOOK_SECONDS, Exchange, NotedAdapter, Stage

if TYPE_CHECKING:
    from requests.structures import CaseInsensitiveDict

MAX_KEPT_ANSWER_CHARS: Final = 8 * 1024
"""How much of an answer is kept in the record; a longer one is kept as the beginning of its text."""

MAX_IDLE_SECONDS: Final = 4.0
"""How long a connection may lie idle and still be used. Servers close idle ones (Node.js after 5 s, load
balancers after 60 s), and a request that crosses such a close would end as unknown for nothing."""

_REFUSALS: Final = {
    401: Reason.UNAUTHORIZED,
    403: Reason.UNAUTHORIZED,
    404: Reason.CALL_NOT_FOUND,
    410: Reason.CALL_NOT_FOUND,
    409: Reason.TRANSFER_IN_PROGRESS,
}
_NOT_CARRIED_OUT: Final = {429: Reason.RATE_LIMITED, 503: Reason.PLATFORM_UNAVAILABLE}
_LONG_DIGITS: Final = re.compile(r"\d{7,}")


@dataclass(frozen=True, slots=True, kw_only=True)
class PlatformAnswer:
    """The platform accepted the request.

    Attributes:
        http_status: The 2xx status.
        body: The whole answer as a JSON value; the beginning of its text when it is over 8 KiB.
    """

    http_status: int
    body: Any


class PiopiyGateway:
    """Asks Piopiy to move a call, one POST for each `send`, and says what is known afterwards.

    Safe for threads: each has a client and a connection of its own. Proxies, netrc files and certificate
    bundles named in the environment are ignored (`trust_env` is off): a netrc entry would replace the
    token, and a proxy's own 502 or 503 can't be told from the platform's.

    Args:
        token: The bearer token. Never logged.
        base_url: The API's root, version included, such as ``https://rest.piopiy.com/v3``.
        timeout_seconds: What one `send` may take as a whole: name lookup, TCP, TLS, request and answer.

    Raises:
        ValueError: A value can't be used; nothing would ever be sent.
    """

    def __init__(self, *, token: str, base_url: str, timeout_seconds: float) -> None:
        if not token or not all("!" <= character <= "~" for character in token):
            raise ValueError("token must be printable ASCII without blanks")
        parts = urllib.parse.urlsplit(base_url)
        if parts.scheme not in {"http", "https"} or not parts.hostname or parts.query or parts.fragment:
            raise ValueError("base_url must look like https://host/path")
        requests.Request("POST", base_url).prepare()  # InvalidURL is a ValueError
        if not timeout_seconds > 0:
            raise ValueError("timeout_seconds must be greater than 0")
        self._token, self._base_url, self._timeout_seconds = token, base_url, timeout_seconds
        self._of_thread = threading.local()
        self._sessions: weakref.WeakSet[requests.Session] = weakref.WeakSet()
        # They may quote the platform's answer, and say nothing that the audit does not say.
        for name in ("urllib3", "requests"):
            logging.getLogger(name).setLevel(logging.ERROR)

    @property
    def attempt_bound_seconds(self) -> float:
        """The longest that one `send` can take."""
        return self._timeout_seconds + LAST_LOOK_SECONDS

    def send(
        self,
        *,
        call_id: str,
        pipeline: list[dict[str, Any]],
        idempotency_key: str,
        write_within_seconds: float | None = None,
    ) -> PlatformAnswer:
        """Ask Piopiy, with exactly one POST, to move a call to a pipeline.

        Args:
            call_id: The call to move.
            pipeline: The PCMO actions.
            idempotency_key: Sent as the ``Idempotency-Key`` header; bytes that a header can't carry are
                percent-encoded.
            write_within_seconds: When this has passed before the first byte leaves (a paused process, a
                slow lookup), nothing is sent.

        Raises:
            NotCarriedOut: Proven: the call was not moved. It may be tried again.
            Refused: Proven: the call will not be moved. Trying again is useless.
            OutcomeUnknown: The call may have been moved. Never to be sent again.
        """
        client = self._client()
        exchange = Exchange(timeout_seconds=self._timeout_seconds, write_within_seconds=write_within_seconds)
        failure: Exception | None = None
        client.begin(exchange, idempotency_key)
        try:
            client.rest.voice.transfer(call_id, pipeline)
        except PiopiyValidationError as error:
            raise Refused(
                reason=Reason.REFUSED_BY_PLATFORM, detail=_one_line(f"The SDK refused it: {error}")
            ) from error
        except Exception as error:  # noqa: BLE001 - whatever went wrong, a POST may be out: it must end as known or unknown
            failure = error
        finally:
            client.end()
        if client.answer is not None:
            return _read_answer(client.answer, failure)
        raise _explain_silence(failure, exchange.stage) from failure

    def close(self) -> None:
        """Close every thread's connection; a later `send` opens a new one."""
        for session in list(self._sessions):
            session.close()

    def _client(self) -> _ThreadClient:
        client: _ThreadClient | None = getattr(self._of_thread, "client", None)
        if client is None:
            client = _ThreadClient(self._token, self._base_url, self._timeout_seconds)
            self._of_thread.client = client
            self._sessions.add(client.session)
        return client


@dataclass(frozen=True, slots=True)
class _Answer:
    """What came back: a status line and headers, and the body unless it was lost."""

    status: int
    headers: CaseInsensitiveDict[str]
    body: bytes | None


class _ThreadClient:
    """One thread's `RestClient`, set up so that one call is one POST and leaves its evidence here."""

    def __init__(self, token: str, base_url: str, timeout_seconds: float) -> None:
        self.rest = RestClient(token, base_url, timeout_seconds, max_retries=0)
        self.session: requests.Session = self.rest._http._session  # noqa: SLF001 - piopiy 1.2.2 offers no other way in; pinned by tests/contract/test_rest_sdk.py
        self.answer: _Answer | None = None
        self._idle_since = time.monotonic()
        # The SDK's own retry setting is kept: `max_retries=0` above is what makes it one POST.
        self._adapter = NotedAdapter(max_retries=self.session.get_adapter(base_url).max_retries)
        self.session.mount("https://", self._adapter)
        self.session.mount("http://", self._adapter)
        self.session.trust_env = False
        self.session.max_redirects = 0
        self.session.headers["Accept-Encoding"] = "identity"
        self.session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
        self.session.hooks["response"] = [self._take_answer]

    def begin(self, exchange: Exchange, idempotency_key: str) -> None:
        """Get ready for one call."""
        if time.monotonic() - self._idle_since > MAX_IDLE_SECONDS:
            self._adapter.close()
        self._adapter.exchange = exchange
        self.answer = None
        self.session.headers["Idempotency-Key"] = urllib.parse.quote(idempotency_key, safe=_HEADER_SAFE)

    def end(self) -> None:
        """Note when the connection fell idle."""
        self._idle_since = time.monotonic()

    def _take_answer(self, response: requests.Response, **_: object) -> None:
        self.answer = _Answer(response.status_code, response.headers, None)
        self.answer = _Answer(response.status_code, response.headers, response.content)


_HEADER_SAFE: Final = "".join(chr(code) for code in range(0x21, 0x7F) if chr(code) != "%")


def _read_answer(answer: _Answer, failure: Exception | None) -> PlatformAnswer:
    """Return the acceptance that `answer` is, or raise what else it means."""
    status, value = answer.status, _parse(answer.body)
    kept = _keep(answer.body, value)
    if 200 <= status < 300 and isinstance(value, dict):
        return PlatformAnswer(http_status=status, body=kept)
    raise _explain_status(answer, kept) from failure


def _explain_status(answer: _Answer, kept: object) -> AttemptError:
    status = answer.status
    if status in _NOT_CARRIED_OUT:
        return NotCarriedOut(
            reason=_NOT_CARRIED_OUT[status],
            http_status=status,
            answer=kept,
            retry_after_seconds=parse_retry_after(
                answer.headers.get("Retry-After"), answer.headers.get("Date")
            ),
        )
    if 400 <= status < 500 and status != 408:
        return Refused(
            reason=_REFUSALS.get(status, Reason.REFUSED_BY_PLATFORM), http_status=status, answer=kept
        )
    reason, detail = Reason.ANSWER_UNREADABLE, ""
    if 500 <= status < 600:
        reason = Reason.SERVER_ERROR
    elif status == 408:
        # A 408 is a proxy's word about a request that may have passed it.
        reason = Reason.ANSWER_LOST
    elif 200 <= status < 300 and answer.body is None:
        reason, detail = Reason.ANSWER_LOST, "The connection was lost within the answer."
    elif 200 <= status < 300:
        detail = "The answer is empty." if not answer.body else "The answer is no JSON object."
    elif 300 <= status < 400:
        detail = "The answer is a redirect; it was not followed."
    return OutcomeUnknown(reason=reason, http_status=status, answer=kept, detail=detail)


def _explain_silence(failure: Exception | None, stage: Stage) -> AttemptError:
    """Return what is known when not even a status line came back."""
    cause = failure.original_exception if isinstance(failure, PiopiyNetworkError) else failure
    detail = _one_line(_describe(cause))
    if isinstance(failure, PiopiyError) and stage is Stage.HELD_UP:
        return NotCarriedOut(reason=Reason.NOT_SENT, detail=detail)
    if isinstance(failure, PiopiyError) and stage is Stage.CONNECTING:
        return NotCarriedOut(reason=Reason.PLATFORM_UNREACHABLE, detail=detail)
    if isinstance(cause, requests.exceptions.InvalidJSONError) and stage is Stage.PREPARING:
        return Refused(reason=Reason.REFUSED_BY_PLATFORM, detail=detail)
    return OutcomeUnknown(reason=Reason.ANSWER_LOST, detail=detail)


def _describe(cause: BaseException | None) -> str:
    """Return the innermost text of a `requests` error, which wraps urllib3's, which wraps the system's."""
    inner = cause.args[0] if cause is not None and cause.args else cause
    inner = getattr(inner, "reason", inner)
    return (
        f"{type(inner).__name__}: {inner}" if isinstance(inner, BaseException) else f"{type(cause).__name__}"
    )


def _one_line(text: str) -> str:
    """Return `text` without line breaks, long numbers and length."""
    return _LONG_DIGITS.sub("…", " ".join(text.split()))[:300]


def _parse(body: bytes | None) -> object:
    """Return the JSON value of `body`; None when it has none."""
    try:
        return json.loads(body) if body else None
    except (ValueError, RecursionError):
        return None


def _keep(body: bytes | None, value: object) -> object:
    """Return what is kept of an answer: the value, else the text, cut where it is too long."""
    if body is None:
        return None
    if value is not None and len(body) <= MAX_KEPT_ANSWER_CHARS:
        return value
    return body.decode("utf-8", "replace")[:MAX_KEPT_ANSWER_CHARS]
