"""The wheel and the source distribution: complete, nothing else in them, fit for an index."""

from __future__ import annotations

import re
import sys
import tarfile
import zipfile
from email import message_from_bytes
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from markdown_it import MarkdownIt

from support.installation import ROOT, run

if TYPE_CHECKING:
    from collections.abc import Iterator
    from email.message import Message

    from markdown_it.token import Token

PACKAGES = {"transfer_tasks": ROOT / "tasks", "transfer_worker": ROOT / "worker"}


@pytest.fixture(scope="module")
def wheel_files(wheel: Path) -> dict[str, bytes]:
    """Every file of the wheel."""
    with zipfile.ZipFile(wheel) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


@pytest.fixture(scope="module")
def metadata(wheel_files: dict[str, bytes]) -> Message:
    (found,) = [body for name, body in wheel_files.items() if name.endswith(".dist-info/METADATA")]
    return message_from_bytes(found)


@pytest.fixture(scope="module")
def page(metadata: Message) -> str:
    """What an index shows."""
    body = metadata.get_payload(decode=True)
    assert isinstance(body, bytes)
    return body.decode("utf-8")


def list_sources() -> dict[str, Path]:
    return {
        str(path.relative_to(folder)): path
        for package, folder in PACKAGES.items()
        for path in (folder / package).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }


def test_an_index_would_take_both(distributions: tuple[Path, Path]) -> None:
    run(sys.executable, "-m", "twine", "check", "--strict", *distributions)


def test_the_wheel_holds_every_file_of_the_packages_and_nothing_else(wheel_files: dict[str, bytes]) -> None:
    in_packages = {name: body for name, body in wheel_files.items() if ".dist-info/" not in name}

    assert in_packages == {name: path.read_bytes() for name, path in list_sources().items()}
    assert {".lua", ".py", ".typed"} <= {Path(name).suffix for name in in_packages}


def test_wheel_and_source_distribution_carry_the_licence(
    wheel_files: dict[str, bytes], distributions: tuple[Path, Path]
) -> None:
    licence = (ROOT / "LICENSE").read_bytes()
    assert [body for name, body in wheel_files.items() if name.endswith("licenses/LICENSE")] == [licence]
    with tarfile.open(distributions[1]) as archive:
        (name,) = [name for name in archive.getnames() if Path(name).name == "LICENSE"]
        packed = archive.extractfile(name)
        assert packed is not None
        assert packed.read() == licence


def test_no_link_of_the_index_page_is_relative(page: str) -> None:
    targets = list(find_targets(MarkdownIt("commonmark").enable("table").parse(page)))

    assert "https://piopiy.com" in targets
    assert [target for target in targets if not re.match(r"https?://|#", target)] == []


def test_the_index_page_says_what_the_readme_says(metadata: Message, page: str) -> None:
    readme = (ROOT / "README.md").read_text("utf-8")
    fences = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)

    assert metadata["Description-Content-Type"] == "text/markdown"
    assert fences.findall(page) == fences.findall(readme)
    assert len(page.splitlines()) == len(readme.splitlines())


def test_the_metadata_names_no_address_and_no_path_of_the_machine_that_built_it(metadata: Message) -> None:
    assert metadata["License-Expression"] == "MIT"
    for requirement in metadata.get_all("Requires-Dist", []):
        assert "@" not in requirement
    assert str(ROOT) not in metadata.as_string()


def find_targets(tokens: list[Token]) -> Iterator[str]:
    for token in tokens:
        for name in ("href", "src"):
            if target := token.attrGet(name):
                yield str(target)
        yield from find_targets(token.children or [])
