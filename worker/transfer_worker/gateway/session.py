"""A `requests` session that makes its request ready once.

One client's requests differ in their body and their ``Idempotency-Key`` only. With requests 2.34.2, merging
the session's headers, cookies, hooks and proxies into each of them anew, and looking for redirects
afterwards, costs as much as sending it and reading its answer.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import requests

if TYPE_CHECKING:
    from collections.abc import Callable

    from transfer_worker.gateway.connection import NotedAdapter


class PreparedSession(requests.Session):
    """Sends JSON to one place, over one adapter, and follows nothing: no redirects, cookies or environment.

    For one thread.

    Args:
        adapter: Carries every request.
        headers: What every request has, besides its own.
        on_answer: Hears of each answer before anybody else, its body unread.

    Attributes:
        own_headers: What the next request has, besides.
    """

    def __init__(
        self,
        adapter: NotedAdapter,
        *,
        headers: dict[str, str],
        on_answer: Callable[[requests.Response], None],
    ) -> None:
        super().__init__()
        self.trust_env = False
        self.headers.update(headers)
        self.own_headers: dict[str, str] = {}
        self._adapter, self._on_answer = adapter, on_answer
        self._prepared = requests.PreparedRequest()
        self._prepared_for = ("", "")

    def request(  # type: ignore[override]
        self, method: str, url: str, *, json: Any, timeout: float, data: None = None
    ) -> requests.Response:
        """Send one request, the way that the SDK (piopiy 1.2.2, `voice/http.py`) asks for it.

        Raises:
            requests.RequestException: As any session's.
        """
        if self._prepared_for != (method, url):
            self._prepared = self.prepare_request(requests.Request(method, url))
            self._prepared_for = method, url
        request = self._prepared
        request.headers.update(self.own_headers)
        request.prepare_body(data, None, json)
        verify = True if self.verify is None else self.verify
        response = self._adapter.send(request, timeout=timeout, verify=verify)
        self._on_answer(response)
        return response

    def close(self) -> None:
        """Close the connection; a later request opens a new one."""
        self._adapter.close()
