"""The audit file among its writers: whoever holds it, whatever moves or empties it."""

from __future__ import annotations

import fcntl
import json
import os
from typing import TYPE_CHECKING

import pytest

from support.audit_trails import AUDIT_KEY, make_lines, verify
from transfer_worker.audit import file as audit_file
from transfer_worker.audit.chain import Chain
from transfer_worker.audit.file import AuditFile

if TYPE_CHECKING:
    from pathlib import Path


def open_file(path: Path, writer: str = "w") -> AuditFile:
    return AuditFile(path, chain=Chain(writer, key=AUDIT_KEY))


def test_who_holds_the_file_for_too_long_holds_nobody_up(tmp_path, monkeypatch):
    monkeypatch.setattr(audit_file, "LOCK_SECONDS", 0.02)
    file = open_file(tmp_path / "audit.jsonl")
    file.append(make_lines(1))
    with (tmp_path / "audit.jsonl").open() as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        with pytest.raises(OSError, match="another process holds the audit file"):
            file.append(make_lines(1, since=1))
    file.append(make_lines(1, since=1))
    assert verify({"a": (tmp_path / "audit.jsonl").read_bytes()}).faults == []


def test_a_write_under_way_is_waited_for_and_not_taken_for_one_that_was_cut(tmp_path):
    path = tmp_path / "audit.jsonl"
    file = open_file(path)
    batch, _ = Chain("v", key=AUDIT_KEY).seal(make_lines(2))
    with path.open("ab", buffering=0) as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        other.write(batch[:100])

        class Finishing:
            """The other writer ends its write as soon as we have to wait for it."""

            def sleep(self, _: float) -> None:
                other.write(batch[100:])
                fcntl.flock(other, fcntl.LOCK_UN)

            def monotonic(self) -> float:
                return 0.0

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(audit_file, "time", Finishing())
            file.append(make_lines(1, since=2))
    found = verify({"a": path.read_bytes()})
    assert (found.faults, found.unfinished, found.lines) == ([], [], 3)


@pytest.mark.parametrize("how", ["renamed", "removed", "replaced"])
def test_a_file_that_was_moved_away_is_left_with_the_next_line(tmp_path, how):
    path = tmp_path / "audit.jsonl"
    file = open_file(path)
    file.append(make_lines(1))
    if how == "renamed":
        path.rename(tmp_path / "audit.jsonl.1")
    else:
        path.unlink()
    if how == "replaced":
        path.touch()
    file.append(make_lines(1, since=1))
    (line,) = path.read_text().splitlines()
    assert (json.loads(line)["seq"], path.stat().st_mode & 0o777) == (2, 0o600)
    assert "before" in json.loads(line), "it can be judged alone"


def test_an_emptied_file_is_seen_though_others_have_filled_it_beyond_our_place(tmp_path):
    path = tmp_path / "audit.jsonl"
    ours, others = open_file(path), open_file(path, "v")
    ours.append(make_lines(1))
    os.truncate(path, 0)
    others.append(make_lines(5, since=1))
    ours.append(make_lines(1, since=6))
    assert "before" in json.loads(path.read_text().splitlines()[-1])
    ours.append(make_lines(1, since=7))
    assert "before" not in json.loads(path.read_text().splitlines()[-1])


def test_fields_that_look_like_a_seal_are_left_out_of_a_line(tmp_path):
    path = tmp_path / "audit.jsonl"
    open_file(path).append([{**make_lines(1)[0], "mac": "0" * 32, "seq": 9, "chain": "x", "torn": "1:"}])
    found = verify({"a": path.read_bytes()})
    assert (found.faults, found.chains) == ([], {"w/1": 1})
