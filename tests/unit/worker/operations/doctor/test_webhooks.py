"""What `doctor` says of whoever receives webhooks."""

from __future__ import annotations

import pytest

from transfer_worker.operations.doctor import settings
from transfer_worker.operations.doctor.settings import check_webhooks
from transfer_worker.runtime.findings import Verdict


@pytest.fixture(autouse=True)
def environment(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    for name in ("TRANSFER_WEBHOOK_SECRET", "TRANSFER_WEBHOOK_HEADER_SECRET", "TRANSFER_WEBHOOK_RATE"):
        monkeypatch.delenv(name, raising=False)
    return monkeypatch


def test_where_nobody_receives_any_there_is_no_line():
    assert list(check_webhooks(None)) == []


def test_what_is_set_is_fine_and_not_shown(environment):
    environment.setenv("TRANSFER_WEBHOOK_SECRET", "x" * 24)
    (found,) = check_webhooks(None)
    assert (found.verdict, found.seen) == (
        Verdict.OK,
        "the secret is set; of a connection none has come",
    )


@pytest.mark.parametrize(
    ("name", "value"), [("TRANSFER_WEBHOOK_SECRET", "short"), ("TRANSFER_WEBHOOK_RATE", "many")]
)
def test_what_is_wrong_is_named_and_not_shown(environment, name, value):
    environment.setenv(name, value)
    (found,) = check_webhooks(None)
    assert found.verdict is Verdict.WARNING
    assert f"{name} is wrong" in found.seen
    assert value not in found.seen + found.fix


def test_a_missing_extra_is_named_with_what_installs_it(environment):
    environment.setenv("TRANSFER_WEBHOOK_SECRET", "x" * 24)
    environment.setattr(settings, "find_spec", lambda name: None if name == "uvicorn" else object())
    (found,) = check_webhooks(None)
    assert (found.verdict, "uvicorn not installed" in found.seen) == (Verdict.WARNING, True)
    assert "[worker,webhooks]" in found.fix
