"""Reports in any order, and again at any time: rules for a machine that takes random steps in a ledger."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import hypothesis.strategies as st
from hypothesis.stateful import Bundle, rule

from support.ledger_invariants import CALLS, LedgerInvariants
from transfer_tasks.connection import ConnectionStatus, ReportSource, ReportVerdict
from transfer_tasks.outcome import Reason, State

if TYPE_CHECKING:
    from collections.abc import Callable

    from support.ledger_invariants import Seen
    from transfer_tasks.connection import ReportResult

RETRY = (State.CLAIMED, Reason.PLATFORM_UNAVAILABLE)
ENDINGS = (
    (State.SUBMITTED, Reason.ACCEPTED_BY_PLATFORM),
    (State.REJECTED, Reason.CALL_NOT_FOUND),
    (State.FAILED, Reason.PLATFORM_UNREACHABLE),
    (State.UNKNOWN, Reason.ANSWER_LOST),
    RETRY,
)
REQUESTS = st.sampled_from(["", "", "r-1", "r-2", "r-3"])
AT_THE_PLATFORM = {State.SENDING, State.SUBMITTED, State.UNKNOWN}

statuses = st.sampled_from(ConnectionStatus)
sources = st.sampled_from(ReportSource)
ring_times = st.sampled_from([0, 1000])


@dataclass(frozen=True)
class Told:
    """A report that was made.

    Attributes:
        ask: Makes it once more.
        about: What it names.
        status: What it says.
        source: Whose word it is.
        transfer_id: Whose it was; an empty text where nobody knew.
        days: How many days had passed.
    """

    ask: Callable[[], ReportResult]
    about: dict[str, str]
    status: ConnectionStatus
    source: ReportSource
    transfer_id: str
    days: int

    def is_said_by(self, seen: Seen) -> bool:
        """Whether a record says it still, or may be told again: it may have been taken back since."""
        may_be_there = seen.state in AT_THE_PLATFORM or seen.reason == Reason.NOT_TRANSFERRED
        if not may_be_there or (self.source.is_platform and not seen.reported):
            return False
        if self.about.get("request_id", seen.request_id) not in {"", seen.request_id}:
            return False
        said: dict[str, Any] = json.loads(seen.connection)
        if self.status is ConnectionStatus.QUEUED:
            return True
        if self.status is ConnectionStatus.RINGING:
            return bool(said)
        return self.status in {one.get("status") for one in [said, *said.get("contradictions", [])]}


class LedgerReports(LedgerInvariants):
    """What sources say of the transfers of a ledger.

    Attributes:
        days: How many days have passed.
    """

    transfers = Bundle("transfers")
    reports = Bundle("reports")
    days: int

    def step(self, name: str, act: Callable[[], Any]) -> Any:
        """Take a step and judge it."""
        raise NotImplementedError

    def send_another(
        self, call_id: str, destination: str, ending: tuple[State, Reason] | None, request_id: str
    ) -> Any:
        """Have another request of a call go out, if that is permitted."""
        raise NotImplementedError

    @rule(
        target=reports,
        call_id=st.sampled_from(["", *CALLS]),
        request_id=REQUESTS,
        status=statuses,
        source=sources,
        ring_seconds=ring_times,
    )
    def report(
        self,
        call_id: str,
        request_id: str,
        status: ConnectionStatus,
        source: ReportSource,
        ring_seconds: int,
    ) -> Told:
        about = {"call_id": call_id if call_id or request_id else CALLS[1], "request_id": request_id}
        return self.report_of(about, status, source, ring_seconds)

    @rule(
        target=reports,
        which=st.integers(0, 2),
        names_its_request=st.booleans(),
        status=statuses,
        source=sources,
        ring_seconds=ring_times,
    )
    def report_of_what_is_there(
        self,
        which: int,
        names_its_request: bool,
        status: ConnectionStatus,
        source: ReportSource,
        ring_seconds: int,
    ) -> Told:
        """The way to most that a report can bring about, which is rare at random."""
        there = [seen for seen in self.records() if seen.call_id and seen.state in AT_THE_PLATFORM]
        if not there:
            return self.report_of({"call_id": CALLS[0]}, status, source, ring_seconds)
        seen = there[which % len(there)]
        about = {"call_id": seen.call_id, "request_id": seen.request_id if names_its_request else ""}
        return self.report_of(about, status, source, ring_seconds)

    @rule(target=reports, transfer_id=transfers, status=statuses, source=sources, ring_seconds=ring_times)
    def report_of_what_is_named(
        self, transfer_id: str, status: ConnectionStatus, source: ReportSource, ring_seconds: int
    ) -> Told:
        return self.report_of({"transfer_id": transfer_id}, status, source, ring_seconds)

    @rule(told=reports)
    def repeat_what_was_reported_long_ago(self, told: Told) -> None:
        self.repeat(told)

    @rule(
        told=reports,
        destination=st.sampled_from(["support", "sales"]),
        ending=st.sampled_from([None, *ENDINGS]),
        request_id=REQUESTS,
    )
    def repeat_what_was_reported_when_another_request_is_out(
        self, told: Told, destination: str, ending: tuple[State, Reason] | None, request_id: str
    ) -> None:
        seen = self.before.get(told.transfer_id)
        self.send_another(seen.call_id if seen else CALLS[0], destination, ending, request_id)
        self.repeat(told)

    def repeat(self, told: Told) -> None:
        """Repeat a report: it is never taken for a word on another."""
        is_certain = (
            told.transfer_id != ""
            and told.days == self.days
            and told.is_said_by(self.before[told.transfer_id])
        )
        again = self.step("report", told.ask)
        if is_certain:
            assert again.transfer_id in {"", told.transfer_id}
            assert again.verdict not in {ReportVerdict.MATCHED, ReportVerdict.CONTRADICTION}

    def report_of(
        self, about: dict[str, Any], status: ConnectionStatus, source: ReportSource, ring_seconds: int
    ) -> Told:
        old, queued = self.before, self.client.lrange(self.bench.queue, 0, -1)
        ask = partial(self.bench.report, status, source=source, ring_seconds=ring_seconds, **about)
        result = self.step("report", ask)
        assert self.client.lrange(self.bench.queue, 0, -1) == queued, (
            "a report has put something on the queue"
        )
        for key, new in self.before.items():
            assert (new.attempt, new.token) == (old[key].attempt, old[key].token)
        if not source.is_platform and source is not ReportSource.OPERATOR:
            assert {key: seen.state for key, seen in old.items()} == {
                key: seen.state for key, seen in self.before.items()
            }
        told, kept = self.before, self.kept()
        again = self.step("report", ask)
        assert again.transfer_id == result.transfer_id
        stays = {ReportVerdict.UNMATCHED, ReportVerdict.REFUSED}
        assert again.verdict is (result.verdict if result.verdict in stays else ReportVerdict.REPEATED)
        assert (self.before, self.kept()) == (told, kept), "a report that came twice has changed something"
        transfer_id = "" if result.verdict in stays else result.transfer_id
        return Told(ask, about, status, source, transfer_id, self.days)

    def kept(self) -> list[Any]:
        """Return the reports of which nobody knows whose they are."""
        names: Any = sorted(self.client.keys(self.bench.keys.unmatched("*")))
        return [self.client.lrange(name, 0, -1) for name in names]
