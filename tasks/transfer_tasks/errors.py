"""What can go wrong on the side that asks, typed by what is known about the world.

::

    TransferTasksError
    ├── InvalidIntent           the request is wrong; nothing was queued; fix the named field
    │   └── UnsupportedSchemaVersion  it is written in a version that this side does not know
    ├── SettingsError           the configuration is wrong; every problem is listed
    ├── TransferInProgress      another transfer of this call stands in the way; nothing was queued
    ├── IdempotencyConflict     the same key or id came with other content; nothing was queued
    ├── PublishUnavailable      Redis can't be used; the request is NOT queued
    ├── PublishOutcomeUnknown   the answer was lost; submitting the same intent object again is safe
    ├── LedgerUnavailable       Redis can't be used; nothing is known about what was asked for
    ├── OutcomeTimeout          the outcome is not known yet; the transfer goes on
    ├── ConnectionTimeout       nobody has said yet whether somebody picked up
    └── TransferNotFound        no record has this id (or it is older than the retention)
"""

from __future__ import annotations


class TransferTasksError(Exception):
    """Root of everything that `transfer_tasks` raises."""


class InvalidIntent(TransferTasksError, ValueError):
    """The request is wrong, and nothing was queued.

    Attributes:
        field: The path of the field, e.g. ``destination.endpoints[0].number``.
        value: The value that was refused, masked.
        problem: What is wrong with it.
        fix: What to write instead.
    """

    def __init__(self, *, field: str, value: str, problem: str, fix: str) -> None:
        self.field, self.value, self.problem, self.fix = field, value, problem, fix
        super().__init__(f"{field}: {problem} (got {value}). {fix}")


class UnsupportedSchemaVersion(InvalidIntent):
    """The request is written in a schema version that this side does not know; nothing else was checked."""


class SettingsError(TransferTasksError):
    """The configuration is wrong; `problems` lists every fault, not just the first."""

    def __init__(self, problems: list[str]) -> None:
        self.problems = problems
        super().__init__("The settings are wrong:\n" + "\n".join(f"  - {problem}" for problem in problems))


class TransferInProgress(TransferTasksError):
    """Another transfer of the same call is open, or ended unknown and unresolved. Nothing was queued.

    Attributes:
        transfer_id: The transfer that stands in the way.
        state: Its state.
    """

    def __init__(self, *, call_id: str, transfer_id: str, state: str) -> None:
        self.call_id, self.transfer_id, self.state = call_id, transfer_id, state
        super().__init__(
            f"Call {call_id} already has transfer {transfer_id} ({state}) to another destination."
        )


class IdempotencyConflict(TransferTasksError):
    """The same `idempotency_key` or `transfer_id` was used before with other content. Nothing was queued.

    Attributes:
        idempotency_key: The key of the transfer that was there before.
        transfer_id: Its id.
    """

    def __init__(self, *, idempotency_key: str, transfer_id: str) -> None:
        self.idempotency_key, self.transfer_id = idempotency_key, transfer_id
        super().__init__(
            f"Idempotency key {idempotency_key!r} belongs to transfer {transfer_id}, whose content differs. "
            "Use a new key and a new transfer id for a new request."
        )


class PublishUnavailable(TransferTasksError):
    """Redis could not be used within the time budget; the request is certainly not queued."""

    def __init__(self, *, transfer_id: str, cause: str) -> None:
        self.transfer_id, self.cause = transfer_id, cause
        super().__init__(f"Transfer {transfer_id} was not queued: {cause}")


class PublishOutcomeUnknown(TransferTasksError):
    """The request was sent to Redis and the answer is lost: it may be queued.

    Submitting the same intent object again is safe: it carries its own `transfer_id`.
    """

    def __init__(self, *, transfer_id: str, cause: str) -> None:
        self.transfer_id, self.cause = transfer_id, cause
        super().__init__(
            f"Transfer {transfer_id} may or may not be queued: {cause}. Submit the same intent again."
        )


class LedgerUnavailable(TransferTasksError):
    """Redis could not be used within the time budget. Every step is safe to repeat.

    Attributes:
        cause: What Redis, or the network, said.
        may_have_happened: Whether the step was sent and only its answer is missing.
    """

    def __init__(self, cause: str, *, may_have_happened: bool = True) -> None:
        self.cause, self.may_have_happened = cause, may_have_happened
        super().__init__(f"The ledger can't be used: {cause}")


class OutcomeTimeout(TransferTasksError, TimeoutError):
    """The transfer has not ended within the time the caller gave; it goes on.

    Attributes:
        state: Where it stood when it was looked at last.
        was_read: Whether its record could be read at all in that time.
    """

    def __init__(self, *, transfer_id: str, state: str, waited_seconds: float, was_read: bool = True) -> None:
        self.transfer_id, self.state, self.waited_seconds = transfer_id, state, waited_seconds
        self.was_read = was_read
        super().__init__(f"Transfer {transfer_id} is still {state} after {waited_seconds:.1f} s.")


class ConnectionTimeout(TransferTasksError, TimeoutError):
    """Nobody has said within the time the caller gave whether somebody picked up; perhaps nobody ever will.

    Attributes:
        is_ringing: Whether it is said to ring.
    """

    def __init__(self, *, transfer_id: str, is_ringing: bool, waited_seconds: float) -> None:
        self.transfer_id, self.is_ringing, self.waited_seconds = transfer_id, is_ringing, waited_seconds
        seen = "is still ringing" if is_ringing else "has no word of a connection"
        super().__init__(f"Transfer {transfer_id} {seen} after {waited_seconds:.1f} s.")


class TransferNotFound(TransferTasksError, LookupError):
    """No record has this id: it was never accepted, or its retention is over."""

    def __init__(self, transfer_id: str) -> None:
        self.transfer_id = transfer_id
        super().__init__(f"No transfer {transfer_id} is on record.")
