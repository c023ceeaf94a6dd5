"""Where piopiy-ai is missing or broken, the tool's import says so. What the tool does is in tests/voice."""

from __future__ import annotations

import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

import transfer_tasks

SITE_PACKAGES = Path(sysconfig.get_paths()["purelib"])


@pytest.fixture
def environment(tmp_path):
    """Everything that is installed here, except for the Piopiy packages."""
    for entry in SITE_PACKAGES.iterdir():
        if not entry.name.startswith("piopiy") and not entry.name.endswith(".pth"):
            (tmp_path / entry.name).symlink_to(entry)
    return tmp_path


def install(environment, distribution, version, *files):
    """Lay out what pip would have installed, as far as it can be seen from outside."""
    metadata = environment / f"{distribution.replace('-', '_')}-{version}.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: {version}\n")
    for name in files:
        path = environment / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def refused_import(environment):
    """Return what importing the tool says in that environment."""
    paths = [str(Path(transfer_tasks.__file__).parent.parent), str(environment)]
    code = f"import sys; sys.path += {paths!r}; import transfer_tasks.agent_tool"
    run = subprocess.run(
        [sys.executable, "-I", "-S", "-c", code], capture_output=True, text=True, check=False
    )
    assert run.returncode == 1, run.stderr
    last = run.stderr.strip().splitlines()[-1]
    assert last.startswith("ImportError: transfer_tasks.agent_tool needs piopiy-ai: "), run.stderr
    return last


def test_without_any_piopiy_package_it_says_what_to_install(environment):
    assert "is not installed. pip install 'call-transfer[agent]'" in refused_import(environment)


def test_in_a_workers_environment_it_says_that_this_is_the_wrong_one(environment):
    install(environment, "piopiy", "1.2.2", "piopiy/__init__.py")
    message = refused_import(environment)
    assert "holds Piopiy's REST SDK (piopiy 1.2.2), not piopiy-ai" in message
    assert "an environment each" in message


def test_with_both_packages_it_names_the_collision_though_the_import_might_work(environment):
    install(environment, "piopiy", "1.2.2")
    install(environment, "piopiy-ai", "0.6.1", "piopiy/__init__.py")
    assert "overwrite each other's files" in refused_import(environment)


def test_after_the_rest_sdk_was_uninstalled_it_says_that_a_file_is_gone(environment):
    install(environment, "piopiy-ai", "0.6.1", "piopiy/agent.py")
    message = refused_import(environment)
    assert "piopiy/__init__.py is gone" in message
    assert "--force-reinstall" in message
