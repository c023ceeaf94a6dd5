"""The image's Python packages are pinned by hash: complete, as tested, and without an address of an index."""

from __future__ import annotations

import re
import tomllib
from importlib import metadata
from pathlib import Path

import pytest
from packaging.utils import canonicalize_name

from support.requirements import follow_requirements

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "constraints" / "image"
DOCKERFILE = (ROOT / "Dockerfile").read_text("utf-8")
PYTHON = re.findall(r"^FROM python:(3\.\d+)", DOCKERFILE, re.MULTILINE)[0]
ARCHITECTURES = ("x86_64", "aarch64")
EXTRAS = ["worker", "webhooks"]
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
ENTRY = re.compile(r"([a-z0-9-]+)==([a-z0-9.]+)((?: \\\n    --hash=sha256:[0-9a-f]{64})+)\n")


def read_pins(name):
    """Return names and versions; fail on any line that is neither a comment nor a pin with its hashes."""
    lines = (FOLDER / name).read_text("utf-8").splitlines(keepends=True)
    text = "".join(line for line in lines if not line.startswith("#"))
    pins = {found[1]: found[2] for found in ENTRY.finditer(text)}
    assert ENTRY.sub("", text) == ""
    assert pins
    return pins


def list_requirements():
    found = {canonicalize_name(each.name): each.requires or [] for each in metadata.distributions()}
    project = PYPROJECT["project"]
    extras = [
        f"{requirement} ; extra == '{extra}'"
        for extra in EXTRAS
        for requirement in project["optional-dependencies"][extra]
    ]
    return found | {"call-transfer": [*project["dependencies"], *extras]}


def test_there_is_a_file_for_each_architecture_on_the_images_python_and_one_for_the_build():
    wanted = {f"python{PYTHON}-{architecture}.txt" for architecture in ARCHITECTURES} | {"build.txt"}
    assert {path.name for path in FOLDER.iterdir()} == wanted, "make constraints"


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_each_holds_all_that_the_worker_needs_there_and_nothing_else(architecture):
    machine = {
        "implementation_name": "cpython",
        "os_name": "posix",
        "platform_machine": architecture,
        "platform_python_implementation": "CPython",
        "platform_system": "Linux",
        "python_full_version": f"{PYTHON}.0",
        "python_version": PYTHON,
        "sys_platform": "linux",
    }
    needed = follow_requirements("call-transfer", EXTRAS, list_requirements(), machine)

    pins = read_pins(f"python{PYTHON}-{architecture}.txt")

    assert set(pins) == needed - {"call-transfer"}, "make constraints"


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_the_versions_are_those_that_the_tests_run_with(architecture):
    lines = (ROOT / "constraints" / "worker.txt").read_text("utf-8").splitlines()
    tested = dict(line.split("==") for line in lines if not line.startswith("#"))
    tested = {canonicalize_name(name): version for name, version in tested.items()}
    pins = read_pins(f"python{PYTHON}-{architecture}.txt")

    assert pins == {name: tested[name] for name in pins}, "make constraints"


def test_what_builds_the_wheel_is_pinned_too():
    pins = read_pins("build.txt")
    for requirement in PYPROJECT["build-system"]["requires"]:
        assert re.split(r"[<>=]", requirement)[0] in pins


def test_the_dockerfile_installs_by_hash_alone_and_its_own_wheel_without_dependencies():
    commands = re.findall(r"\S+/pip install (?:[^&\n\\]|\\\n)+", DOCKERFILE)
    assert len(commands) == DOCKERFILE.count("pip install") == 3
    *pinned, own = [" ".join(command.replace("\\\n", " ").split()) for command in commands]
    for command in pinned:
        assert "--require-hashes --only-binary :all: --requirement" in command
    assert f'"constraints/python{PYTHON}-$(uname -m).txt"' in pinned[1]
    assert "--no-deps --no-index /dist/" in own
