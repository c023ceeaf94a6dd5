"""Who may see Flower's pages: a login that nobody guesses, for each page, and guessing is slow.

What is replaced is flower 2.2.0's (views/__init__.py, views/monitor.py), and tornado's `prepare`, which does
nothing.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from flower.views import BaseHandler
from flower.views.monitor import Metrics
from tornado.options import options
from tornado.web import HTTPError, authenticated

from transfer_tasks.secret_files import read_secret
from transfer_worker.settings import find_login_problem

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

REMEMBERED_SECONDS: Final = 60.0
BETWEEN_GUESSES_SECONDS: Final = 1.0


class Brake:
    """Lets an address that has sent a wrong login try once a second, until a minute after the last one.

    Also with the right login: else many guesses at once would be as quick as one.
    """

    def __init__(
        self,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._clock, self._sleep = clock, sleep
        self._wrong_at: dict[str, float] = {}
        self._turns: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)

    def note_wrong(self, address: str) -> None:
        """Remember that an address has sent a wrong login."""
        now = self._clock()
        for other, at in list(self._wrong_at.items()):
            if now - at >= REMEMBERED_SECONDS and not self._turns[other].locked():
                del self._wrong_at[other], self._turns[other]
        self._wrong_at[address] = now

    async def wait(self, address: str) -> None:
        """Wait for the next turn of an address; at once, where it has sent no wrong login of late."""
        at = self._wrong_at.get(address)
        if at is None or self._clock() - at >= REMEMBERED_SECONDS:
            return
        async with self._turns[address]:
            await self._sleep(BETWEEN_GUESSES_SECONDS)


def read_logins() -> list[str]:
    """Return who may log in, by what Flower has read already or by `FLOWER_BASIC_AUTH_FILE`.

    Raises:
        SystemExit: Nobody may, or somebody with a login that won't do; so Flower does not start.
    """
    logins = [login for login in options.basic_auth or [] if login]
    path = os.environ.get("FLOWER_BASIC_AUTH_FILE")
    if path and not logins:
        try:
            logins = [read_secret(Path(path))]
        except ValueError as error:
            raise SystemExit(f"FLOWER_BASIC_AUTH_FILE is wrong: {error}.") from None
    problems = [problem for problem in map(find_login_problem, logins) if problem]
    if problems or not logins:
        raise SystemExit(
            "Flower shows who called and where they went; it does not start without a login. "
            f"Set FLOWER_BASIC_AUTH=user:password: {problems[0] if problems else 'there is none'}."
        )
    return logins


def guard() -> None:
    """Have wrong logins slow down, and the metrics behind the login: Flower shows them to everybody."""
    brake, judge = Brake(), BaseHandler.get_current_user

    async def prepare(handler: BaseHandler) -> None:
        if "Authorization" in handler.request.headers:
            await brake.wait(handler.request.remote_ip or "")

    def get_current_user(handler: BaseHandler) -> Any:
        try:
            return judge(handler)
        except HTTPError:
            if "Authorization" in handler.request.headers:
                brake.note_wrong(handler.request.remote_ip or "")
            raise

    BaseHandler.prepare = prepare
    BaseHandler.get_current_user = get_current_user
    Metrics.get = authenticated(Metrics.get)
