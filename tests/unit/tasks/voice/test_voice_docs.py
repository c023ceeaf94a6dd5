"""docs/voice.md and docs/how-tos.md: their Python compiles, their example test passes, their proofs exist."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from transfer_tasks.testing.clock import run_on_fake_time
from transfer_tasks.voice.settings import VoiceSettings

ROOT = Path(__file__).parents[4]
VOICE = (ROOT / "docs" / "voice.md").read_text(encoding="utf-8")
HOW_TOS = (ROOT / "docs" / "how-tos.md").read_text(encoding="utf-8")
EXAMPLES = {"test_a_caller_is_told_when_nobody_answers", "test_a_caller_hears_that_nobody_knows"}
SNIPPETS = re.findall(r"```python\n(.*?)```", VOICE, re.DOTALL)


@pytest.mark.parametrize("snippet", SNIPPETS, ids=range(len(SNIPPETS)))
def test_every_snippet_compiles(snippet):
    compile(snippet, "docs/voice.md", "exec")


def test_the_wording_snippet_runs():
    (snippet,) = [each for each in SNIPPETS if "wording = Wording(" in each]
    names = {}
    exec(snippet, names)
    assert names["wording"].announcement("support") == "I'm putting you through to technical support."


def test_the_example_test_passes():
    (snippet,) = [each for each in SNIPPETS if "async def test_a_caller" in each]
    names = {}
    exec(snippet, names)
    run_on_fake_time(names["test_a_caller_is_told_when_nobody_answers"]())


def test_the_example_with_the_plugin_passes_in_a_folder_of_its_own(tmp_path):
    program = "".join(each for each in SNIPPETS if "def test_" in each)
    (tmp_path / "conftest.py").write_text('pytest_plugins = ["transfer_tasks.testing.plugin"]\n')
    (tmp_path / "test_agent.py").write_text(program.replace("async def test_", "async def _"))
    run = subprocess.run(
        [
            sys.executable,
            "-m",
            "pytest",
            "-q",
            "-p",
            "no:cacheprovider",
            "-p",
            "no:asyncio",
            "-W",
            "error",
            tmp_path,
        ],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
    )
    assert "1 passed" in run.stdout, run.stdout + run.stderr


def test_the_table_of_settings_has_each_with_its_default():
    inherited = set(VoiceSettings.__mro__[1].model_fields)
    own = {
        f"TRANSFER_{name.upper()}": field.default
        for name, field in VoiceSettings.model_fields.items()
        if name not in inherited
    }
    table = dict(re.findall(r"^\| `(TRANSFER_\w+)` \| (\S+) \|", VOICE, re.MULTILINE))
    assert table == {
        name: f"{default:g}" if isinstance(default, float) else str(default).lower()
        for name, default in own.items()
    }


def test_every_test_that_is_named_as_proof_exists():
    defined = set()
    for path in (ROOT / "tests").rglob("test_*.py"):
        defined |= set(re.findall(r"def (test_\w+)\(", path.read_text(encoding="utf-8")))
        defined.add(path.stem)
    named = set(re.findall(r"\b(test_\w+)", HOW_TOS + VOICE))
    assert named - defined - EXAMPLES == set()
