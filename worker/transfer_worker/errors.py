"""What can go wrong on the side that acts, typed by what is known about the world.

::

    TransferWorkerError
    ├── AttemptError                what one HTTP request taught us (raised by the gateway)
    │   ├── NotCarriedOut           proven: the call was not moved          -> may be tried again
    │   ├── Refused                 proven: the platform will not move it   -> rejected
    │   └── OutcomeUnknown          the call may have been moved            -> unknown, never again
    ├── NotPermitted                the rules forbid it                 -> rejected
    ├── TransferEnded               how a transfer ended, for Celery and Flower (raised by the task)
    │   ├── TransferRejected
    │   ├── TransferFailed
    │   ├── TransferExpired
    │   ├── TransferCancelled
    │   ├── TransferUnknown
    │   └── TransferRepeated        the same was asked for before, and has not ended
    ├── ReportRefused               what is reported of a connection is not believed (raised by the task)
    ├── PreflightFailed             the worker must not start; every problem is listed
    └── OperationRefused                 what an engineer asked for can't be done; nothing has changed
        └── OperationMisused             ... because the command was written wrong
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from transfer_tasks.outcome import Reason


class TransferWorkerError(Exception):
    """Root of everything that `transfer_worker` raises."""


class AttemptError(TransferWorkerError):
    """What is known after one HTTP request that did not succeed.

    Attributes:
        reason: The closed reason that an outcome would carry.
        http_status: The answer's status, if an answer came.
        answer: The platform's whole answer, if one came (JSON value or text, capped by the gateway).
        detail: One line with the particulars, free of secrets and full numbers.
    """

    def __init__(
        self, *, reason: Reason, http_status: int | None = None, answer: Any = None, detail: str = ""
    ) -> None:
        self.reason, self.http_status, self.answer, self.detail = reason, http_status, answer, detail
        super().__init__(f"{reason.value}{f' (HTTP {http_status})' if http_status else ''} {detail}".rstrip())


class NotCarriedOut(AttemptError):
    """It is proven that the platform did not carry this request out.

    Attributes:
        retry_after_seconds: The platform's own wish, if it gave one.
    """

    def __init__(
        self,
        *,
        reason: Reason,
        http_status: int | None = None,
        answer: Any = None,
        detail: str = "",
        retry_after_seconds: float | None = None,
    ) -> None:
        self.retry_after_seconds = retry_after_seconds
        super().__init__(reason=reason, http_status=http_status, answer=answer, detail=detail)


class Refused(AttemptError):
    """The platform understood the request and will not carry it out; asking again is useless."""


class OutcomeUnknown(AttemptError):
    """The request may have been carried out; it must not be sent again."""


class NotPermitted(TransferWorkerError):
    """The rules don't let this call go there.

    Attributes:
        reason: The closed reason of the rejection.
        detail: The field and the fix, masked.
    """

    def __init__(self, *, reason: Reason, detail: str) -> None:
        self.reason, self.detail = reason, detail
        super().__init__(f"{reason.value}: {detail}")


class TransferEnded(TransferWorkerError):
    """A transfer ended in anything but `submitted`; the representation is what Flower shows."""

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self})"


class TransferRejected(TransferEnded):
    """Refused by the rules or by the platform."""


class TransferFailed(TransferEnded):
    """Not carried out, proven."""


class TransferExpired(TransferEnded):
    """The deadline passed before anything was sent."""


class TransferCancelled(TransferEnded):
    """Withdrawn before anything was sent."""


class TransferUnknown(TransferEnded):
    """It may have been carried out."""


class TransferRepeated(TransferEnded):
    """Not another transfer: the one that was asked for before is under way."""


class ReportRefused(TransferWorkerError):
    """What somebody reports of a connection can't be read, or is not believed; nothing has changed."""


class PreflightFailed(TransferWorkerError):
    """Something that must be true before the start is not; each problem carries its fix."""

    def __init__(self, problems: list[str]) -> None:
        self.problems = problems
        super().__init__("The worker can't start:\n" + "\n".join(f"  - {problem}" for problem in problems))


class OperationRefused(TransferWorkerError):
    """What an engineer asked for can't be done; nothing has changed.

    Attributes:
        field: The argument or option that stands in the way.
        problem: What is wrong with it.
        fix: What to do instead.
    """

    def __init__(self, *, field: str, problem: str, fix: str) -> None:
        self.field, self.problem, self.fix = field, problem, fix
        super().__init__(f"{field}: {problem}. {fix}")


class OperationMisused(OperationRefused):
    """The command itself is wrong: an argument is missing, or does not go with another."""
