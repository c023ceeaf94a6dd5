"""`import transfer_tasks`: all that most programs need, and nothing loaded before it is used."""

from __future__ import annotations

import subprocess
import sys

import pytest

import transfer_tasks
from transfer_tasks import errors


def test_every_name_at_the_front_door_is_the_one_behind_it():
    for name in transfer_tasks.__all__:
        found = getattr(transfer_tasks, name)
        assert found.__name__ == name
        assert found.__module__.startswith("transfer_tasks.")


def test_every_error_is_at_the_front_door():
    raised = {name for name, value in vars(errors).items() if isinstance(value, type)}
    assert raised <= set(transfer_tasks.__all__)


def test_what_is_not_there_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'no_such_name'"):
        _ = transfer_tasks.no_such_name


def test_importing_the_package_loads_nothing_else():
    code = (
        "import sys; before = set(sys.modules); import transfer_tasks; new = set(sys.modules) - before;"
        "print(*sorted(name for name in new if name.split('.')[0] not in sys.stdlib_module_names))"
    )
    run = subprocess.run([sys.executable, "-I", "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.split() == ["transfer_tasks"]
