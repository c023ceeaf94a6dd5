"""The worker's own look at the rules: what is on the queue is not trusted."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from transfer_tasks.intent.destination import NamedDestination
from transfer_tasks.outcome import Reason
from transfer_tasks.rules.caller_ids import find_strange_caller_id
from transfer_tasks.signature import SignatureInvalid, verify
from transfer_worker.delivery.pipeline import build_pipeline
from transfer_worker.errors import NotPermitted

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from transfer_tasks.intent import TransferIntent
    from transfer_tasks.rules.destination_rules import DestinationRules
    from transfer_tasks.signature import Key, Written


class TransferPolicy:
    """From an intent to what may be sent.

    Args:
        rules: The registry, and what is allowed besides.
        default_caller_id: Used where neither the intent nor the registry names one.
        caller_ids: What an intent may name besides that one and the registry's.
        verify_keys: Whose requests are carried out; without any, everybody's are.
    """

    def __init__(
        self,
        rules: DestinationRules,
        *,
        default_caller_id: str | None,
        caller_ids: Iterable[str] = (),
        verify_keys: Mapping[str, Key] | None = None,
    ) -> None:
        self._rules, self._default_caller_id = rules, default_caller_id
        listed = (entry.caller_id for entry in rules.registry.values())
        self._caller_ids = frozenset(filter(None, (*caller_ids, *listed, default_caller_id)))
        self._verify_keys = verify_keys

    def identify(self, written: Written) -> Key | None:
        """Return the key that has signed; None where nothing need be signed.

        Raises:
            NotPermitted: No key has signed this text.
        """
        if not self._verify_keys:
            return None
        try:
            return verify(written, self._verify_keys)
        except SignatureInvalid as error:
            raise NotPermitted(reason=Reason.SIGNATURE_INVALID, detail=str(error)) from error

    def route(self, intent: TransferIntent, *, key: Key | None = None) -> list[dict[str, Any]]:
        """Return the pipeline that carries the intent out.

        Args:
            intent: What is asked.
            key: Whose signature it bears.

        Raises:
            NotPermitted: The rules forbid it, to everybody or to this key; or the caller id is missing.
        """
        if key and key.names and not _is_for(intent, key.names):
            raise NotPermitted(
                reason=Reason.SIGNATURE_INVALID,
                detail=f"destination: the key {key.id} may ask for {', '.join(sorted(key.names))} only",
            )
        if objection := (
            self._rules.find_objection(intent) or find_strange_caller_id(intent, self._caller_ids)
        ):
            raise NotPermitted(
                reason=objection.reason,
                detail=f"{objection.field}: {objection.problem} (got {objection.value}). {objection.fix}",
            )
        destination = intent.destination
        listed = self._rules.registry[destination.name] if isinstance(destination, NamedDestination) else None
        return build_pipeline(intent, listed=listed, default_caller_id=self._default_caller_id)


def _is_for(intent: TransferIntent, names: frozenset[str]) -> bool:
    return isinstance(intent.destination, NamedDestination) and intent.destination.name in names
