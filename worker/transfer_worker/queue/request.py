"""How one message shows itself in Flower, to `celery inspect`, in Celery's log: masked, whoever sent it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, ClassVar, Final

from celery.worker.request import Request
from celery.worker.state import revoked as revoked_ids

from transfer_tasks.errors import InvalidIntent
from transfer_tasks.intent import TransferIntent
from transfer_tasks.masking import UUID_PATTERN, mask_text
from transfer_tasks.publisher.message import INTENT_HEADER, describe

if TYPE_CHECKING:
    from collections.abc import Mapping

    from transfer_tasks.registry.destinations import DestinationRegistry

REVOKED: Final = "is_revoked"
"""Under this name the task finds whether somebody has revoked its id by Celery's `revoke`."""

_NAMED: Final = "'destination': '"

_TRANSFER: Final = re.compile(UUID_PATTERN)
_CALL: Final = re.compile(rf"{{'call_id': '({UUID_PATTERN})'")


class MaskedRequest(Request):  # type: ignore[misc]  # Celery has no types
    """Set as the task's `Request`.

    Our own messages bring a masked description and no arguments (transfer_tasks.publisher.message). One that
    plain Celery or recovery wrote brings the intent itself, with full numbers: it is described here.

    Attributes:
        endpoints: Masked endpoints of each named destination; a publisher may not have the registry.
    """

    endpoints: ClassVar[Mapping[str, str]] = {}

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        # Read at the door; the pool need not read it again.
        self._body, self._content_type, self._content_encoding = self.message.payload, None, None
        shown = self._describe(self.args, self.kwargs or self._read_copy(), str(self.kwargsrepr))
        self._argsrepr, self._kwargsrepr = self._spell_ids(shown), shown
        self._request_dict.update(argsrepr=self._argsrepr, kwargsrepr=shown)

    def revoked(self) -> bool:
        """Never drop a message here; whoever carries it out learns of it, and says so on record.

        Celery's `Request.revoked` drops one whose id was revoked, or whose `expires` has passed, and nobody
        hears of the transfer again.
        """
        self._request_dict[REVOKED] = self.id in revoked_ids
        return False

    def _read_copy(self) -> dict[str, Any]:
        """Return the intent that recovery has sent along: it can't say what may be shown of it."""
        copy = self.message.headers.get(INTENT_HEADER)
        return {"intent": copy} if copy and not self.kwargsrepr else {}

    @classmethod
    def list_endpoints(cls, registry: DestinationRegistry) -> None:
        """Learn what the registry says of each name."""
        cls.endpoints = {
            name: ", ".join(endpoint.masked for endpoint in entry.endpoints)
            for name, entry in registry.items()
        }

    @classmethod
    def _describe(cls, arguments: Any, named: Any, shown: str) -> str:
        if arguments or named:
            asked = named.get("intent") if isinstance(named, dict) and not arguments else None
            try:
                intent = TransferIntent.from_elsewhere(asked)
            except InvalidIntent:
                return repr({"destination": "unreadable"})
            shown = repr({"call_id": intent.call_id, **describe(intent)})
        # What our publishers write begins with the call's id, which stays, and costs more than all the rest.
        call = _CALL.match(shown)
        begin = call.end() if call else 0
        shown = shown[:begin] + mask_text(shown[begin:])
        # A literal, so that Flower's search for kwargs:call_id=… finds it; taken apart it would cost more.
        head, is_named, name = shown.rpartition(_NAMED)
        if is_named and (listed := cls.endpoints.get(name.removesuffix("'}"))):
            return f"{head}{_NAMED}{name[:-1]}, 'to': {listed!r}}}"
        return shown

    def _spell_ids(self, shown: str) -> str:
        """Return transfer and call without dashes: Flower's search finds them in this spelling, too."""
        transfer, call = _TRANSFER.fullmatch(self.id), _CALL.match(shown)
        found = (transfer and transfer[0], call and call[1])
        return " ".join(name.replace("-", "") for name in found if name)

    def send_event(self, type: str, **fields: Any) -> None:  # noqa: A002 - the name is Celery's
        """Say how a failure ended where a success does, too; Celery's `Request.send_event` has another field.

        Flower 2.2.0 searches and sorts by `result`, never by `exception`.
        """
        if "exception" in fields:
            fields.setdefault("result", fields["exception"])
        super().send_event(type, **fields)

    def info(self, safe: bool = False) -> Any:
        """Describe this request to `celery inspect`; Celery's `Request.info` shows the arguments, too."""
        return super().info(safe=True)


class MaskedReport(MaskedRequest):
    """Set as the `Request` of the task that reports a connection."""

    @classmethod
    def _describe(cls, arguments: Any, named: Any, shown: str) -> str:
        """Show nothing of what anybody may have written; what came of it is the task's result."""
        return ""
