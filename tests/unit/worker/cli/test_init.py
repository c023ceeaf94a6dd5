"""`call-transfer init`: two files that are filled in, and what must never happen to them."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from dotenv import dotenv_values
from typer.testing import CliRunner

from transfer_tasks.errors import SettingsError
from transfer_tasks.registry.destinations import DestinationRegistry
from transfer_tasks.signature import parse_signing_key
from transfer_worker import cli
from transfer_worker.cli.terminal import Exit
from transfer_worker.local.compose_secrets import IN_FILES
from transfer_worker.local.setup_files import fill_env, read_template
from transfer_worker.roles import Role
from transfer_worker.settings import WorkerSettings

ROOT = Path(__file__).resolve().parents[4]
TOKEN = "hunter2/token+with=signs"
NUMBER = "+1 202-555-0188"


@pytest.fixture(autouse=True)
def environment(monkeypatch, tmp_path):
    """Nothing is set, and the folder is empty."""
    for name in os.environ:
        if name.startswith(("TRANSFER_", "PIOPIY_", "FLOWER_")):
            monkeypatch.delenv(name)
    (tmp_path / "folder").mkdir()
    monkeypatch.chdir(tmp_path / "folder")
    # Nobody listens there: what doctor finds must not depend on the machine.
    monkeypatch.setenv("TRANSFER_REDIS_URL", "redis://127.0.0.1:1/0")
    return monkeypatch


def init(*arguments, **options):
    answer = CliRunner().invoke(cli.app, ["init", *arguments], **options)
    if answer.exception and not isinstance(answer.exception, SystemExit):
        raise answer.exception
    return answer


def written():
    return dotenv_values(".env")


@pytest.mark.parametrize(
    ("example", "template"), [(".env.example", "env"), ("destinations.example.toml", "destinations.toml")]
)
def test_the_examples_of_the_repository_are_the_templates_of_the_package(example, template):
    assert (ROOT / example).samefile(ROOT / "worker" / "transfer_worker" / "local" / "templates" / template)
    assert (ROOT / example).read_text("utf-8") == read_template(template)


def test_the_sandbox_needs_no_answer():
    answer = init("--sandbox")
    assert answer.exit_code == Exit.OK, answer.output
    settings = WorkerSettings.load()
    assert settings.piopiy_token.get_secret_value() == "sandbox-token"
    assert settings.piopiy_api_url == "http://127.0.0.1:8900/v3"
    assert settings.piopiy_number == "12025550100"
    assert settings.destinations_file == Path.cwd() / "destinations.toml"
    assert "support" in DestinationRegistry.load(settings.destinations_file)
    assert written()["FLOWER_BASIC_AUTH"].startswith("on-call:")
    assert "no answer: Error 111" in answer.stdout
    assert "\n  call-transfer up " in answer.stdout


def test_a_line_that_was_not_filled_in_is_as_in_the_template():
    init("--sandbox")
    changed = {
        line.partition("=")[0]
        for line in set(Path(".env").read_text().splitlines()) - set(read_template("env").splitlines())
    }
    assert changed == {
        "PIOPIY_TOKEN", "PIOPIY_API_URL", "PIOPIY_NUMBER", "FLOWER_BASIC_AUTH", "TRANSFER_REDIS_URL",
        "TRANSFER_SIGNING_KEY", "TRANSFER_VERIFY_KEYS", "TRANSFER_AUDIT_KEY",
    }  # fmt: skip
    assert Path("destinations.toml").read_text() == read_template("destinations.toml")


def test_what_is_set_up_here_is_signed_and_verified_with_a_key_of_its_own(environment):
    def read_keys():
        lines = dict(
            line.split("=", 1)
            for line in Path(".env").read_text().splitlines()
            if "_KEY" in line and "=" in line
        )
        return lines["TRANSFER_SIGNING_KEY"], lines["TRANSFER_VERIFY_KEYS"]

    init("--sandbox")
    first = read_keys()
    assert first[0] == first[1]
    parse_signing_key(first[0])
    Path(".env").unlink()
    init("--sandbox")
    assert read_keys() != first
    Path(".env").unlink()
    environment.setenv("TRANSFER_VERIFY_KEYS", first[1])
    init("--sandbox")
    assert read_keys() == ("", "")


def test_the_token_is_for_the_owners_eyes_only_whatever_the_umask():
    before = os.umask(0)
    try:
        init("--sandbox")
    finally:
        os.umask(before)
    assert stat.S_IMODE(Path(".env").stat().st_mode) == 0o600


def test_options_come_before_the_environment(environment):
    environment.setenv("PIOPIY_TOKEN", "from-environment")
    environment.setenv("PIOPIY_NUMBER", "+1 202-555-0177")
    answer = init("--number", NUMBER)
    assert answer.exit_code == Exit.OK, answer.output
    assert (written()["PIOPIY_TOKEN"], written()["PIOPIY_NUMBER"]) == ("from-environment", "+12025550188")
    assert written()["TRANSFER_REDIS_URL"] == "redis://127.0.0.1:1/0"
    assert "PIOPIY_NUMBER in the environment wins over .env" in answer.stdout
    assert "Put your own numbers into destinations.toml." in answer.stdout


def test_a_token_can_come_from_stdin_and_is_never_shown():
    answer = init("--token", "-", "--number", NUMBER, input=f"{TOKEN}\n")
    assert answer.exit_code == Exit.OK, answer.output
    assert written()["PIOPIY_TOKEN"] == TOKEN
    assert written()["PIOPIY_API_URL"] == "https://rest.piopiy.com/v3"
    assert "hunter2" not in answer.output


def test_without_a_terminal_all_that_is_missing_is_said_at_once_and_nothing_is_written():
    answer = init()
    assert answer.exit_code == Exit.USAGE
    assert "--token and --number missing" in answer.stderr
    assert "--sandbox" in answer.stderr
    assert list(Path().iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["--token", "hunter2 hunter2", "--number", NUMBER], "--token: "),
        (["--token", "the-token", "--number", "hunter2"], "--number: "),
        (["--sandbox", "--number", "555"], "--number: "),
        (["--sandbox", "--redis-url", "http://hunter2"], "--redis-url: "),
        (["--sandbox", "--token", "hunter2"], "--sandbox"),
        (["--token", "hunter2$x", "--number", NUMBER], "PIOPIY_TOKEN can't be written into .env"),
    ],
)
def test_a_wrong_value_is_named_and_not_shown_and_nothing_is_written(arguments, named):
    answer = init(*arguments)
    assert answer.exit_code == Exit.USAGE, answer.output
    assert named in answer.stderr
    assert "hunter2" not in answer.output
    assert list(Path().iterdir()) == []


def test_what_exists_is_never_changed():
    Path(".env").write_text("PIOPIY_TOKEN=mine\n")
    Path("destinations.toml").write_text("# mine\n")
    answer = init("--sandbox")
    assert answer.exit_code == Exit.FAILED
    assert ".env exists, and is as it was. Edit it" in answer.stderr
    assert (Path(".env").read_text(), Path("destinations.toml").read_text()) == (
        "PIOPIY_TOKEN=mine\n",
        "# mine\n",
    )


def test_beside_an_env_file_the_missing_registry_is_written():
    Path(".env").write_text("PIOPIY_TOKEN=mine\n")
    answer = init("--sandbox")
    assert answer.exit_code == Exit.FAILED
    assert "destinations.toml was missing and is written" in answer.stderr
    assert Path("destinations.toml").read_text() == read_template("destinations.toml")


def test_a_registry_that_exists_is_used_as_it_is():
    mine = '[sales]\ndescription = "Sales"\nendpoints = ["+1 202-555-0199"]\n'
    Path("destinations.toml").write_text(mine)
    answer = init("--token", "the-token", "--number", NUMBER)
    assert answer.exit_code == Exit.OK
    assert Path("destinations.toml").read_text() == mine
    assert "destinations.toml: sales" in answer.stdout
    assert "Put your own numbers" not in answer.stdout


def test_a_link_that_leads_nowhere_is_not_followed():
    Path(".env").symlink_to("../elsewhere")
    assert init("--sandbox").exit_code == Exit.FAILED
    assert not Path("../elsewhere").exists()


def test_compose_gets_the_names_that_hold_inside_of_it():
    answer = init("--sandbox", "--compose")
    assert answer.exit_code == Exit.OK, answer.output
    assert written()["PIOPIY_API_URL"] == "http://sandbox:8900/v3"
    assert written()["COMPOSE_PROFILES"] == written()["TRANSFER_ALLOW_HTTP"] == "sandbox"
    assert written()["TRANSFER_REDIS_URL"] == ""
    assert "docker compose up" in answer.stdout
    assert "doctor finds" not in answer.stdout


def test_for_compose_secrets_stand_in_files_and_in_no_other_place():
    answer = init("--sandbox", "--compose")
    assert answer.exit_code == Exit.OK, answer.output
    assert "secrets/" in answer.stdout
    folder = Path("secrets")
    held = {path.name: path.read_text().strip() for path in folder.iterdir()}
    assert held["flower_basic_auth"].startswith("on-call:")
    assert held["verify_keys"] == held["signing_key"]
    assert held["redis_worker_url"].startswith("redis://worker:")
    passwords = {urlsplit(text).password for name, text in held.items() if name.endswith("_url")}
    assert len(passwords) == len(Role)
    for secret in (*passwords, *(held[name] for name in IN_FILES.values())):
        assert secret not in Path(".env").read_text()
        assert secret not in held["redis_users"]
    assert folder.stat().st_mode & 0o777 == 0o700
    # Users of containers, whoever they are, read what is mounted.
    assert {path.stat().st_mode & 0o777 for path in folder.iterdir()} == {0o444}


def test_for_compose_one_key_of_two_is_refused(environment):
    environment.setenv("TRANSFER_SIGNING_KEY", f"voice:{'v' * 32}")
    answer = init("--sandbox", "--compose")
    assert answer.exit_code == Exit.USAGE
    assert not Path(".env").exists()


def test_as_json_it_is_one_document():
    document = json.loads(init("--sandbox", "--json").stdout)
    assert document["written"] == [".env", "destinations.toml"]
    assert document["is_sandbox"] is True
    assert {finding["check"] for finding in document["findings"]} >= {"token", "registry", "redis"}
    assert document["next"]
    again = json.loads(init("--sandbox", "--json").stdout)
    assert (again["error"]["kind"], again["exit_code"]) == ("FileExistsError", 1)


def test_a_folder_that_takes_no_file_is_one_line(environment):
    def refuse(*_args, **_options):
        raise PermissionError(13, "Permission denied", "destinations.toml")

    environment.setattr("transfer_worker.local.setup_files.os.open", refuse)
    answer = init("--sandbox")
    assert answer.exit_code == Exit.FAILED
    assert answer.stderr == "call-transfer: destinations.toml: Permission denied.\n"


@pytest.mark.parametrize("value", ["a b", "a#b", 'a"b', "a'b", "a\\b", "$HOME", "`id`", "a\nb"])
def test_what_readers_of_an_env_file_differ_about_is_refused(value):
    with pytest.raises(SettingsError, match="PIOPIY_TOKEN can't be written"):
        fill_env({"PIOPIY_TOKEN": value})


def test_every_printable_value_that_is_taken_is_read_back_as_it_was(tmp_path):
    taken = "".join(chr(code) for code in range(33, 127) if chr(code) not in "#\"'\\$`")
    (tmp_path / "env").write_text(fill_env({"PIOPIY_TOKEN": taken}))
    assert dotenv_values(tmp_path / "env")["PIOPIY_TOKEN"] == taken
