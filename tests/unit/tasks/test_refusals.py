"""docs/refusals.md and the code say the same: each row is a test."""

import ast
import json
import re
from pathlib import Path
from typing import NamedTuple

import pytest

from transfer_tasks.errors import InvalidIntent, SettingsError
from transfer_tasks.intent import TransferIntent
from transfer_tasks.refusals import REFUSALS
from transfer_tasks.registry.destinations import DestinationRegistry
from transfer_tasks.rules.destination_rules import DestinationRules
from transfer_tasks.rules.unlisted import UnlistedRules

DOCUMENT = Path(__file__).parents[3] / "docs" / "refusals.md"
VALID = {"call_id": "6f1c1f0e-5b0a-4d4e-9a51-0c9d6a3c2b11", "destination": "support"}


class Row(NamedTuple):
    field: str
    example: str
    value: str
    problem: str
    fix: str


def rows(text: str) -> list[Row]:
    lines = [line for line in text.splitlines() if line.startswith("| `")]
    found = []
    for line in lines:
        cells = [cell.strip().replace("\\|", "|") for cell in re.split(r"(?<!\\)\|", line)[1:-1]]
        field, example, value, problem, fix = cells
        found.append(Row(field.strip("`"), example.strip("`"), value, problem, fix))
    return found


class Builder:
    """What a caller may hand over instead of a pipeline."""

    def build(self):
        return 1 / 0


def expanded(value):
    if value == "<a builder that raises>":
        return Builder()
    if isinstance(value, str):
        return re.sub(r"<(\d+) \u00d7 (.)>", lambda match: int(match[1]) * match[2], value)
    if isinstance(value, list):
        return [expanded(item) for item in value]
    if isinstance(value, dict):
        return {key: expanded(item) for key, item in value.items() if item != "<absent>"}
    return value


def read(example: str) -> TransferIntent:
    if example.count('"destination":') > 1:  # json.loads() drops one of them
        return TransferIntent.from_json(example)
    try:
        value = json.loads(example)
    except ValueError:
        try:
            value = ast.literal_eval(example)  # what JSON can't write, Python can
        except ValueError:
            return TransferIntent.from_json(example)
    return TransferIntent.from_dict(expanded({**VALID, **value}) if isinstance(value, dict) else value)


OF_THE_INTENT, OF_THE_REGISTRY, OF_THE_FILE = re.split(
    "## What the registry (?:says|file may not say)", DOCUMENT.read_text(encoding="utf-8")
)
ROWS = rows(OF_THE_INTENT)
FILE_ROWS = rows(OF_THE_FILE)
REGISTRY_ROWS = rows(OF_THE_REGISTRY)


@pytest.mark.parametrize("row", ROWS, ids=[f"{row.field}-{i}" for i, row in enumerate(ROWS)])
def test_a_refusal_reads_as_its_row_says(row):
    with pytest.raises(InvalidIntent) as refused:
        read(row.example)
    error = refused.value
    assert Row(error.field, row.example, error.value, error.problem, error.fix) == row


@pytest.mark.parametrize("row", REGISTRY_ROWS, ids=[row.example[:60] for row in REGISTRY_ROWS])
def test_the_registry_refuses_as_its_row_says(row):
    example = DOCUMENT.parents[1] / "destinations.example.toml"
    rules = DestinationRules(DestinationRegistry.load(example), UnlistedRules())

    objection = rules.find_objection(read(row.example))

    assert Row(objection.field, row.example, objection.value, objection.problem, objection.fix) == row


@pytest.mark.parametrize("row", FILE_ROWS, ids=[row.example for row in FILE_ROWS])
@pytest.mark.parametrize("table", ["support", "limits"])
def test_a_registry_file_is_refused_as_its_row_says(row, table, tmp_path):
    path = tmp_path / "destinations.toml"
    described = 'description = "Support"\nendpoints = ["+1 202-555-0145"]\n'
    said = row.example if table == "support" else row.example.replace("limit", "requester")
    path.write_text(f"[{table}]\n{said}\n" + (described if table == "support" else f"[support]\n{described}"))

    with pytest.raises(SettingsError) as refused:
        DestinationRegistry.load(path)

    field = row.field if table == "support" else "requester"
    assert refused.value.problems == [
        f"{path}: [{table}] {field}: {row.problem} (got {row.value}). {row.fix}"
    ]


def test_every_refusal_has_a_row():
    def pattern(template):
        parts = re.split(r"\{\w+\}", template)
        return ".+".join(re.escape(part.replace("{{", "{").replace("}}", "}")) for part in parts)

    missing = [
        code
        for code, (problem, fix) in REFUSALS.items()
        if not any(
            re.fullmatch(pattern(problem), row.problem) and re.fullmatch(pattern(fix), row.fix)
            for row in (*ROWS, *FILE_ROWS)
        )
    ]
    assert missing == []


def test_every_template_can_be_filled_in():
    for code, refusal in REFUSALS.items():
        names = re.findall(r"(?<!\{)\{(\w+)\}", refusal.problem + refusal.fix)
        filled = refusal.filled(dict.fromkeys(names, 7))
        assert not re.search(r"\{\w+\}", filled.problem + filled.fix), code
