"""Random kills, full disks, rotations, two writers: what is untouched is not accused, any edit is found."""

from __future__ import annotations

import gzip
import os
import shutil
import tempfile
from pathlib import Path

from hypothesis import given, note, settings
from hypothesis import strategies as st

from support.audit_trails import AUDIT_KEY, list_faults, make_lines, verify
from transfer_worker.audit.chain import Chain, read_seal
from transfer_worker.audit.file import AuditFile


class Trail:
    """Two writers that share a file, and what befalls it."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "audit.jsonl"
        self.writers: dict[int, AuditFile] = {}
        self.heads = {}
        self.written = self.starts = self.rotations = 0

    def writer(self, number: int) -> AuditFile:
        if number not in self.writers:
            self.starts += 1
            chain = Chain(f"w{number}/{self.starts}", key=AUDIT_KEY)
            self.writers[number] = AuditFile(self.path, chain=chain)
        return self.writers[number]

    def write(self, number: int, count: int, *, is_acknowledged: bool = True) -> None:
        file = self.writer(number)
        file.append(make_lines(count, since=self.written))
        self.written += count
        if is_acknowledged:
            self.heads[file.head.chain] = file.head

    def kill(self, number: int, count: int, share: float) -> None:
        """Kill a writer within a write, of which so much is in the file; its lines come again by another."""
        before = self.path.stat().st_size if self.path.exists() else 0
        self.write(number, count, is_acknowledged=False)
        size = self.path.stat().st_size
        before = min(before, size) if size >= before else 0
        os.truncate(self.path, before + round((size - before) * share))
        self.writers.pop(number).close()

    def fill_disk(self, number: int, count: int, share: float) -> None:
        """Let the file take only a part of a batch; the writer lives on, and writes the batch again."""
        write = os.write
        os.write = lambda descriptor, batch: write(descriptor, batch[: round(len(batch) * share)])
        try:
            self.write(number, count, is_acknowledged=False)
        except OSError:
            pass
        finally:
            os.write = write

    def rotate(self) -> Path:
        self.rotations += 1
        return self.path.with_name(f"audit.jsonl.{self.rotations}")

    def rename(self) -> None:
        if self.path.exists():
            self.path.rename(self.rotate())

    def copy_and_truncate(self) -> None:
        if self.path.exists():
            shutil.copyfile(self.path, self.rotate())
            os.truncate(self.path, 0)

    def read(self, *, is_compressed: bool) -> dict[str, bytes]:
        files = {file.name: file.read_bytes() for file in self.path.parent.iterdir()}
        if is_compressed:
            return {name: gzip.compress(text, 1) if "." in name[6:] else text for name, text in files.items()}
        return files


WRITERS = st.integers(0, 1)
COUNTS = st.integers(1, 4)
SHARES = st.floats(0, 1)
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("write"), WRITERS, COUNTS),
        st.tuples(st.just("kill"), WRITERS, COUNTS, SHARES),
        st.tuples(st.just("fill_disk"), WRITERS, COUNTS, SHARES),
        st.tuples(st.just("rename")),
        st.tuples(st.just("copy_and_truncate")),
    ),
    max_size=14,
)


def leave_trail(folder: str, steps) -> Trail:
    trail = Trail(Path(folder))
    for name, *arguments in steps:
        getattr(trail, name)(*arguments)
    for file in trail.writers.values():
        file.close()
    return trail


@given(STEPS, st.booleans(), st.integers(0, 3))
@settings(deadline=None)
def test_what_nobody_touched_is_not_accused(steps, is_compressed, gone):
    with tempfile.TemporaryDirectory() as folder:
        trail = leave_trail(folder, steps)
        files = trail.read(is_compressed=is_compressed)
        heads = list(trail.heads.values())
        found = verify(files, heads=heads)
        assert found.faults == []
        assert found.lines >= sum(head.seq for head in heads)

        rotated = sorted((name for name in files if name[11:]), key=lambda name: int(name[12:]))
        for name in rotated[:gone]:
            del files[name]
        assert verify(files, may_begin_later=True).faults == []


def list_places(files: dict[str, bytes]) -> list[tuple[str, int]]:
    return [(name, number) for name, text in sorted(files.items()) for number in range(text.count(b"\n"))]


def edit(files: dict[str, bytes], data) -> bool:
    """Edit a file at random, as somebody would who has no key; return whether anybody could know."""
    name, at = data.draw(st.sampled_from(list_places(files)))
    lines = files[name].splitlines(keepends=True)
    how = data.draw(st.sampled_from(["byte", "remove", "repeat", "forge", "swap", "move", "cut", "blank"]))
    before = list(lines)
    match how:
        case "byte":
            column = data.draw(st.integers(0, len(lines[at]) - 1))
            byte = data.draw(st.integers(0, 255).filter(lambda byte: byte != lines[at][column]))
            lines[at] = lines[at][:column] + bytes([byte]) + lines[at][column + 1 :]
        case "remove":
            del lines[at : at + data.draw(st.integers(1, 3))]
        case "repeat":
            lines.insert(data.draw(st.integers(0, at + 1)), lines[at])
        case "forge":
            lines.insert(at, Chain("forged").seal(make_lines(1))[0])
        case "blank":
            lines.insert(at, b"\n")
        case "swap" | "move":
            other = data.draw(st.integers(0, len(lines) - 1))
            lines.insert(other, lines.pop(at))
            if how == "swap":
                lines[at], lines[other] = lines[other], lines[at]
        case "cut":
            files[name] = b"".join(lines[: at + 1])[: -data.draw(st.integers(1, len(lines[at])))]
            return True
    note(f"{how} {name}:{at + 1}")
    files[name] = b"".join(lines)
    return lines != before


def read_order(files: dict[str, bytes]) -> dict[str, list[bytes]]:
    """Return the lines of each chain, in order of files; and what has no seal, with what stands around it."""
    order: dict[str, list[bytes]] = {}
    for name, text in files.items():
        before = b""
        for line in text.splitlines(keepends=True):
            seal = read_seal(line)
            if seal is None:
                order.setdefault("", []).append(line)
            else:
                order.setdefault(f"{name} {seal.chain}", []).append(line)
                if seal.torn:
                    order.setdefault("torn", []).append(before + line)
            before = line
    return order


def without_torn_ends(files: dict[str, bytes], untouched: dict[str, bytes]) -> dict[str, list[bytes]]:
    """Return each file's lines, but for what stands behind the last whole one where half a line was left."""
    kept = {}
    for name, text in files.items():
        lines = text.splitlines(keepends=True)
        left = untouched[name].splitlines(keepends=True)
        if left and read_seal(left[-1]) is None:
            while lines and read_seal(lines[-1]) is None:
                lines.pop()
        kept[name] = lines
    return kept


@given(STEPS, st.data())
@settings(deadline=None, max_examples=300)
def test_any_edit_is_found(steps, data):
    with tempfile.TemporaryDirectory() as folder:
        steps = [("write", 0, 3), *steps, ("write", 1, 3), ("write", 0, 2)]
        trail = leave_trail(folder, steps)
        files = trail.read(is_compressed=False)
        # What no writer was told that it is in the file may be gone: nobody has acknowledged it.
        heads = [*trail.heads.values()]
        known = {head.chain: head.seq for head in heads}
        untouched = dict(files)
        order = read_order(files)
        if not edit(files, data) or read_order(files) == order:
            return  # lines of two chains that changed places say the same
        if without_torn_ends(files, untouched) == without_torn_ends(untouched, untouched):
            return  # half a line more, where a killed writer has left one: it tells nothing
        found = verify(files, heads=heads)
        if not found.faults and not known.keys() - found.chains.keys():  # `audit verify` misses these chains
            lost = set(untouched_lines(untouched)) - set(untouched_lines(files))
            assert lost, "something was added or moved"
            assert all(is_beyond(line, known) for line in lost), list_faults(found)


def untouched_lines(files: dict[str, bytes]) -> list[bytes]:
    return [line for text in files.values() for line in text.splitlines(keepends=True)]


def is_beyond(line: bytes, known: dict[str, int]) -> bool:
    """Whether nobody has acknowledged this line, or it is none."""
    seal = read_seal(line)
    return seal is None or seal.seq > known.get(seal.chain, 0)
