"""`doctor` tries the audit file as a worker does, and leaves nothing behind."""

from __future__ import annotations

import errno
import fcntl
import os
from types import SimpleNamespace

import pytest

from transfer_worker.operations.doctor import audit_file
from transfer_worker.operations.doctor.audit_file import check_audit_file
from transfer_worker.runtime.findings import Verdict


def check(path, **keys):
    return list(check_audit_file(SimpleNamespace(audit_file=path, load_audit_keys=lambda: keys)))


def test_without_an_audit_file_there_is_nothing_to_say():
    assert check(None) == []


def test_one_that_can_be_written_is_left_as_it_is(tmp_path):
    path = tmp_path / "audit.jsonl"
    path.write_text("{}\n")
    (found,) = check(path)
    assert (found.verdict, found.fix) == (Verdict.OK, "")
    assert path.read_text() == "{}\n"


def test_it_is_said_with_which_key_lines_are_sealed(tmp_path):
    assert "without a key (TRANSFER_AUDIT_KEY)" in check(tmp_path / "audit.jsonl")[0].seen
    assert "with the key new" in check(tmp_path / "audit.jsonl", new="...", old="...")[0].seen


def test_one_that_a_worker_would_make_is_not_made(tmp_path):
    (found,) = check(tmp_path / "audit.jsonl")
    assert found.verdict is Verdict.OK
    assert list(tmp_path.iterdir()) == []


def test_one_that_nobody_could_open_is_a_problem_with_its_cause(tmp_path):
    (tmp_path / "file").touch()
    causes = {
        tmp_path: "Is a directory",
        tmp_path / "missing" / "audit.jsonl": "No such file or directory",
        tmp_path / "file" / "audit.jsonl": "Not a directory",
    }
    for path, cause in causes.items():
        (found,) = check(path)
        assert (found.verdict, found.seen) == (Verdict.PROBLEM, f"{path}: {cause}")
        assert "TRANSFER_AUDIT_FILE" in found.fix


def test_a_file_system_without_locks_is_a_problem_and_a_worker_that_writes_is_none(tmp_path, monkeypatch):
    path = tmp_path / "audit.jsonl"
    path.touch()
    with path.open() as worker:
        fcntl.flock(worker, fcntl.LOCK_EX)
        assert check(path)[0].verdict is Verdict.OK

    def refuse(*_):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(audit_file.fcntl, "flock", refuse)
    assert check(path)[0].seen == f"{path}: No locks available"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_or_file_without_the_right_to_write_is_a_problem(tmp_path):
    path = tmp_path / "audit.jsonl"
    path.touch(mode=0o400)
    (found,) = check(path)
    assert found.seen == f"{path}: Permission denied"
    path.unlink()
    tmp_path.chmod(0o500)
    (found,) = check(path)
    assert found.verdict is Verdict.PROBLEM
    assert f"this user can't make it in {tmp_path}" in found.seen
    tmp_path.chmod(0o700)
