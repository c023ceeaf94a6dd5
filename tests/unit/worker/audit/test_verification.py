"""What is found in audit files: each kind of edit, where it is, and nothing where nobody edited."""

from __future__ import annotations

import gzip
import hashlib
import hmac
import json

import pytest

from support.audit_trails import AUDIT_KEY, OLDER_KEY, list_faults, make_lines, seal_lines, verify
from transfer_tasks.signature import Key
from transfer_worker.audit.chain import Chain, describe_torn, find_torn, read_seal

LINES, HEAD = seal_lines(9)
OTHERS, OTHER_HEAD = seal_lines(5, writer="v")


def find(lines, *, heads=(HEAD,), **options):
    return list_faults(verify({"a": b"".join(lines)}, heads=heads, **options))


def test_a_file_that_nobody_touched_is_intact():
    found = verify({"a": b"".join(LINES)}, heads=[HEAD])
    assert (found.faults, found.lines, found.chains, found.unfinished) == ([], 9, {"w/1": 9}, [])


def test_a_cut_off_end_is_not_found_where_redis_is_not_asked():
    assert find(LINES[:7], heads=[]) == []
    assert find(LINES[:7]) == [("cut off", "a", 7)]


def test_an_event_that_two_chains_have_is_no_fault():
    assert json.loads(LINES[2])["event_id"] == json.loads(OTHERS[2])["event_id"]
    assert find([*LINES, *OTHERS], heads=[HEAD, OTHER_HEAD]) == []


def test_chains_of_several_processes_lie_in_one_file_in_any_order():
    mixed = [line for pair in zip(LINES, OTHERS, strict=False) for line in pair] + LINES[5:]
    assert find(mixed, heads=[HEAD, OTHER_HEAD]) == []


def test_runs_of_a_chain_are_joined_over_files_in_any_order():
    files = {"new": b"".join(LINES[6:]), "old": b"".join(LINES[:3]), "between": b"".join(LINES[3:6])}
    assert verify(files, heads=[HEAD]).faults == []


def change(line: bytes) -> bytes:
    return line.replace(b"quotes", b"quotas")


def other_mac(line: bytes) -> bytes:
    return line[:-35] + (b"0" if line[-35:-34] != b"0" else b"1") + line[-34:]


@pytest.mark.parametrize("at", [0, 4, 8])
@pytest.mark.parametrize("edit", [change, other_mac])
def test_a_changed_line_is_found_and_no_other_is_accused(at, edit):
    assert find([*LINES[:at], edit(LINES[at]), *LINES[at + 1 :]]) == [("changed", "a", at + 1)]


def test_changed_lines_in_a_row_are_each_found():
    assert find([LINES[0], *map(change, LINES[1:4]), *LINES[4:]]) == [("changed", "a", n) for n in (2, 3, 4)]


def test_a_changed_first_line_of_the_next_file_is_found():
    files = {"a": b"".join(LINES[:4]), "b": b"".join([change(LINES[4]), *LINES[5:]])}
    assert list_faults(verify(files, heads=[HEAD])) == [("changed", "b", 1)]


def test_a_changed_last_line_of_the_file_before_is_found():
    files = {"a": b"".join([*LINES[:3], other_mac(LINES[3])]), "b": b"".join(LINES[4:])}
    assert list_faults(verify(files, heads=[HEAD])) == [("changed", "a", 4)]


@pytest.mark.parametrize(("first", "last"), [(0, 1), (3, 4), (3, 7)])
def test_removed_lines_are_found_where_they_are_missing(first, last):
    (fault,) = verify({"a": b"".join([*LINES[:first], *LINES[last:]])}, heads=[HEAD]).faults
    assert (fault.kind, fault.place) == ("removed", ("a", first + 1))
    assert (f"line {first + 1} " if last == first + 1 else f"lines {first + 1} to {last} ") in fault.text


@pytest.mark.parametrize("left", [8, 3])
def test_a_cut_off_end_is_found_by_the_head(left):
    assert find(LINES[:left]) == [("cut off", "a", left)]
    assert find(LINES[:left], heads=()) == [], "without the ledger nobody can know"


def test_a_line_that_a_worker_wrote_after_its_last_acknowledgement_is_no_fault():
    early = HEAD._replace(seq=5, mac=read_seal(LINES[4]).mac)
    assert find(LINES, heads=[early]) == []


def test_swapped_lines_are_found():
    assert find([*LINES[:3], LINES[4], LINES[3], *LINES[5:]]) == [("swapped", "a", 5)]
    assert find([*LINES[5:], *LINES[:5]]) == [("swapped", "a", 5)]


def test_a_line_that_is_there_twice_is_found():
    assert find([*LINES[:5], LINES[2], *LINES[5:]]) == [("inserted", "a", 6)]
    assert find([*LINES[:5], LINES[4], *LINES[5:]]) == [("inserted", "a", 6)]
    both = {"a": b"".join(LINES), "copy": b"".join(LINES[2:4])}
    assert list_faults(verify(both)) == [("inserted", "copy", 1)]


def test_a_forged_line_under_a_number_that_is_taken_is_inserted():
    assert find([*LINES[:4], change(LINES[4]), *LINES[4:]]) == [("inserted", "a", 5)]


@pytest.mark.parametrize(
    "forged", [b"\n", b'{"event": "transfer.accepted"}\n', b"\xff\n", b'{"timestamp": "x\n']
)
@pytest.mark.parametrize("at", [0, 4, 8])
def test_lines_without_a_seal_are_found(forged, at):
    assert find([*LINES[:at], forged, forged, *LINES[at:]]) == [("inserted", "a", at + 1)]


def test_a_line_of_another_key_or_of_none_is_no_line_of_ours():
    plain, _ = seal_lines(3, writer="x", key=None)
    strange, _ = seal_lines(3, writer="y", key=Key("audit-9", "z" * 32))
    same_name, _ = seal_lines(1, writer="z", key=Key("audit-1", "z" * 32))
    found = find([*LINES, *plain, *strange, *same_name])
    assert sorted(found) == [("changed", "a", 16), ("unknown key", "a", 13), ("without key", "a", 10)]
    assert find([*LINES, *plain], allows_plain=True) == []


def test_a_key_that_was_changed_is_still_known_by_its_old_lines():
    old, old_head = seal_lines(3, writer="x", key=OLDER_KEY)
    assert find([*old, *LINES], keys=[AUDIT_KEY, OLDER_KEY], heads=[HEAD, old_head]) == []


def test_without_a_key_who_makes_a_chain_anew_is_found_by_its_head():
    lines, head = seal_lines(5, key=None)
    forged = make_lines(5)
    forged[2]["asked"] = "nothing"
    anew, _ = Chain("w").seal(forged)
    assert find(lines, keys=(), heads=[head]) == []
    assert find([anew], keys=(), heads=[head]) == [("changed", "a", 5)]
    assert [kind for kind, _, _ in find([lines[0], change(lines[1]), *lines[2:]], keys=(), heads=[head])] == [
        "changed"
    ]


@pytest.mark.parametrize("name", ["\x1b[2J", "a\nb", "x" * 1000, "\u202e"])
def test_a_chain_is_called_what_may_be_shown_at_a_terminal(name):
    (forged,), _ = seal_lines(1, writer=name)
    found = verify({"a": b"".join([*LINES, forged])})
    assert (list_faults(found), list(found.chains)) == ([("inserted", "a", 10)], ["w/1"])


def test_without_a_key_a_line_that_is_sealed_anew_alone_does_not_fit_the_next():
    lines, head = seal_lines(5, key=None)
    covered = read_seal(change(lines[2])).covered
    anew = hashlib.sha256(read_seal(lines[1]).mac + covered).hexdigest()[:32].encode()
    forged = b'%b, "mac": "%b"}\n' % (covered, anew)
    assert find([*lines[:2], forged, *lines[3:]], keys=(), heads=[head]) == [("changed", "a", 4)]


def test_a_seal_is_what_any_language_computes():
    before = bytes(16)
    for line in LINES:
        covered, mac = line[:-45], line[-35:-3]
        digest = hmac.new(b"k" * 32, before + covered, hashlib.sha256).hexdigest()
        assert digest[:32].encode() == mac
        before = bytes.fromhex(mac.decode())


# --- what was cut by a full disk or kill -9


def torn_after(count: int) -> tuple[list[bytes], bytes]:
    """Return a file in which another process was killed while it wrote."""
    left = OTHERS[0][:70]
    chain = Chain("w", key=AUDIT_KEY)
    first, head = chain.seal(make_lines(count))
    chain.advance(head)
    rest, _ = chain.seal(make_lines(3, since=count), torn=left)
    return [*first.splitlines(keepends=True), left + b"\n", *rest.splitlines(keepends=True)], left


def test_what_a_killed_write_left_is_told_and_no_fault():
    lines, _ = torn_after(3)
    found = verify({"a": b"".join(lines)})
    assert (found.faults, found.unfinished) == ([], [("a", 4)])


def test_a_line_that_only_lost_its_line_break_is_a_line():
    whole = OTHERS[0][:-1]
    assert find_torn(LINES[0] + whole) == b""
    batch, head = Chain("w", key=AUDIT_KEY).seal(make_lines(2))
    found = verify({"a": whole + b"\n" + batch}, heads=[head])
    assert (found.faults, found.unfinished, found.lines) == ([], [], 3)


def test_what_was_cut_can_neither_be_changed_nor_removed_nor_made_longer():
    lines, left = torn_after(3)
    assert find([*lines[:3], left[:-1] + b"x\n", *lines[4:]], heads=()) == [
        ("inserted", "a", 4),
        ("changed", "a", 5),
    ]
    assert find([*lines[:3], *lines[4:]], heads=()) == [("changed", "a", 4)]
    assert find([*lines[:3], b"\n", *lines[3:]], heads=()) == [("inserted", "a", 4), ("changed", "a", 6)]
    assert find([*lines[:4], b"\n", *lines[4:]], heads=()) == [("inserted", "a", 4), ("changed", "a", 6)]


def test_writes_that_were_cut_one_after_the_other_are_told_together():
    left = OTHERS[0][:70] + b"\n" + OTHERS[1][:9]
    assert find_torn(LINES[0] + left) == left
    batch, head = Chain("w", key=AUDIT_KEY).seal(make_lines(2), torn=left)
    found = verify({"a": left + b"\n" + batch, "b": left}, heads=[head])
    assert (found.faults, found.unfinished) == ([], [("a", 1), ("a", 2), ("b", 1), ("b", 2)])


def test_an_unfinished_end_is_a_write_under_way_and_other_bytes_are_none():
    for cut in (LINES[5][:1], LINES[5][:9], LINES[5][:100], LINES[5][:-2], LINES[5][:-1]):
        found = verify({"a": b"".join(LINES[:5]) + cut})
        assert (found.faults, found.unfinished) == ([], [("a", 6)])
    for forged in (b"x", b'{"a": 1}', json.dumps(make_lines(1)[0]).encode()):
        assert find([*LINES, forged]) == [("inserted", "a", 10)]


def test_a_whole_record_does_not_become_genuine_because_a_worker_found_it_without_a_line_break():
    forged = json.dumps(make_lines(1)[0]).encode()
    batch, _ = Chain("w", key=AUDIT_KEY).seal(make_lines(2), torn=forged)
    assert describe_torn(forged).encode() in batch
    assert find([forged, b"\n", batch], heads=()) == [("inserted", "a", 1)]


# --- older files that are gone


def files_of_one_chain() -> list[bytes]:
    chain, files = Chain("w", key=AUDIT_KEY), []
    for number in range(3):
        batch, head = chain.seal(make_lines(3, since=3 * number), is_new_file=True)
        chain.advance(head)
        files.append(batch)
    return files


def test_older_files_may_be_gone_only_when_that_is_said():
    _, second, third = files_of_one_chain()
    assert list_faults(verify({"b": second, "c": third})) == [("removed", "b", 1)]
    assert verify({"b": second, "c": third}, may_begin_later=True).faults == []


def test_where_older_files_are_gone_the_beginning_of_the_oldest_can_neither_be_cut_off_nor_changed():
    _, second, third = files_of_one_chain()
    beheaded = b"".join(second.splitlines(keepends=True)[1:])
    assert list_faults(verify({"b": beheaded, "c": third}, may_begin_later=True)) == [("removed", "b", 1)]
    changed = second.replace(b"quotes", b"quotas", 1)
    kinds = {kind for kind, _, _ in list_faults(verify({"b": changed, "c": third}, may_begin_later=True))}
    assert "changed" in kinds


def test_a_file_between_that_is_gone_is_always_a_fault():
    first, _, third = files_of_one_chain()
    assert list_faults(verify({"a": first, "c": third}, may_begin_later=True)) == [("removed", "c", 1)]


# --- other files


def test_compressed_files_are_read_whatever_their_name():
    assert (
        verify({"a.1": gzip.compress(b"".join(LINES[:5])), "a": b"".join(LINES[5:])}, heads=[HEAD]).faults
        == []
    )


def test_a_damaged_compressed_file_is_no_verdict():
    whole = gzip.compress(b"".join(LINES))
    for damaged in (whole[:-20], whole[:40] + b"\0\0\0\0" + whole[44:]):
        with pytest.raises(OSError):
            verify({"a": damaged})


def test_many_edits_are_judged_in_no_more_than_their_number():
    lines, head = seal_lines(20_000)
    found = verify(
        {"a": b"".join(change(line) if n % 2 else line for n, line in enumerate(lines))}, heads=[head]
    )
    assert (found.fault_count, len(found.faults)) == (10_000, 1000)
