"""Which Pythons are supported is said in one way: metadata, Makefile, linters and README agree."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[2]
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
MAKEFILE = (ROOT / "Makefile").read_text()
SUPPORTED = [
    found[1]
    for classifier in PYPROJECT["project"]["classifiers"]
    if (found := re.fullmatch(r"Programming Language :: Python :: (3\.\d+)", classifier))
]
OLDEST, NEWEST = SUPPORTED[0], SUPPORTED[-1]


def test_the_classifiers_are_a_range_without_gaps():
    assert [f"3.{minor}" for minor in range(11, 15)] == SUPPORTED


def test_the_oldest_is_what_pip_and_the_linters_know():
    assert PYPROJECT["project"]["requires-python"] == f">={OLDEST}"
    assert PYPROJECT["tool"]["ruff"]["target-version"] == f"py{OLDEST.replace('.', '')}"


def test_the_makefile_looks_for_all_of_them_and_refuses_what_is_older():
    names = re.search(r"foreach name,((?:python[\d.]+ ?)+),", MAKEFILE)
    assert names is not None
    assert names[1].split() == [*(f"python{version}" for version in SUPPORTED), "python3"]
    assert f"sys.version_info < ({OLDEST.replace('.', ', ')})" in MAKEFILE
    assert f"needs Python {OLDEST} or newer" in MAKEFILE


def test_readme_and_makefile_say_the_range():
    assert f"Python ({OLDEST} to {NEWEST})" in (ROOT / "README.md").read_text("utf-8")
    assert f"Python ({OLDEST} to {NEWEST})" in MAKEFILE
