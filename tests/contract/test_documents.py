"""The documents as a site: no dead link or anchor, nothing from elsewhere; pages that name what there is."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from itertools import pairwise
from pathlib import Path

import pytest
from markdown import Markdown

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
ARCHITECTURE = (DOCS / "architecture.md").read_text("utf-8")
CONTRIBUTING = (ROOT / "CONTRIBUTING.md").read_text("utf-8")
CONFIGURATION = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
PAGES = [*sorted(ROOT.glob("*.md")), *sorted(DOCS.glob("*.md"))]
FENCED = re.compile(r"^```.*?^```", re.DOTALL | re.MULTILINE)


def links_of(page: Path) -> list[str]:
    text = FENCED.sub("", page.read_text("utf-8"))
    return re.findall(r"\]\((?!\w+:)([^)\s]+)\)", text)


def anchors_of(page: Path) -> set[str]:
    markdown = Markdown(extensions=["toc", "tables", "fenced_code"])
    return set(re.findall(r'id="([^"]+)"', markdown.convert(page.read_text("utf-8"))))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_leads_to_a_file_and_to_an_anchor_in_it(page):
    dead = []
    for link in links_of(page):
        path, _, anchor = link.partition("#")
        target = (page.parent / path) if path else page
        if not target.exists() or (anchor and anchor not in anchors_of(target)):
            dead.append(link)
    assert dead == []


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    folder = tmp_path_factory.mktemp("site")
    # Not --quiet: what is not logged is not counted as a warning either (MkDocs 1.6.1).
    built = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", folder],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert built.returncode == 0, built.stdout + built.stderr
    return folder


def test_the_site_is_built_without_a_warning_and_has_every_page(site):
    assert {page.stem for page in DOCS.glob("*.md")} <= {page.stem for page in site.glob("*.html")}


def test_the_site_loads_nothing_from_elsewhere(site):
    loaded = [
        (page.name, address)
        for page in site.rglob("*.html")
        for address in re.findall(
            r"<(?:script|link|img|iframe)\b[^>]*?(?:src|href)=\"((?:https?:)?//[^\"]+)",
            page.read_text("utf-8"),
        )
    ]
    loaded += [
        (sheet.name, address)
        for sheet in site.rglob("*.css")
        for address in re.findall(
            r"(?:url\(|@import )[\"']?((?:https?:)?//[^\"')]+)", sheet.read_text("utf-8")
        )
    ]
    assert loaded == []


def test_a_list_begins_after_a_blank_line_or_the_site_shows_a_paragraph():
    for page in DOCS.glob("*.md"):
        lines = FENCED.sub("", page.read_text("utf-8")).splitlines()
        glued = [
            line
            for before, line in pairwise(lines)
            if re.match(r"([-*]|\d+\.) ", line) and before and not re.match(r"(\s|[-*] |\d+\. )", before)
        ]
        assert glued == [], page.name


def layers_of(package: str) -> list[str]:
    (layers,) = (
        contract["layers"]
        for contract in CONFIGURATION["tool"]["importlinter"]["contracts"]
        if contract["type"] == "layers" and contract["containers"] == [package]
    )
    return [name for layer in layers for name in layer.split(" | ")]


@pytest.mark.parametrize("side", ["tasks", "worker"])
def test_the_architecture_page_lists_the_folders_in_the_order_that_lint_holds(side):
    package = f"transfer_{side}"
    (diagram,) = re.findall(rf"## {side}/{package}\n[^`]*```\n(.*?)```", ARCHITECTURE, re.DOTALL)
    listed = [line.split()[0] for line in diagram.splitlines()]
    assert listed == layers_of(package)
    there = {path.stem for path in (ROOT / side / package).iterdir() if path.suffix == ".py" or path.is_dir()}
    assert set(listed) == {name for name in there if name not in {"__init__", "__pycache__"}}


@pytest.mark.parametrize("text", [ARCHITECTURE, CONTRIBUTING], ids=["architecture", "contributing"])
def test_every_file_that_is_named_exists(text):
    packages = [
        ROOT,
        ROOT / "tasks/transfer_tasks",
        ROOT / "worker/transfer_worker",
        ROOT / "worker",
        ROOT / "tasks",
    ]
    named = set(re.findall(r"`([\w./-]+\.(?:py|lua|md|toml|json))`", text)) - {"destinations.toml"}
    named = {name for name in named if "NAME" not in name}
    homes = [
        *packages,
        *(folder for package in packages[1:3] for folder in package.iterdir() if folder.is_dir()),
    ]
    homes.append(ROOT / "tasks/transfer_tasks/ledger/scripts")
    assert sorted(name for name in named if not any((home / name).exists() for home in homes)) == []


def test_contributing_names_every_stage_and_no_other():
    from_table = re.findall(r"^\| `([\w-]+)` \|", CONTRIBUTING, re.MULTILINE)
    text = (ROOT / ".ci/stages.py").read_text("utf-8")
    stages = re.findall(r"^    \"([\w-]+)\": \[", text, re.MULTILINE)
    assert from_table == stages


def test_the_glossary_has_each_term_once_and_in_order():
    header, *terms = re.findall(r"^\| ([^|]+?) \| ", (DOCS / "glossary.md").read_text("utf-8"), re.MULTILINE)
    assert header == "Word"
    assert terms == sorted(set(terms), key=str.lower)
    assert len(terms) > 40
