"""`call-transfer audit verify` on what real workers write: rotated, killed, restarted, edited."""

from __future__ import annotations

import gzip
import json
import os
import shutil
import signal
from typing import TYPE_CHECKING, Any

import pytest

from support import wait_until
from support.audit_trails import AUDIT_KEY, make_lines
from support.cluster import make_intent
from support.operating import COMMAND
from support.terminals import Terminal
from transfer_worker.audit.chain import Chain
from transfer_worker.audit.heads import read_heads

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from click.testing import Result

    from support.cluster import Cluster

pytestmark = pytest.mark.usefixtures("no_key_leaks")


@pytest.fixture
def file(cluster: Cluster, monkeypatch: pytest.MonkeyPatch, ask: object, tmp_path: Path) -> Path:
    """The workers' audit file; they and `ask` have its key."""
    path = tmp_path / "audit.jsonl"
    key = f"{AUDIT_KEY.id}:{AUDIT_KEY.secret}"
    cluster.environment |= {"TRANSFER_AUDIT_FILE": str(path), "TRANSFER_AUDIT_KEY": key}
    monkeypatch.setenv("TRANSFER_AUDIT_KEY", key)
    return path


def transfer(cluster: Cluster, file: Path, count: int = 3) -> None:
    """Have so many transfers carried out, and all their lines in the file, and acknowledged."""
    with cluster.publisher() as publisher:
        handles = [publisher.submit(make_intent()) for _ in range(count)]
        for handle in handles:
            handle.outcome()
    wait_for_lines(cluster)
    assert file.exists()


def wait_for_lines(cluster: Cluster) -> None:
    ledger = cluster.ledger()
    with ledger.client as client:

        def is_drained() -> bool:
            (group,) = client.xinfo_groups(ledger.keys.audit)
            last: Any = client.xrevrange(ledger.keys.audit, count=1)
            return not group["pending"] and group["last-delivered-id"] == last[0][0]

        wait_until(is_drained, 20, message="every line is in the file")


def verify(ask: Callable[..., Result], *arguments: object) -> dict[str, Any]:
    answer = ask("audit", "verify", "--json", *map(str, arguments))
    found: dict[str, Any] = json.loads(answer.stdout)
    assert answer.exit_code == (0 if found["intact"] else 1)
    return found


def kinds(found: dict[str, Any]) -> list[str]:
    return [fault["kind"] for fault in found["faults"]]


def test_through_restarts_rotations_and_kill_9_nothing_is_accused_and_the_counters_agree(
    cluster: Cluster, ask: Callable[..., Result], file: Path
) -> None:
    first = cluster.start_worker()
    other = cluster.start_worker()
    transfer(cluster, file)
    file.rename(file.with_name("audit.jsonl.1"))
    transfer(cluster, file)
    shutil.copyfile(file, file.with_name("audit.jsonl.2"))
    os.truncate(file, 0)
    transfer(cluster, file)
    first.send_signal(signal.SIGKILL)
    first.wait()
    with file.open("ab") as torn:  # what a write leaves that kill -9 has cut
        torn.write(b'{"timestamp": "2026-11-26T10:00')
    transfer(cluster, file)
    other.send_signal(signal.SIGTERM)
    other.wait()
    cluster.start_worker()
    transfer(cluster, file)
    old = file.with_name("audit.jsonl.1")
    old.with_suffix(".1.gz").write_bytes(gzip.compress(old.read_bytes()))
    old.unlink()

    found = verify(ask, "--complete", *file.parent.glob("audit.jsonl*"))

    assert found["faults"] == []
    assert len(found["chains"]) >= 2
    assert len(found["unfinished"]) == 1
    old.with_suffix(".1.gz").unlink()
    assert verify(ask, "--older-files-gone", *file.parent.glob("audit.jsonl*"))["faults"] == []
    assert "removed" in kinds(verify(ask, *file.parent.glob("audit.jsonl*")))
    assert "missing" in kinds(verify(ask, "--complete", *file.parent.glob("audit.jsonl*")))


def test_each_edit_of_a_live_workers_file_is_said_with_its_place(
    cluster: Cluster, ask: Callable[..., Result], file: Path
) -> None:
    cluster.start_worker()
    transfer(cluster, file)
    untouched = file.read_bytes().splitlines(keepends=True)
    edits = {
        "changed": [*untouched[:2], untouched[2].replace(b'"hop": 1', b'"hop": 2'), *untouched[3:]],
        "removed": [*untouched[:2], *untouched[3:]],
        "inserted": [*untouched[:3], untouched[2], *untouched[3:]],
        "swapped": [*untouched[:2], untouched[3], untouched[2], *untouched[4:]],
        "cut off": untouched[:-2],
    }
    for kind, lines in edits.items():
        file.write_bytes(b"".join(lines))
        (fault,) = verify(ask, file)["faults"]
        assert (fault["kind"], fault["file"]) == (kind, str(file))
        said = ask("audit", "verify", str(file))
        assert said.exit_code == 1
        assert f"{kind:<12} {file}:{fault['line']}: " in said.stdout
        assert said.stdout.endswith("1 fault.\n")
    file.write_bytes(b"")
    assert kinds(verify(ask, file)) == ["removed"]
    file.write_bytes(b"".join(untouched))
    said = ask("audit", "verify", str(file), str(file))  # named twice, read once
    assert said.stdout == f"{len(untouched)} lines of 1 chain: as they were written.\n"


def test_redis_and_the_heartbeat_know_where_the_chain_ends(
    cluster: Cluster, ask: Callable[..., Result], file: Path
) -> None:
    cluster.start_worker()
    transfer(cluster, file)
    ledger = cluster.ledger()
    with ledger.client as client:
        ((known,), unreadable) = read_heads(client, ledger.keys)
        assert (known.path, known.head.seq, unreadable) == (str(file), file.read_bytes().count(b"\n"), [])
        assert client.ttl(ledger.keys.audit_heads) > 399 * 24 * 3600

        def heartbeat_says_so() -> bool:
            (worker,) = json.loads(ask("status", "--json").stdout)["workers"]
            return (worker.get("audit_head") or {}).get("seq") == known.head.seq

        wait_until(heartbeat_says_so, message="the heartbeat has the head")
        file.write_bytes(b"".join(file.read_bytes().splitlines(keepends=True)[:-1]))
        client.delete(ledger.keys.audit_heads)
        assert kinds(verify(ask, file)) == ["cut off"], "by the heartbeat alone"
        client.hset(ledger.keys.audit_heads, known.head.chain, "junk")
        client.expire(ledger.keys.audit_heads, 60)
        assert "changed" in kinds(verify(ask, file))


def test_lines_go_on_where_redis_can_not_keep_the_head(cluster: Cluster, file: Path) -> None:
    ledger = cluster.ledger()
    with ledger.client as client:
        client.set(ledger.keys.audit_heads, "junk", ex=60)
        worker = cluster.start_worker()
        transfer(cluster, file)
        assert client.xpending(ledger.keys.audit, "audit-writers")["pending"] == 0
        events = [json.loads(line)["event_id"] for line in file.read_bytes().splitlines()]
        assert len(events) == len(set(events))
        assert worker.output().count("audit.heads_not_kept") == 1


def test_what_is_asked_wrongly_is_told(ask: Callable[..., Result], file: Path) -> None:
    assert ask("audit", "verify", str(file)).exit_code == 2
    assert f"FILE: {file} can't be read (No such file" in ask("audit", "verify", str(file)).stderr
    file.write_bytes(b"\x1f\x8bnothing")
    assert ask("audit", "verify", str(file)).exit_code == 2
    file.write_bytes(b"")
    for other in ("--offline", "--older-files-gone"):
        assert ask("audit", "verify", "--complete", other, str(file)).exit_code == 2
    assert ask("audit", "verify", "--offline", str(file), env={"TRANSFER_AUDIT_KEY": "short"}).exit_code == 2


def test_at_a_terminal_there_is_a_progress_bar_and_a_verdict(
    cluster: Cluster, file: Path, tmp_path: Path
) -> None:
    chain = Chain("w", key=AUDIT_KEY)
    file.write_bytes(chain.seal(make_lines(20_000))[0])
    env = {**os.environ, **cluster.environment, "TRANSFER_REDIS_URL": cluster.redis_url, "TERM": "xterm"}
    command = [*COMMAND, "audit", "verify", "--offline", file]
    with Terminal(command, env=env, cwd=tmp_path) as terminal:
        shown = terminal.wait_for("20,000 lines of 1 chain: as they were written.")
    assert "━" in shown
