"""The audit outbox on a real Redis: every line once, whoever shares the file; dead readers are forgotten."""

from __future__ import annotations

import json
import threading
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest

from support import wait_until
from support.ledger_bench import LedgerBench
from transfer_tasks.ledger.keys import Keys
from transfer_tasks.ledger.ledger import Ledger
from transfer_tasks.redis.connection import connect
from transfer_worker.audit import writer as audit_writer
from transfer_worker.audit.chain import Chain
from transfer_worker.audit.file import AuditFile
from transfer_worker.audit.logs import Redaction
from transfer_worker.audit.outbox import GROUP, follow, read_lines
from transfer_worker.audit.writer import AuditWriter
from transfer_worker.ledger.steps import LedgerSteps

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import redis

KEYS = Keys()


class Log:
    def __init__(self) -> None:
        self.lines: list[str] = []
        self.is_broken = False
        self.notices = Notices()

    def info(self, event: str, **fields: Any) -> None:
        if self.is_broken:
            raise OSError(28, "No space left on device")
        self.lines.append(fields["event_id"])

    warning = error = info


class Notices:
    """What a writer says of itself."""

    def __init__(self) -> None:
        self.said: list[str] = []

    def info(self, event: str, **_: object) -> None:
        self.said.append(event)

    error = exception = info


def add_lines(client: redis.Redis, count: int, *, text: str = "x") -> None:
    for number in range(count):
        client.xadd(
            KEYS.audit,
            {"event": "transfer.accepted", "at_ms": 1, "transfer_id": str(number), "call_id": "c", "key": "k",
             "hop": 1, "attempt": 0, "labels": "{}", "data": json.dumps({"asked": text})},
        )  # fmt: skip


def start_writer(redis_url: str, name: str, *, file: Path | None = None) -> tuple[AuditWriter, Log]:
    log = Log()
    client = connect(redis_url, timeout_seconds=3)
    steps = LedgerSteps(
        Ledger(client, retention_seconds=1000),
        worker=name,
        queue="transfers",
        repeat_window_seconds=30,
        settle_patience_seconds=1,
    )
    writer = AuditWriter(
        client,
        keys=KEYS,
        worker=name,
        lines=log,
        log=log.notices,
        clean=Redaction([]).clean,
        set_aside=steps.set_line_aside,
        file=AuditFile(file, chain=Chain(name)) if file else None,
    )
    STARTED.append(writer)
    writer.start()
    wait_until(lambda: client.exists(KEYS.audit), message="the writers' group is made")
    return writer, log


STARTED: list[AuditWriter] = []


@pytest.fixture(autouse=True)
def _no_writer_outlives_its_test() -> Iterator[None]:
    yield
    while STARTED:
        STARTED.pop().stop(within_seconds=5)


def test_workers_that_share_a_file_write_every_line_once_and_whole(
    redis_url: str, redis_client: redis.Redis, tmp_path: Path
) -> None:
    file = tmp_path / "outbox.jsonl"
    add_lines(redis_client, 1000, text="y" * 500)

    writers = [start_writer(redis_url, f"w{number}", file=file) for number in range(3)]
    wait_until(lambda: sum(len(log.lines) for _, log in writers) == 1000, message="all lines are logged")
    for writer, _ in writers:
        writer.stop(within_seconds=5)

    written = [json.loads(line)["event_id"] for line in file.read_text().splitlines()]
    assert len(written) == len(set(written)) == 1000
    assert redis_client.xpending(KEYS.audit, GROUP)["pending"] == 0
    assert redis_client.xinfo_consumers(KEYS.audit, GROUP) == []


def test_lines_that_a_dead_reader_held_are_adopted_and_the_reader_is_forgotten(
    redis_url: str, redis_client: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(audit_writer, "ADOPT_AFTER_SECONDS", 0.2)
    monkeypatch.setattr(audit_writer, "FORGET_AFTER_SECONDS", 0.3)
    add_lines(redis_client, 5)
    redis_client.xgroup_create(KEYS.audit, GROUP, id="0")
    redis_client.xreadgroup(GROUP, "dead", {KEYS.audit: ">"})

    writer, log = start_writer(redis_url, "alive")
    wait_until(lambda: len(log.lines) == 5, message="the lines are adopted")

    def names() -> set[bytes]:
        return {consumer["name"] for consumer in redis_client.xinfo_consumers(KEYS.audit, GROUP)}

    wait_until(lambda: b"dead" not in names(), message="the dead reader is forgotten")
    writer.stop(within_seconds=5)


def test_who_follows_takes_nothing_from_the_writers(redis_url: str, redis_client: redis.Redis) -> None:
    add_lines(redis_client, 3)
    stop = threading.Event()
    seen = []
    for line in follow(connect(redis_url, timeout_seconds=3), keys=KEYS, stop=stop, since="0"):
        seen.append(line["event_id"])
        if len(seen) == 3:
            stop.set()

    writer, log = start_writer(redis_url, "w")
    wait_until(lambda: len(log.lines) == 3, message="the writer has them all")
    writer.stop(within_seconds=5)
    assert log.lines == seen


# --- a file that takes nothing


def written(file: Path) -> list[str]:
    *whole, _ = file.read_text().split(
        "\n"
    )  # who reads while somebody writes may find the last one half there
    return [json.loads(line)["event_id"] for line in whole]


def ids(client: redis.Redis) -> list[str]:
    entries: Any = client.xrange(KEYS.audit)
    return [event_id.decode() for event_id, _ in entries]


@pytest.fixture
def disk(tmp_path: Path) -> Path:
    """A name for the audit file; `/dev/full` while the disk is full."""
    path = tmp_path / "audit.jsonl"
    path.symlink_to("/dev/full")
    return path


def test_stdout_gets_each_line_once_while_the_disk_is_full_and_the_file_gets_them_all_when_there_is_room(
    redis_url: str, redis_client: redis.Redis, disk: Path
) -> None:
    add_lines(redis_client, 500)

    writer, log = start_writer(redis_url, "w", file=disk)
    wait_until(lambda: len(log.lines) == 500, 10, message="stdout has them all")
    add_lines(redis_client, 5)
    wait_until(lambda: len(log.lines) == 505, 10, message="stdout has what comes later, too")
    assert redis_client.xpending(KEYS.audit, GROUP)["pending"] == 505

    disk.unlink()
    wait_until(lambda: disk.exists() and len(written(disk)) == 505, 10, message="the file has them all")
    wait_until(lambda: not redis_client.xpending(KEYS.audit, GROUP)["pending"], 10)
    add_lines(redis_client, 1)
    wait_until(lambda: len(written(disk)) == 506, 10)
    writer.stop(within_seconds=5)

    assert sorted(written(disk)) == sorted(log.lines) == ids(redis_client)
    assert log.notices.said == ["audit.file_failed", "audit.file_works_again"]
    assert redis_client.xinfo_consumers(KEYS.audit, GROUP) == []


def test_a_full_redis_that_keeps_no_head_has_no_line_written_twice(
    redis_url: str, redis_client: redis.Redis, tmp_path: Path
) -> None:
    file = tmp_path / "audit.jsonl"
    writer, log = start_writer(redis_url, "w", file=file)
    wait_until(lambda: redis_client.xinfo_groups(KEYS.audit), message="the writers' group is made")
    try:
        with redis_client.pipeline(transaction=True) as pipe:
            add_lines(pipe, 10)
            pipe.config_set("maxmemory", "1")
            pipe.execute()
        wait_until(lambda: len(written(file)) >= 10, message="the lines are in the file")
        wait_until(
            lambda: not redis_client.xpending(KEYS.audit, GROUP)["pending"], message="... and acknowledged"
        )
        assert not redis_client.exists(KEYS.audit_heads)
    finally:
        redis_client.config_set("maxmemory", "0")
    add_lines(redis_client, 1)
    wait_until(lambda: redis_client.exists(KEYS.audit_heads), message="there is room for the head again")
    writer.stop(within_seconds=5)
    assert written(file) == ids(redis_client)
    assert log.notices.said == ["audit.heads_not_kept"]


def test_heads_of_chains_that_nobody_asks_for_any_more_are_forgotten(
    redis_url: str, redis_client: redis.Redis, tmp_path: Path
) -> None:
    def head(chain: str, at: str) -> str:
        return json.dumps({"chain": chain, "seq": 1, "mac": "0" * 32, "at": at, "host": "h", "path": "/p"})

    recent = datetime.now(UTC).isoformat()
    heads = {"old": head("old", "2020-01-01T00:00:00+00:00"), "new": head("new", recent), "junk": "junk"}
    redis_client.hset(KEYS.audit_heads, mapping=heads)
    redis_client.expire(KEYS.audit_heads, 60)

    start_writer(redis_url, "w", file=tmp_path / "audit.jsonl")

    wait_until(lambda: not redis_client.hexists(KEYS.audit_heads, "old"), message="the old head is forgotten")
    assert set(redis_client.hkeys(KEYS.audit_heads)) == {b"new", b"junk"}


def test_a_worker_that_stops_on_a_full_disk_leaves_its_lines_to_one_whose_file_works(
    redis_url: str, redis_client: redis.Redis, disk: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(audit_writer, "ADOPT_AFTER_SECONDS", 0.2)
    add_lines(redis_client, 300)
    full, log = start_writer(redis_url, "full", file=disk)
    wait_until(lambda: len(log.lines) == 300, 10)
    full.stop(within_seconds=5)
    assert redis_client.xpending(KEYS.audit, GROUP)["pending"] == 300
    assert log.notices.said[-1] == "audit.lines_left_in_redis"

    successor, _ = start_writer(redis_url, "successor", file=tmp_path / "other.jsonl")
    wait_until(lambda: not redis_client.xpending(KEYS.audit, GROUP)["pending"], 10)
    successor.stop(within_seconds=5)
    assert sorted(written(tmp_path / "other.jsonl")) == ids(redis_client)


def test_a_worker_whose_disk_is_full_leaves_its_lines_to_one_whose_file_works_while_both_live(
    redis_url: str, redis_client: redis.Redis, disk: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(audit_writer, "ADOPT_AFTER_SECONDS", 0.5)
    monkeypatch.setattr(audit_writer, "RETRY_SECONDS", 0.05)
    add_lines(redis_client, 300)
    full, log = start_writer(redis_url, "full", file=disk)
    wait_until(lambda: len(log.lines) == 300, 10)
    other, _ = start_writer(redis_url, "other", file=tmp_path / "other.jsonl")
    wait_until(lambda: not redis_client.xpending(KEYS.audit, GROUP)["pending"], 10)
    full.stop(within_seconds=5)
    other.stop(within_seconds=5)
    assert sorted(written(tmp_path / "other.jsonl")) == ids(redis_client)


def test_without_a_file_a_line_that_stdout_does_not_take_is_kept(
    redis_url: str, redis_client: redis.Redis
) -> None:
    writer, log = start_writer(redis_url, "w")
    log.is_broken = True
    add_lines(redis_client, 3)
    wait_until(lambda: redis_client.xpending(KEYS.audit, GROUP)["pending"], 10)
    log.is_broken = False
    wait_until(lambda: not redis_client.xpending(KEYS.audit, GROUP)["pending"], 10)
    writer.stop(within_seconds=5)
    assert log.lines == ids(redis_client)


def test_a_file_has_its_lines_where_stdout_takes_none(
    redis_url: str, redis_client: redis.Redis, tmp_path: Path
) -> None:
    writer, log = start_writer(redis_url, "w", file=tmp_path / "audit.jsonl")
    log.is_broken = True
    add_lines(redis_client, 3)
    wait_until(lambda: len(written(tmp_path / "audit.jsonl")) == 3, 10)
    wait_until(lambda: not redis_client.xpending(KEYS.audit, GROUP)["pending"], 10)
    writer.stop(within_seconds=5)


# --- entries that are none of ours

GOOD: dict[str, Any] = {
    "event": "transfer.accepted", "at_ms": "1", "transfer_id": "t", "call_id": "c", "key": "k",
    "hop": "1", "attempt": "0", "labels": "{}", "data": "{}",
}  # fmt: skip
GOOD_LINE = [*GOOD.values()]
MALFORMED = {
    "a stranger's": {"x": "y"},
    "without its time": {name: value for name, value in GOOD.items() if name != "at_ms"},
    "a time that is none": {**GOOD, "at_ms": "soon"},
    "a time beyond all calendars": {**GOOD, "at_ms": "9" * 30},
    "a hop that is none": {**GOOD, "hop": "first"},
    "an attempt that is none": {**GOOD, "attempt": ""},
    "labels that are not JSON": {**GOOD, "labels": "{"},
    "labels that are a list": {**GOOD, "labels": "[[1, 2]]"},
    "data that is no object": {**GOOD, "data": "7"},
    "data that is nested": {**GOOD, "data": '{"a": {"b": 1}}'},
    "data without a bottom": {**GOOD, "data": "[" * 100_000},
    "a name that is no field's": {**GOOD, "data": '{"self": 1}'},
    "a number that is not JSON": {**GOOD, "data": '{"a": NaN}'},
    "bytes that are not UTF-8": {**GOOD, "data": b'{"\xff": 1}'},
    "a line that is not JSON": {"line": "["},
    "a line that is no list": {"line": '{"event": "x"}'},
    "a line that is too short": {"line": json.dumps(GOOD_LINE[:-1])},
    "a line with a number in it": {"line": json.dumps([*GOOD_LINE[:-1], 7])},
    "a line without its time": {"line": json.dumps(["x", "soon", "t", "c", "k", "1", "0", "{}", "{}"])},
    "a line whose data is no object": {"line": json.dumps([*GOOD_LINE[:-1], "7"])},
}


@pytest.mark.parametrize("kind", MALFORMED)
def test_a_malformed_entry_is_set_aside_counted_and_audited_and_the_next_line_is_written(
    redis_url: str, redis_client: redis.Redis, kind: str
) -> None:
    entry: Any = MALFORMED[kind]
    bad_id = redis_client.xadd(KEYS.audit, entry).decode()
    add_lines(redis_client, 2)

    writer, log = start_writer(redis_url, "w")
    wait_until(lambda: len(log.lines) == 3, 10, message="what is good is written, and that one was set aside")
    wait_until(lambda: not redis_client.xpending(KEYS.audit, GROUP)["pending"], 10)
    writer.stop(within_seconds=5)

    assert bad_id not in log.lines
    with connect(redis_url, timeout_seconds=10) as client:
        assert LedgerBench(client).counted("audit_set_aside") == 1
        last: Any = client.xrevrange(KEYS.audit, count=1)
    (kept,) = (json.loads(text) for text in redis_client.lrange(KEYS.quarantine, 0, -1))
    assert "an audit line that can't be read" in kept["why"]
    assert next(iter(entry)) in kept["element"]
    (told,) = read_lines(*last[0])
    assert (told["event"], told["entry"]) == ("audit.set_aside", bad_id)


def test_who_follows_sees_that_there_is_a_line_that_nobody_can_read(
    redis_url: str, redis_client: redis.Redis
) -> None:
    for entry in MALFORMED.values():
        redis_client.xadd(KEYS.audit, entry)  # type: ignore[arg-type]
    add_lines(redis_client, 1)
    stop = threading.Event()
    client = connect(redis_url, timeout_seconds=3)
    seen = []
    for line in follow(client, keys=KEYS, stop=stop, since="0"):
        seen.append(line["event"])
        if len(seen) > len(MALFORMED):
            stop.set()
    assert seen == ["unreadable"] * len(MALFORMED) + ["transfer.accepted"]


def test_a_fault_of_the_writer_itself_does_not_end_it(
    redis_url: str, redis_client: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    faults = iter([RuntimeError("never thought of")])
    read_lines = audit_writer.read_lines_for_file

    def stumble(event_id: str, fields: Any) -> list[dict[str, Any]]:
        if fault := next(faults, None):
            raise fault
        return read_lines(event_id, fields)

    monkeypatch.setattr(audit_writer, "read_lines_for_file", stumble)
    add_lines(redis_client, 2)
    writer, log = start_writer(redis_url, "w")
    wait_until(lambda: len(log.lines) == 2, 10)
    writer.stop(within_seconds=5)
    assert "audit.writer_failed" in log.notices.said


# --- the file itself


def test_the_file_is_its_owners_alone(tmp_path: Path) -> None:
    new, old = tmp_path / "new.jsonl", tmp_path / "old.jsonl"
    old.touch(0o644)
    for path in (new, old):
        AuditFile(path, chain=Chain("w")).append([{"a": 1}])
        assert path.stat().st_mode & 0o777 == 0o600


def test_a_line_that_a_full_disk_has_cut_does_not_spoil_the_next(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    path.write_text('{"a": 1}\n{"b": ')
    AuditFile(path, chain=Chain("w")).append([{"c": 3}])
    *before, line = path.read_text().splitlines()
    assert (before, json.loads(line)["c"]) == (['{"a": 1}', '{"b": '], 3)
