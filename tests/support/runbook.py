"""The runbook's snippets: what they ask, what they show, and what of it differs from run to run."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

RUNBOOK: Final = Path(__file__).parents[2] / "docs" / "on-call.md"

_SNIPPET: Final = re.compile(
    r"<!-- scene: (?P<scene>[\w ]+) -->\n```console\n(?P<body>.*?)^```$", re.MULTILINE | re.DOTALL
)
_VOLATILE: Final = (
    (r"\d{4}-\d\d-\d\dT[\d:.]+(\+00:00)?", "TIME"),
    (r"\b\d\d:\d\d:\d\d(\.\d{3}\b| UTC)", "TIME"),
    (r"\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b", "ID"),
    (r"\b[0-9a-f]{8}\b(?=  )", "ID"),
    (r"@test/\d+-\w+", "@WORKER"),
    (r"/[^\n:]*/destinations\.toml", "destinations.toml"),
    (r"127\.0\.0\.1:\d+", "ADDRESS"),
    (r"\b\d+\.\d+\.\d+\b", "VERSION"),
    (r"(?<![\w.])\d+(\.\d+)? (s|ms|MiB)\b", r"N \2"),
    (r"_ms=\d+", "_ms=N"),
    (r"(last minute:?) \(?\d+", r"\1 N"),
    (r" +", " "),
)


@dataclass(frozen=True, slots=True)
class Snippet:
    """One block of the runbook: commands with `$ ` in front, and what they print."""

    scene: str
    text: str

    @property
    def commands(self) -> list[str]:
        """What is asked, in order."""
        return [line.removeprefix("$ ") for line in self.text.splitlines() if line.startswith("$ ")]


def read_snippets() -> list[Snippet]:
    """Return every block of the runbook that shows what a command prints."""
    return [Snippet(found["scene"], found["body"]) for found in _SNIPPET.finditer(RUNBOOK.read_text("utf-8"))]


def replace_snippet(old: Snippet, text: str) -> None:
    """Write what the commands print now into the runbook."""
    text = _keep_what_is_the_same(old.text, re.sub(r"/[^\n:]*/destinations\.toml", "destinations.toml", text))
    written = RUNBOOK.read_text("utf-8")
    head = f"<!-- scene: {old.scene} -->\n```console\n"
    block = f"{head}{old.text}```\n"
    assert written.count(block) == 1, f"not once in the runbook:\n{block}"
    RUNBOOK.write_text(written.replace(block, f"{head}{text}```\n"), "utf-8")


def _keep_what_is_the_same(old: str, new: str) -> str:
    """Return the new text with the old one's lines where they differ in nothing but what varies."""
    if without_what_varies(old) == without_what_varies(new):
        return old
    left = [(without_what_varies(line), line) for line in old.splitlines()]
    kept = []
    for line in new.splitlines():
        at = next((at for at, (same, _) in enumerate(left) if same == without_what_varies(line)), None)
        kept.append(line if at is None else left.pop(at)[1])
    return "".join(f"{line}\n" for line in kept)


def without_what_varies(text: str) -> str:
    """Return the text with times, ids, addresses and measurements replaced by their names."""
    for pattern, name in _VOLATILE:
        text = re.sub(pattern, name, text)
    return "\n".join(line.rstrip() for line in text.splitlines())


@dataclass(frozen=True, slots=True)
class Incident:
    """One row of the runbook's drill: what is wrong, what is typed first, and what is to be read then."""

    what: str
    command: str
    told: str

    def is_told_in(self, output: str) -> bool:
        """Whether somebody who reads the output learns of it; … in the row is anything within a line."""
        return re.search(".*".join(map(re.escape, self.told.split("…"))), output) is not None


def read_incidents() -> list[Incident]:
    """Return the rows of the runbook's drill."""
    rows = re.findall(r"^\| ([^`|]+) \| `([^`]+)` \| `([^`]+)` \|$", RUNBOOK.read_text("utf-8"), re.MULTILINE)
    return [Incident(*row) for row in rows]


def read_questions() -> dict[str, str]:
    """Return the runbook's questions that have a command beside them, and that command."""
    return dict(re.findall(r"^- \[([^]]+)\]\(#[^)]+\): `([^`]+)`$", RUNBOOK.read_text("utf-8"), re.MULTILINE))
