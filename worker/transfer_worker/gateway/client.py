"""One `RestClient.voice.transfer` call, and what is known after it.

The SDK (piopiy 1.2.2) is asked for exactly one POST, and its errors are not read: they can't tell a request
that never left from one whose answer was lost. What is known comes from two sources instead, the
connection (`exchange.Stage`: was anything written?) and the answer itself (`PreparedSession` hands it over):

===========================================  ==============================  ====================
what was seen                                what is known                   reason
===========================================  ==============================  ====================
the SDK's validator refused                  refused, nothing was sent       REFUSED_BY_PLATFORM
no name, no connection, no tunnel, no TLS    not sent                        PLATFORM_UNREACHABLE
held up before the first byte                not sent                        NOT_SENT
written, and not even a status line came     may have been carried out       ANSWER_LOST
a status line came                           what `rules` says of it          …
===========================================  ==============================  ====================
"""

from __future__ import annotations

import logging
import re
import threading
import time
import urllib.parse
import weakref
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

import requests
from piopiy_voice import PiopiyError, PiopiyNetworkError, PiopiyValidationError, RestClient

from transfer_tasks.outcome import Reason
from transfer_worker.errors import AttemptError, NotCarriedOut, OutcomeUnknown, Refused
from transfer_worker.gateway.classification import read_answer
from transfer_worker.gateway.connection import NotedAdapter
from transfer_worker.gateway.exchange import LAST_LOOK_SECONDS, Exchange, Stage
from transfer_worker.gateway.rules import ReceivedAnswer
from transfer_worker.gateway.session import PreparedSession
from transfer_worker.settings import find_token_problem

if TYPE_CHECKING:
    from collections.abc import Callable

    from transfer_worker.delivery.ports import PlatformAnswer

MAX_IDLE_SECONDS: Final = 4.0
"""How long a connection may lie idle and still be used: servers close idle ones (Node.js after 5 s), and a
request that crosses such a close would end as unknown for nothing."""

_LONG_DIGITS: Final = re.compile(r"\d{7,}")


class PiopiyGateway:
    """Asks Piopiy to move a call, one POST for each `send`, and says what is known afterwards.

    Safe for threads: each has a client and a connection of its own. Proxies, netrc files and certificate
    bundles named in the environment are ignored (`trust_env` is off): a netrc entry would replace the
    token, and what stands between is to be chosen on purpose.

    Args:
        token: The bearer token. Never logged.
        base_url: The API's root, version included, such as ``https://rest.piopiy.com/v3``.
        timeout_seconds: What one `send` may take as a whole: name lookup, TCP, TLS, request and answer.
        keeps_alive: Whether a connection carries more than one request.
        proxy_url: A proxy to go through by CONNECT, login included; for an ``https`` API alone, because over
            plain HTTP the proxy's own answers can't be told from the platform's.
        on_writing: Called when a request is about to be written.

    Raises:
        ValueError: A value can't be used; nothing would ever be sent.
    """

    def __init__(
        self,
        *,
        token: str,
        base_url: str,
        timeout_seconds: float,
        keeps_alive: bool = True,
        proxy_url: str | None = None,
        on_writing: Callable[[], None] = lambda: None,
    ) -> None:
        if problem := find_token_problem(token):
            raise ValueError(problem)
        parts = urllib.parse.urlsplit(base_url)
        if parts.scheme not in {"http", "https"} or not parts.hostname or parts.query or parts.fragment:
            raise ValueError("base_url must look like https://host/path")
        requests.Request("POST", base_url).prepare()  # InvalidURL is a ValueError
        if not timeout_seconds > 0:
            raise ValueError("timeout_seconds must be greater than 0")
        if proxy_url and parts.scheme != "https":
            raise ValueError("proxy_url goes with an https base_url only")
        self._token, self._base_url, self._timeout_seconds = token, base_url, timeout_seconds
        self._proxy_url = proxy_url
        self._keeps_alive, self._on_writing = keeps_alive, on_writing
        self._of_thread = threading.local()
        self._lock = threading.Lock()
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
        exchange = Exchange(
            timeout_seconds=self._timeout_seconds,
            write_within_seconds=write_within_seconds,
            on_writing=self._on_writing,
        )
        failure: Exception | None = None
        client.begin(exchange, idempotency_key)
        try:
            client.rest.voice.transfer(call_id, pipeline)
        except PiopiyValidationError as error:
            raise Refused(
                reason=Reason.REFUSED_BY_PLATFORM, detail=_one_line(f"The SDK refused it (got {error})")
            ) from error
        except Exception as error:  # noqa: BLE001 - whatever went wrong, a POST may be out: it must end as known or unknown
            failure = error
        finally:
            client.end()
        if client.answer is not None:
            doubt = exchange.find_doubt(is_whole=client.answer.is_whole)
            return read_answer(replace(client.answer, doubt=doubt), failure)
        raise _explain_silence(failure, exchange.stage) from failure

    def close(self) -> None:
        """Close every thread's connection; a later `send` opens a new one."""
        with self._lock:
            sessions = list(self._sessions)
        for session in sessions:
            session.close()

    def _client(self) -> _ThreadClient:
        client: _ThreadClient | None = getattr(self._of_thread, "client", None)
        if client is None:
            client = _ThreadClient(
                self._token,
                self._base_url,
                self._timeout_seconds,
                keeps_alive=self._keeps_alive,
                proxy_url=self._proxy_url,
            )
            self._of_thread.client = client
            with self._lock:
                self._sessions.add(client.session)
        return client


class _ThreadClient:
    """One thread's `RestClient`, set up so that one call is one POST and leaves its evidence here."""

    def __init__(
        self, token: str, base_url: str, timeout_seconds: float, *, keeps_alive: bool, proxy_url: str | None
    ) -> None:
        self.rest = RestClient(token, base_url, timeout_seconds, max_retries=0)
        made: Any = self.rest._http._session  # noqa: SLF001 - piopiy 1.2.2 offers no other way in; pinned by tests/contract/test_rest_sdk.py
        # The SDK's own retry setting is kept: `max_retries=0` above is what makes it one POST.
        max_retries = made.get_adapter(base_url).max_retries
        self._adapter = NotedAdapter(max_retries=max_retries, proxy_url=proxy_url)
        headers = {**made.headers, "Accept-Encoding": "identity"}
        if not keeps_alive:
            headers["Connection"] = "close"
        self.session = PreparedSession(
            self._adapter,
            headers=headers,
            on_answer=self._take_answer,
        )
        self.rest._http._session = self.session  # noqa: SLF001 - as above
        self.answer: ReceivedAnswer | None = None
        self._keeps_alive = keeps_alive
        self._idle_since = time.monotonic()

    def begin(self, exchange: Exchange, idempotency_key: str) -> None:
        if time.monotonic() - self._idle_since > MAX_IDLE_SECONDS:
            self._adapter.close()
        self._adapter.exchange = exchange
        self.answer = None
        self.session.own_headers["Idempotency-Key"] = urllib.parse.quote(idempotency_key, safe=_HEADER_SAFE)

    def end(self) -> None:
        if self._adapter.exchange.must_close or not self._keeps_alive:
            self._adapter.close()
        self._idle_since = time.monotonic()

    def _take_answer(self, response: requests.Response) -> None:
        self.answer = ReceivedAnswer(response.status_code, response.headers, None)
        self.answer = ReceivedAnswer(response.status_code, response.headers, response.content)


_HEADER_SAFE: Final = "".join(chr(code) for code in range(0x21, 0x7F) if chr(code) != "%")


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
