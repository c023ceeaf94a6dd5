"""Each secret also comes in a file: which variable names it, what wins, and what is wrong with one."""

from __future__ import annotations

import os

import pytest
from pydantic import SecretStr

from transfer_tasks.errors import SettingsError
from transfer_tasks.secret_files import holds_secret
from transfer_tasks.settings import PublisherSettings, load_settings
from transfer_worker.settings import WorkerSettings

KEY = f"audit-1:{'a' * 32}"


@pytest.fixture(autouse=True)
def environment(monkeypatch, tmp_path):
    for name in os.environ:
        if name.startswith(("TRANSFER_", "PIOPIY_")):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    return monkeypatch


@pytest.fixture
def keep(tmp_path):
    def write(name: str, text: str) -> str:
        (tmp_path / name).write_bytes(text.encode())
        return str(tmp_path / name)

    return write


def test_every_secret_of_a_worker_may_stand_in_a_file(environment, keep):
    secrets = {
        "TRANSFER_REDIS_URL": "redis://worker:secret@redis:6379/0",
        "TRANSFER_SIGNING_KEY": f"voice:{'v' * 32}",
        "TRANSFER_VERIFY_KEYS": f"voice:{'v' * 32}",
        "TRANSFER_AUDIT_KEY": KEY,
        "PIOPIY_TOKEN": "the-token",
        "PIOPIY_PROXY_URL": "http://login:password@proxy.example:3128",
    }
    known = {field.validation_alias or f"TRANSFER_{name.upper()}": field.annotation
             for name, field in WorkerSettings.model_fields.items()}  # fmt: skip
    assert {name for name, kind in known.items() if holds_secret(kind)} == secrets.keys()
    for name, secret in secrets.items():
        environment.setenv(f"{name}_FILE", keep(name, f"{secret}\n"))

    read = WorkerSettings.load()

    given = (read.redis_url, read.signing_key, read.verify_keys, read.audit_key, read.piopiy_token,
             read.piopiy_proxy_url)  # fmt: skip
    assert [secret.get_secret_value() for secret in given if secret] == list(secrets.values())


def test_the_environment_comes_before_the_file_that_dotenv_names(environment, keep):
    keep(".env", "TRANSFER_REDIS_URL_FILE=" + keep("url", "redis://from-file:6379/0"))
    assert PublisherSettings.load().redis_url.get_secret_value() == "redis://from-file:6379/0"
    environment.setenv("TRANSFER_REDIS_URL", "redis://from-environment:6379/0")
    assert PublisherSettings.load().redis_url.get_secret_value() == "redis://from-environment:6379/0"


def test_a_file_that_the_environment_names_comes_before_dotenv(environment, keep):
    keep(".env", "TRANSFER_REDIS_URL=redis://from-dotenv:6379/0")
    environment.setenv("TRANSFER_REDIS_URL_FILE", keep("url", "redis://from-file:6379/0"))
    assert PublisherSettings.load().redis_url.get_secret_value() == "redis://from-file:6379/0"


def test_all_that_is_wrong_with_files_is_told_together_and_no_secret_is_shown(environment, keep, tmp_path):
    environment.setenv("PIOPIY_TOKEN", "hunter2")
    environment.setenv("PIOPIY_TOKEN_FILE", keep("token", "hunter3"))
    environment.setenv("TRANSFER_AUDIT_KEY_FILE", str(tmp_path / "nothing"))
    environment.setenv("TRANSFER_VERIFY_KEYS_FILE", keep("empty", "\n"))
    (tmp_path / "binary").write_bytes(b"\xff\xfe")
    environment.setenv("TRANSFER_SIGNING_KEY_FILE", str(tmp_path / "binary"))

    with pytest.raises(SettingsError) as refused:
        WorkerSettings.load()

    assert sorted(refused.value.problems) == [
        "PIOPIY_TOKEN and PIOPIY_TOKEN_FILE are both set: leave one of them out",
        f"TRANSFER_AUDIT_KEY_FILE is wrong: {tmp_path}/nothing can't be read (No such file or directory)",
        f"TRANSFER_SIGNING_KEY_FILE is wrong: {tmp_path}/binary is not written in UTF-8",
        f"TRANSFER_VERIFY_KEYS_FILE is wrong: {tmp_path}/empty is empty",
    ]
    assert "hunter" not in str(refused.value)


def test_what_is_wrong_in_a_file_is_told_as_of_the_variable(environment, keep):
    environment.setenv("TRANSFER_REDIS_URL_FILE", keep("url", "http://user:hunter2@host"))
    with pytest.raises(SettingsError) as refused:
        load_settings(PublisherSettings)
    assert refused.value.problems[0].startswith("TRANSFER_REDIS_URL is wrong")
    assert "hunter2" not in str(refused.value)


def test_what_is_no_secret_stands_in_no_file(environment, keep):
    environment.setenv("TRANSFER_QUEUE_FILE", keep("queue", "other"))
    assert PublisherSettings.load().queue == "transfers"
    assert holds_secret(SecretStr | None)
