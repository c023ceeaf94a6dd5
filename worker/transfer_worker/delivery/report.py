"""What plain Celery reports of a connection: read, and believed as far as it is signed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import AwareDatetime, BaseModel, ConfigDict, ValidationError

from transfer_tasks.connection import ConnectionReason, ConnectionReport, ConnectionStatus, ReportSource
from transfer_tasks.intent.fields import Uuid
from transfer_tasks.masking import mask_text
from transfer_tasks.signature import SignatureInvalid, Written, verify
from transfer_worker.errors import ReportRefused

if TYPE_CHECKING:
    from collections.abc import Mapping

    from transfer_tasks.signature import Key


class _Report(BaseModel):
    model_config = ConfigDict(extra="forbid")

    call_id: Uuid | None = None
    transfer_id: Uuid | None = None
    request_id: str = ""
    status: ConnectionStatus
    reason: ConnectionReason | None = None
    caller_gone: bool = False
    source: ReportSource = ReportSource.SESSION
    at: AwareDatetime | None = None


def read_report(asked: object, signature: object, keys: Mapping[str, Key] | None) -> ConnectionReport:
    """Return what is reported.

    Args:
        asked: JSON in a text, or, where nothing need be signed, a mapping.
        signature: Of that text; anything that JSON can say.
        keys: Whose signature counts; the platform's word is believed of nobody else.

    Raises:
        ReportRefused: It can't be read, or claims a source that is not its own to claim.
    """
    try:
        said = _Report.model_validate_json(asked) if isinstance(asked, str) else _Report.model_validate(asked)
        report = ConnectionReport(
            call_id=said.call_id or "",
            transfer_id=said.transfer_id or "",
            request_id=said.request_id,
            status=said.status,
            reason=said.reason,
            caller_gone=said.caller_gone,
            source=said.source,
            at=said.at,
        )
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False, include_context=False)[0]
        where = mask_text(".".join(map(str, first["loc"]))[:80]) or "report"
        raise ReportRefused(f"{where}: {first['msg']}") from None
    except ValueError as error:
        raise ReportRefused(str(error)) from None
    if report.source is ReportSource.OPERATOR:
        raise ReportRefused("source: an engineer's word is given by call-transfer resolve, under a name")
    if report.source.is_platform or keys:
        _check_signature(asked, signature, keys)
    return report


def _check_signature(asked: object, signature: object, keys: Mapping[str, Key] | None) -> None:
    if not keys:
        raise ReportRefused("source: the platform's word counts where it is signed; see TRANSFER_VERIFY_KEYS")
    is_text = isinstance(asked, str) and isinstance(signature, str)
    try:
        verify(Written(str(asked), str(signature)) if is_text else Written(""), keys)
    except SignatureInvalid as error:
        raise ReportRefused(str(error)) from None
