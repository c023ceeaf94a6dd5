"""The summary of a run, and the timeline of each transfer at fault."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime
from statistics import median, quantiles
from typing import TYPE_CHECKING, Any, Final

from chaos.history import Index
from chaos.recovery_times import measure_recoveries
from chaos.verdict import INVARIANTS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from chaos.history import History
    from chaos.verdict import Finding, Verdict

AROUND_MS: Final = 3000.0
MAX_TIMELINES: Final = 8


def summarize(history: History, verdict: Verdict) -> dict[str, Any]:
    """Return the numbers of a run as plain JSON values."""
    index = Index(history)
    records = history.records.values()
    recoveries = measure_recoveries(history, index)
    broken = Counter(finding.invariant for finding in verdict.findings)
    unknown = sum(verdict.unknown_because.values())
    unexplained = verdict.unknown_because["nothing we know of"]
    late_ms = [r.ended_at_ms - r.expires_at_ms for r in records if r.expires_at_ms]
    submits = [ask for ask in history.asks if ask.action == "submit"]
    return {
        "intents": len(records),
        "submissions": dict(Counter(ask.reply for ask in submits).most_common()),
        "cancels": dict(Counter(ask.reply for ask in history.asks if ask.action == "cancel").most_common()),
        "outcomes": dict(Counter(record.state.value for record in records).most_common()),
        "voice_sessions": len(history.voice_calls),
        "told_in_voice_sessions": dict(
            Counter(heard.text for heard in history.heard if heard.who == "model")
        ),
        "posts": len(history.posts),
        "carried_out": sum(post.carried_out for post in history.posts),
        "faults": dict(Counter(fault.kind for fault in history.faults).most_common()),
        "platform_faults": sum(post.behaviour != "ok" for post in history.posts),
        "proxy_in_front_of_the_platform": dict(history.middleman.most_common()),
        "lost": broken["ended"],
        "doubled": broken["doubled"] + broken["moved_once"],
        "unknown_expected": unknown - unexplained,
        "unknown_unexpected": unexplained,
        "unknown_because": dict(verdict.unknown_because.most_common()),
        "unknown_resolved": sum(line.event == "resolved" for line in history.lines),
        "connections_told_of": len(history.courses),
        "connections_on_record": dict(
            Counter(
                f"{record.connection.status} by {record.connection.source}"
                for record in records
                if record.connection
            ).most_common()
        ),
        "words_of_connections": dict(
            Counter(word for course in history.courses.values() for word in course.told).most_common()
        ),
        "platform_was_asked": sum(course.asked for course in history.courses.values()),
        "plain_celery": dict(Counter(ask.about for ask in history.asks if ask.action == "celery")),
        "sessions_of": dict(Counter(ask.who for ask in submits)),
        "neighbour_tasks": len(history.neighbour_tasks),
        "plain_celery_lost_before_acceptance": len(verdict.celery_lost_by),
        "requeued": dict(
            Counter(str(line.fields.get("why")) for line in history.lines if line.event == "requeued")
        ),
        "recovery_seconds": _spread([recovery.seconds for recovery in recoveries]),
        "recovery_seconds_undisturbed": _spread([r.seconds for r in recoveries if r.is_undisturbed]),
        "ended_after_deadline_seconds_max": round(max(late_ms, default=0) / 1000, 2),
        "slowest_submit_seconds": round(
            max((ask.answered_ms - ask.at_ms for ask in submits), default=0) / 1000, 2
        ),
        "machine_slow_times": _slowness(history),
        "audit_lines": len(history.lines),
        "audit_lines_written_twice": history.repeated_lines,
        "audit_lines_broken": history.broken_lines,
        "checked": dict(verdict.checked),
        "broken": dict(broken),
    }


def _slowness(history: History) -> dict[str, float]:
    seen = [beat.slowness for beat in history.beats]
    return {"mean": round(sum(seen) / len(seen), 2), "max": round(max(seen), 1)} if seen else {}


def _spread(seconds: list[float]) -> dict[str, float]:
    if not seconds:
        return {"count": 0}
    p99 = quantiles(seconds, n=100)[98] if len(seconds) > 1 else seconds[0]
    return {
        "count": len(seconds),
        "median": round(median(seconds), 2),
        "p99": round(min(p99, max(seconds)), 2),
        "max": round(max(seconds), 2),
    }


def format_summary(summary: dict[str, Any]) -> str:
    """Return the summary as text: the numbers, then every invariant with how often it was checked."""
    lines = []
    for name, value in summary.items():
        if name in {"checked", "broken"}:
            continue
        shown = (
            ", ".join(f"{key} {count}" for key, count in value.items()) if isinstance(value, dict) else value
        )
        lines.append(f"  {name.replace('_', ' '):<38} {shown if shown != '' else '-'}")
    lines.append("")
    for name, promise in INVARIANTS.items():
        broken = summary["broken"].get(name, 0)
        verdict = f"BROKEN {broken} times" if broken else "held"
        lines.append(f"  {verdict:<18} {summary['checked'].get(name, 0):>7} checks   {promise}")
    return "\n".join(lines)


def format_findings(history: History, findings: list[Finding]) -> str:
    """Return every finding, and the timeline of the first few transfers."""
    index = Index(history)
    lines = [f"{finding.invariant}: {finding.subject} {finding.text}" for finding in findings]
    for subject in list(dict.fromkeys(finding.subject for finding in findings))[:MAX_TIMELINES]:
        lines += ["", f"--- {subject}", *_timeline(history, index, subject)]
    return "\n".join(lines)


def _timeline(history: History, index: Index, subject: str) -> Iterator[str]:
    events = sorted(_events_of(history, index, subject))
    if not events:
        return
    since, until = events[0][0] - AROUND_MS, events[-1][0] + AROUND_MS
    for fault in history.faults_between(since, until):
        what = f"FAULT   {fault.kind} of {fault.target}"
        events.append((fault.begun_ms, f"{what} begins ({fault.seconds:.2f} s)"))
        if fault.seconds > 0.05 and fault.ended_ms <= until:
            events.append((fault.ended_ms, f"{what} ends"))
    for at_ms, text in sorted(events):
        moment = datetime.fromtimestamp(at_ms / 1000, UTC)
        yield f"{moment:%H:%M:%S}.{moment.microsecond // 1000:03} {text}"


def _events_of(history: History, index: Index, subject: str) -> Iterator[tuple[float, str]]:
    """Yield what happened in a call, which is named by its own id or by that of one of its transfers."""
    record = history.records.get(subject)
    call_id = record.call_id if record else next((a.call_id for a in index.asks[subject]), subject)
    family = {subject} | {one.transfer_id for one in index.calls.get(call_id, [])}
    for heard in history.heard:
        if heard.call_id == call_id:
            yield heard.at_ms, f"{heard.who:<7} {heard.word}: {heard.text}"
    for ask in history.asks:
        if ask.transfer_id in family or (call_id and ask.call_id == call_id):
            said = f"{ask.who} {ask.action} {ask.transfer_id[:8]} to {ask.to[-2:]}"
            yield ask.at_ms, f"session {said} …"
            yield ask.answered_ms, f"session {said}: {ask.reply} {ask.about}"
    for one in family:
        for line in index.lines.get(one, []):
            told = {"worker", "reason", "why", "state", "source", "http_status", "wait_ms", "previous_state"}
            shown = " ".join(f"{name}={line.fields[name]}" for name in sorted(told & line.fields.keys()))
            slot = history.slot_of(line.worker)
            yield line.at_ms, f"audit   {line.event} {one[:8]} attempt {line.attempt} {slot} {shown}"
        if one in history.records:
            found = history.records[one]
            yield found.expires_at_ms, f"ledger  deadline of {one[:8]}"
            for post in index.posts_of(found):
                moved = "carried out" if post.carried_out else "not carried out"
                yield post.at_ms, f"sandbox POST {one[:8]} to {post.to[-2:]}: {post.behaviour}, {moved}"
