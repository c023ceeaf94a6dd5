"""`call-transfer` without its extra: one line that fixes it, and no bug hidden behind that line."""

from __future__ import annotations

import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path
from types import ModuleType

import pytest
from packaging.requirements import Requirement

from transfer_worker import __main__ as command

PROJECT = tomllib.loads((Path(__file__).parents[3] / "pyproject.toml").read_text())["project"]


def install_cli(monkeypatch, directory, source):
    """Put a `transfer_worker.cli` of our own in place of the real one."""
    monkeypatch.delitem(sys.modules, "transfer_worker.cli", raising=False)
    (directory / "cli.py").write_text(source)
    monkeypatch.setattr("transfer_worker.__path__", [str(directory)])


@pytest.fixture(autouse=True)
def _forget_the_cli_of_this_test():
    before = sys.modules.pop("transfer_worker.cli", None)
    yield
    sys.modules.pop("transfer_worker.cli", None)
    if before is not None:
        sys.modules["transfer_worker.cli"] = before


def test_the_app_of_the_command_line_is_run(monkeypatch):
    calls = []
    cli = ModuleType("transfer_worker.cli")
    cli.app = lambda: calls.append("run")
    monkeypatch.setitem(sys.modules, "transfer_worker.cli", cli)
    command.main()
    assert calls == ["run"]


@pytest.mark.parametrize("imported", ["typer", "celery.app", "piopiy_voice"])
def test_a_missing_package_of_the_extra_is_one_line_and_exit_code_2(monkeypatch, tmp_path, capsys, imported):
    install_cli(monkeypatch, tmp_path, f"import {imported}\n")
    for loaded in [name for name in sys.modules if name.partition(".")[0] == imported.partition(".")[0]]:
        monkeypatch.delitem(sys.modules, loaded)
    monkeypatch.setitem(sys.modules, imported.partition(".")[0], None)
    with pytest.raises(SystemExit) as ended:
        command.main()
    assert ended.value.code == 2
    assert capsys.readouterr().err == (
        'call-transfer: the command line needs the worker extra: pip install "call-transfer[worker]"\n'
    )


@pytest.mark.parametrize(
    "source",
    [
        "import typer.no_such_module",
        "from typer import no_such_name",
        "import transfer_worker.no_such_module",
        "import no_such_package",
    ],
)
def test_an_import_error_that_is_a_bug_is_not_hidden(monkeypatch, tmp_path, source):
    install_cli(monkeypatch, tmp_path, f"{source}\n")
    with pytest.raises(ImportError, match="no_such"):
        command.main()


def test_the_list_of_modules_is_that_of_the_extra():
    wanted = {Requirement(line).name for line in PROJECT["optional-dependencies"]["worker"]}
    provided = {
        module
        for module, distributions in packages_distributions().items()
        if wanted & set(distributions) and not module.startswith("_")
    }
    assert {module for module in provided if module.isidentifier()} == command.MODULES_OF_THE_EXTRA
