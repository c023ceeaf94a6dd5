"""Celery's remote control: whoever looks is answered; what changes something is refused, or an operator's.

Any command is one PUBLISH away for whoever may write to Redis. Celery runs it by its name, whatever it does
(celery 5.7.0, worker/control.py; kombu 5.7.0, pidbox.py)::

    PUBLISH ─▶ kombu's Node.handle_message ─▶ dispatch ─▶ handle ─▶ celery's Panel[method](**arguments)
               ours: who is asked, and         kombu's:     ours: does it look?
               where the answer may go         the answer   else refused, or noted and obeyed
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, ClassVar, Final

from celery.app.control import Control
from celery.worker.state import revoked as revoked_ids
from kombu.pidbox import Mailbox, Node

from transfer_tasks.masking import mask_text
from transfer_worker.queue.transport import CONTROL_EXCHANGE

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

LOOKING: Final = frozenset(
    {
        "active", "active_queues", "clock", "conf", "ping", "query_task", "registered", "report", "reserved",
        "revoked", "scheduled", "stats",
        # Flower asks for it now and then; our workers send their events from the start.
        "enable_events",
    }
)  # fmt: skip
"""What is answered: it changes nothing. What is not here is refused, `hello` too: it brings revoked ids."""

CHANGING: Final = frozenset(
    {
        "add_consumer", "autoscale", "cancel_consumer", "disable_events", "pool_grow", "pool_restart",
        "pool_shrink", "rate_limit", "revoke", "shutdown", "terminate", "time_limit",
    }
)  # fmt: skip
"""What is obeyed where `TRANSFER_REMOTE_CONTROL=operator` says so."""

REPLY_EXCHANGE: Final = Mailbox.reply_exchange_fmt % CONTROL_EXCHANGE

_REVOKING: Final = frozenset({"revoke", "terminate"})
_SHOWN: Final = 200
_LOGIN: Final = re.compile(r"(://)[^/@\s]+@")
HIDDEN: Final = "********"
_KEPT_CHANGES: Final = 20

REFUSAL: Final = (
    "remote control only looks here. `call-transfer cancel`, `pause` and `status` are for operators; "
    "TRANSFER_REMOTE_CONTROL=operator at the workers lets Celery's commands through"
)


class GuardedNode(Node):
    """One worker's end of the remote control.

    Attributes:
        obeys_operators: Whether commands that change something are obeyed.
        on_command: Called with each command that does not only look: whether it is obeyed, its name, and what
            it is about.
        on_revoke: Called with each id that is revoked.
        on_change: Called with all that commands have changed in this process, when something was.
    """

    obeys_operators: ClassVar = False
    on_command: ClassVar[Callable[[bool, str, str], None]] = lambda *_: None
    on_revoke: ClassVar[Callable[[str], None]] = lambda _: None
    on_change: ClassVar[Callable[[list[str]], None]] = lambda _: None
    _changes: ClassVar[list[str]] = []

    def handle_message(self, body: Any, message: Any = None) -> Any:
        """Answer what is for us, and can be read.

        By kombu's `Node.handle_message` a message can choose workers by a regular expression, which may run
        for ever, and have the answer put on any queue.
        """
        if not isinstance(body, dict):
            body = {}
        destination = body.get("destination")
        if isinstance(destination, list) and destination and self.hostname not in destination:
            return None
        clock = message.headers.get("clock") if message else None
        if flaw := self._find_flaw(body, clock):
            self._note(False, body.get("method"), flaw)
            return None
        return super().handle_message(body, message)  # type: ignore[no-untyped-call]

    def _find_flaw(self, body: Mapping[str, Any], clock: object) -> str:
        reply_to = body.get("reply_to")
        if not isinstance(body.get("method"), str):
            return "a command without a name"
        if not isinstance(body.get("arguments") or {}, dict):
            return "arguments without names"
        if not isinstance(body.get("destination") or [], list):
            return "the workers are no list"
        if not isinstance(clock or 0, int):
            return "a clock that is no number"
        if body.get("pattern") or body.get("matcher"):
            return "workers are named here, not chosen by a pattern"
        if reply_to and (
            not isinstance(reply_to, dict)
            or reply_to.get("exchange") != REPLY_EXCHANGE
            or not isinstance(reply_to.get("routing_key"), str)
        ):
            return "the answer would go elsewhere than to who asks"
        return ""

    def handle(self, method: str, arguments: dict[str, Any] | None = None) -> Any:
        """Run a command that looks; note any other, and run it for operators alone.

        By kombu's `Node.handle`, whatever has a name is run.
        """
        if method in LOOKING:
            return hide_secrets(super().handle(method, arguments))  # type: ignore[no-untyped-call]
        about = _describe(arguments or {})
        is_obeyed = self.obeys_operators and method in CHANGING
        self._note(is_obeyed, method, about)
        if not is_obeyed:
            return {"error": REFUSAL}
        if method in _REVOKING:
            return self._revoke((arguments or {}).get("task_id"))
        reply = super().handle(method, arguments)  # type: ignore[no-untyped-call]
        if not (isinstance(reply, dict) and "error" in reply):
            self._changes.append(f"{method} {about}".strip()[:_SHOWN])
            del self._changes[:-_KEPT_CHANGES]
            GuardedNode.on_change(list(self._changes))
        return reply

    def _note(self, is_obeyed: bool, method: object, about: str) -> None:
        GuardedNode.on_command(is_obeyed, str(method)[:_SHOWN], about[:_SHOWN])

    def _revoke(self, ids: object) -> dict[str, str]:
        """Withdraw at once what has not been sent; what comes later under such an id ends likewise.

        Celery's `revoke` leaves it to the next delivery, and its `terminate` can't end a thread.
        """
        wanted = [ids] if isinstance(ids, str) else ids if isinstance(ids, list) else []
        named = [one for one in wanted if isinstance(one, str)]
        revoked_ids.update(named)
        for one in named:
            GuardedNode.on_revoke(one)
        return {"ok": f"{len(named)} revoked; the audit log says which of them were not sent yet"}


class GuardedMailbox(Mailbox):
    """Kombu's mailbox, whose nodes are ours."""

    node_cls = GuardedNode


class GuardedControl(Control):  # type: ignore[misc]  # Celery has no types
    """Celery's remote control, for the app's `control`."""

    Mailbox = GuardedMailbox


def hide_secrets(value: Any, name: str = "") -> Any:
    """Return an answer without what nobody is to read: Celery's `stats` and `conf` tell how Redis is reached.

    What stands under a name with "password" in it goes, and so does the login of an address.
    """
    if isinstance(value, dict):
        return {one: hide_secrets(item, str(one)) for one, item in value.items()}
    if isinstance(value, list | tuple):
        return [hide_secrets(item, name) for item in value]
    if value and "password" in name.lower():
        return HIDDEN
    return _LOGIN.sub(rf"\1{HIDDEN}@", value) if isinstance(value, str) else value


def _describe(arguments: Mapping[str, Any]) -> str:
    return mask_text(", ".join(f"{name}={value}" for name, value in arguments.items() if value is not None))
