"""The worker's settings, and the `.env.example` that names every setting there is."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from transfer_tasks.errors import SettingsError
from transfer_tasks.settings import PublisherSettings
from transfer_tasks.voice.settings import VoiceSettings
from transfer_worker.audit.logs import Redaction
from transfer_worker.local.compose_secrets import IN_FILES
from transfer_worker.settings import WorkerSettings
from transfer_worker.webhooks.settings import WebhookSettings

if TYPE_CHECKING:
    from pydantic_settings import BaseSettings

ROOT = Path(__file__).resolve().parents[3]
ENV_EXAMPLE = ROOT / ".env.example"
COMPOSE = "docker compose"


@pytest.fixture(autouse=True)
def environment(monkeypatch, tmp_path):
    """Nothing is set but the token, and no .env is near."""
    for name in os.environ:
        if name.startswith(("TRANSFER_", "PIOPIY_")):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PIOPIY_TOKEN", "a-token")
    return monkeypatch


def problems() -> list[str]:
    with pytest.raises(SettingsError) as refused:
        WorkerSettings.load()
    return refused.value.problems


def test_only_the_token_must_be_set(environment):
    settings = WorkerSettings.load()
    assert settings.piopiy_token.get_secret_value() == "a-token"
    assert settings.piopiy_api_url == "https://rest.piopiy.com/v3"
    assert (settings.concurrency, settings.attempt_timeout_seconds, settings.max_attempts) == (8, 5.0, 5)
    assert settings.processes is None
    environment.delenv("PIOPIY_TOKEN")
    assert problems() == ["PIOPIY_TOKEN is not set, and has no default"]


def test_every_problem_is_listed_with_its_variable_and_without_its_value(environment):
    wrong = {
        "PIOPIY_TOKEN": "hunter2 hunter2",
        "PIOPIY_API_URL": "ftp://hunter2",
        "PIOPIY_PROXY_URL": "socks5://hunter2",
        "PIOPIY_NUMBER": "hunter2",
        "TRANSFER_REDIS_URL": "http://hunter2",
        "TRANSFER_ALLOW_UNLISTED": "US, everything",
        "TRANSFER_CONCURRENCY": "0",
        "TRANSFER_PROCESSES": "65",
        "TRANSFER_ATTEMPT_TIMEOUT_SECONDS": "60",
        "TRANSFER_MAX_ATTEMPTS": "many",
        "TRANSFER_LOG_LEVEL": "LOUD",
        "TRANSFER_DESTINATIONS_FILE": "no/such/file",
    }
    for name, value in wrong.items():
        environment.setenv(name, value)
    told = problems()
    assert sorted(line.split()[0] for line in told) == sorted(wrong)
    assert "hunter2" not in "\n".join(told)


@pytest.mark.parametrize("token", ["with blank", "line\nbreak", "trailing\n", "tab\t", "é", "\x7f"])
def test_a_token_that_no_header_can_carry_is_refused_at_the_start(environment, token):
    environment.setenv("PIOPIY_TOKEN", token)
    (told,) = problems()
    assert told.startswith("PIOPIY_TOKEN ")
    assert token not in told


@pytest.mark.parametrize("token", ["t", "12345"])
def test_a_token_too_short_to_be_one_is_refused_at_the_start(environment, token):
    environment.setenv("PIOPIY_TOKEN", token)
    (told,) = problems()
    assert told == "PIOPIY_TOKEN is wrong: a token has 6 characters or more; copy the whole of it"


@pytest.mark.parametrize(
    "url",
    [
        "rest.piopiy.com",
        "https://",
        "https://host/v3?x=1",
        "https://host/#x",
        "https://[",
        "https://h:port/v3",
        "https://rest.piopiy.com\\@evil.example/v3",
        "ftp://127.0.0.1/v3",
    ],
)
def test_an_api_url_that_cannot_be_one_is_refused_at_the_start(environment, url):
    environment.setenv("PIOPIY_API_URL", url)
    (told,) = problems()
    assert told.startswith("PIOPIY_API_URL ")


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1:8900/v3",
        "https://host",
        "http://[::1]:8900/v3",
        "http://localhost/v3",
        "http://127.9.9.9",
    ],
)
def test_an_api_url_is_kept_as_it_is(environment, url):
    environment.setenv("PIOPIY_API_URL", url)
    assert WorkerSettings.load().piopiy_api_url == url


@pytest.mark.parametrize(
    "url",
    [
        "http://rest.piopiy.com/v3",
        "HTTP://rest.piopiy.com/v3",
        "http://sandbox:8900/v3",
        "http://localhost.:8900/v3",
        "http://localhost.evil.example/v3",
        "http://10.0.0.5/v3",
        "http://0.0.0.0/v3",
        "http://127.0.0.1.evil.example/v3",
    ],
)
def test_the_token_goes_out_by_https_only(environment, url):
    environment.setenv("PIOPIY_API_URL", url)
    (told,) = problems()
    assert told.startswith("PIOPIY_API_URL is wrong: the token goes out by https:// only")
    assert "TRANSFER_ALLOW_HTTP" in told


def test_a_sandbox_in_the_same_network_is_named(environment):
    environment.setenv("PIOPIY_API_URL", "http://sandbox:8900/v3")
    environment.setenv("TRANSFER_ALLOW_HTTP", "other, Sandbox")
    assert WorkerSettings.load().piopiy_api_url == "http://sandbox:8900/v3"
    environment.setenv("TRANSFER_ALLOW_HTTP", "http://sandbox:8900")
    assert [told.partition(" ")[0] for told in problems()] == ["TRANSFER_ALLOW_HTTP", "PIOPIY_API_URL"]


@pytest.mark.parametrize("scheme", ["https", "http"])
@pytest.mark.parametrize("login", ["hunter2", "user:hunter2", ":hunter2", "", ":", "127.0.0.1:hunter2"])
@pytest.mark.parametrize("host", ["rest.piopiy.com", "127.0.0.1:8900"])
def test_an_api_url_with_a_login_is_refused_and_shown_by_nothing(environment, scheme, login, host):
    environment.setenv("PIOPIY_API_URL", f"{scheme}://{login}@{host}/v3")
    (told,) = problems()
    assert told.startswith("PIOPIY_API_URL is wrong: it holds a login")
    assert "hunter2" not in told


@pytest.mark.parametrize(
    "url",
    [
        "proxy:3128",
        "http://",
        "http://proxy",
        "http://proxy:0",
        "http://proxy:3128/path",
        "http://p:1?x",
        "http://[:1",
    ],
)
def test_a_proxy_url_that_cannot_be_one_is_refused_at_the_start(environment, url):
    environment.setenv("PIOPIY_PROXY_URL", url)
    (told,) = problems()
    assert told.startswith("PIOPIY_PROXY_URL is wrong: write it like http://proxy.example:3128")


def test_a_proxy_is_for_an_api_over_tls_alone(environment):
    environment.setenv("PIOPIY_PROXY_URL", "http://proxy.example:3128")
    assert WorkerSettings.load().piopiy_proxy_url is not None
    environment.setenv("PIOPIY_API_URL", "http://127.0.0.1:8900/v3")
    (told,) = problems()
    assert told.startswith("PIOPIY_PROXY_URL is wrong: a proxy carries an https:// PIOPIY_API_URL only")


def test_a_proxys_password_is_a_secret(environment):
    environment.setenv("PIOPIY_PROXY_URL", "http://site:hunter2-s@proxy.example:3128")
    settings = WorkerSettings.load()
    assert "hunter2" not in f"{settings!r} {settings}"
    line = {"event": "went through http://site:hunter2-s@proxy.example:3128", "login": "hunter2-s"}
    assert "hunter2" not in str(Redaction(settings.secrets)(None, "", line))


@pytest.mark.parametrize("seconds", ["0", "-1", "nan", "inf", "10.1"])
def test_an_attempt_takes_some_time_and_no_more_than_the_visibility_timeout_bears(environment, seconds):
    environment.setenv("TRANSFER_ATTEMPT_TIMEOUT_SECONDS", seconds)
    assert len(problems()) == 1


def test_each_process_has_a_place_or_the_start_is_refused(environment):
    environment.setenv("TRANSFER_CONCURRENCY", "4")
    environment.setenv("TRANSFER_PROCESSES", "4")
    assert WorkerSettings.load().processes == 4
    environment.setenv("TRANSFER_PROCESSES", "5")
    (told,) = problems()
    assert told.startswith("TRANSFER_PROCESSES ")
    assert "ask for 4 at most, or leave it out" in told


def test_what_the_command_line_says_wins_before_anything_is_judged(environment):
    environment.setenv("TRANSFER_CONCURRENCY", "4")
    environment.setenv("TRANSFER_PROCESSES", "5")
    settings = WorkerSettings.load(concurrency=6, log_level="ERROR")
    assert (settings.concurrency, settings.processes, settings.log_level) == (6, 5, "ERROR")
    assert WorkerSettings.load(processes=2).processes == 2


def test_the_number_is_read_in_any_spelling(environment):
    environment.setenv("PIOPIY_NUMBER", "+1 (202) 555-0143")
    assert WorkerSettings.load().piopiy_number == "12025550143"


def test_secrets_do_not_show(environment):
    environment.setenv("TRANSFER_REDIS_URL", "redis://:hunter2@host:6379/0")
    settings = WorkerSettings.load()
    assert "hunter2" not in f"{settings!r}{settings}"
    assert "a-token" not in f"{settings!r}{settings}"


# --- .env.example


def variables_of(settings_class: type[BaseSettings]) -> set[str]:
    prefix = settings_class.model_config["env_prefix"]
    return {
        str(field.validation_alias or f"{prefix}{name}").upper()
        for name, field in settings_class.model_fields.items()
    }


def read_example() -> dict[str, dict[str, str]]:
    """Return the variables of each block of the file, with their values."""
    blocks: dict[str, dict[str, str]] = {}
    for line in ENV_EXAMPLE.read_text("utf-8").splitlines():
        if heading := re.fullmatch(r"# --- (.+?) -+", line):
            block = blocks.setdefault(heading[1], {})
        elif line and not line.startswith("#"):
            name, _, value = line.partition("=")
            block[name] = value
    return blocks


def test_the_example_names_every_setting_in_the_block_of_who_reads_it():
    publisher, worker, voice = map(variables_of, (PublisherSettings, WorkerSettings, VoiceSettings))
    blocks = read_example()
    compose = blocks.pop(COMPOSE)
    assert {name: set(variables) for name, variables in blocks.items()} == {
        "worker and publisher": publisher,
        "worker": worker - publisher,
        "voice process": voice - publisher,
        "webhooks": variables_of(WebhookSettings) - publisher,
    }
    assert not compose.keys() & (publisher | worker | voice)


def test_the_example_names_every_variable_that_compose_needs_from_it():
    text = (ROOT / "docker-compose.yml").read_text("utf-8")
    asked = set(re.findall(r"\$\{([A-Z_]+)", text))
    assert asked <= {name for block in read_example().values() for name in block}
    # Compose itself reads the last one; what is secret stands in files besides.
    assert set(read_example()[COMPOSE]) <= asked | set(IN_FILES) | {"COMPOSE_PROFILES"}


def test_every_line_of_the_example_has_one_line_of_comment():
    lines = ENV_EXAMPLE.read_text("utf-8").splitlines()
    for before, comment, line in zip(lines, lines[1:], lines[2:], strict=False):
        if line and not line.startswith("#"):
            assert (before, comment[:2]) == ("", "# "), line


def test_the_example_gives_the_defaults(environment, tmp_path):
    (tmp_path / ".env").write_text(ENV_EXAMPLE.read_text("utf-8"))
    assert WorkerSettings.load() == WorkerSettings(_env_file=None)
    assert VoiceSettings.load() == VoiceSettings(_env_file=None)
    environment.setenv("TRANSFER_WEBHOOK_SECRET", "s" * 24)
    assert WebhookSettings.load() == WebhookSettings(_env_file=None)


def test_no_line_may_show_the_secret_of_a_key(environment):
    environment.setenv("TRANSFER_SIGNING_KEY", f"ops:{'o' * 32}")
    environment.setenv("TRANSFER_VERIFY_KEYS", f"voice:{'v' * 32},crm:{'c' * 32}[support]")
    settings = WorkerSettings.load()
    assert {letter * 32 for letter in "ovc"} <= set(settings.secrets)
    assert "vvvv" not in repr(settings)


@pytest.mark.parametrize("name", ["TRANSFER_SIGNING_KEY", "TRANSFER_VERIFY_KEYS"])
def test_a_key_that_can_be_guessed_is_refused_and_not_shown(environment, name):
    environment.setenv(name, "voice:short-secret")
    with pytest.raises(SettingsError, match=f"{name} is wrong: the secret of voice is shorter") as caught:
        WorkerSettings.load()
    assert "short-secret" not in str(caught.value)


def test_verify_keys_of_nothing_but_blanks_are_not_taken_for_none(environment):
    environment.setenv("TRANSFER_VERIFY_KEYS", " ")
    with pytest.raises(SettingsError, match="TRANSFER_VERIFY_KEYS is wrong"):
        WorkerSettings.load()
