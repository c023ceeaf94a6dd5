"""What stands between the worker and the platform, for `call-transfer doctor`."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

import requests

from transfer_worker.runtime.findings import Finding
from transfer_worker.settings import is_this_machine

if TYPE_CHECKING:
    from collections.abc import Mapping

    from transfer_worker.settings import WorkerSettings

PROBE_SECONDS: Final = 5.0
_OF_THE_ENVIRONMENT: Final = ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy")


def check_proxy(settings: WorkerSettings, env: Mapping[str, str] = os.environ) -> list[Finding]:
    """Try the proxy, if there is one; say so where one is named that has no effect.

    The platform is asked for its root: no request that it could take for a transfer.
    """
    if settings.piopiy_proxy_url is not None:
        return [_try_proxy(settings.piopiy_api_url, settings.piopiy_proxy_url.get_secret_value())]
    named = next((name for name in _OF_THE_ENVIRONMENT if env.get(name)), None)
    if named is None or is_this_machine(urlsplit(settings.piopiy_api_url).hostname or ""):
        return []
    return [
        Finding.warning(
            "proxy",
            seen=f"{named} is set and has no effect: the worker connects directly",
            fix="If this site gets out through a proxy only, name it in PIOPIY_PROXY_URL.",
        )
    ]


def _try_proxy(api_url: str, proxy_url: str) -> Finding:
    api, where = urlsplit(api_url), _mask_login(proxy_url)
    with requests.Session() as session:
        session.trust_env = False
        try:
            answer = session.head(
                f"https://{api.netloc.rpartition('@')[2]}/",
                proxies={"https": proxy_url},
                timeout=PROBE_SECONDS,
                allow_redirects=False,
            )
        except requests.RequestException as error:
            return Finding.problem(
                "proxy",
                seen=f"{where} does not lead to {api.hostname}: {_find_cause(error)}",
                fix="Correct PIOPIY_PROXY_URL, or have the proxy allow CONNECT to that host.",
            )
    return Finding.ok(
        "proxy",
        seen=f"{where} leads to {api.hostname}, which answered HTTP {answer.status_code}",
    )


def _mask_login(proxy_url: str) -> str:
    url = urlsplit(proxy_url)
    login, at, place = url.netloc.rpartition("@")
    return f"{url.scheme}://{'***' if login else ''}{at}{place}"


def _find_cause(error: requests.RequestException) -> str:
    """Return the innermost cause in few words; `requests` wraps urllib3's error, which wraps the system's."""
    cause: BaseException = error
    while inner := getattr(cause, "reason", None) or next(
        (each for each in reversed(cause.args) if isinstance(each, BaseException)), None
    ):
        if not isinstance(inner, BaseException):
            break
        cause = inner
    return " ".join(str(cause).split())[:120] or type(cause).__name__
