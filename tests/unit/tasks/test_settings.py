"""Settings: read once from the environment and .env, with every problem reported together."""

import os

import pytest
from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings

from transfer_tasks.errors import SettingsError
from transfer_tasks.settings import SETTINGS_CONFIG, PublisherSettings, load_settings
from transfer_tasks.voice.settings import VoiceSettings


@pytest.fixture(autouse=True)
def environment(monkeypatch, tmp_path):
    for name in os.environ:
        if name.startswith(("TRANSFER_", "PIOPIY_")):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    return monkeypatch


def problems(settings_class=PublisherSettings) -> list[str]:
    with pytest.raises(SettingsError) as refused:
        load_settings(settings_class)
    return refused.value.problems


def test_nothing_need_be_set():
    settings = PublisherSettings.load()
    assert settings.redis_url.get_secret_value() == "redis://127.0.0.1:6379/0"
    assert settings.publish_budget_seconds == 1.0
    assert settings.repeat_window_seconds == 30
    assert settings.record_ttl_seconds == 7 * 24 * 3600
    assert settings.destinations_file is None
    assert settings.queue == "transfers"


def test_the_environment_comes_before_the_file(environment, tmp_path):
    (tmp_path / ".env").write_text(
        "TRANSFER_QUEUE=from-file\nTRANSFER_RECORD_TTL_HOURS=3\nOTHER=1\nTRANSFER_WORKER_X=1\n"
    )
    environment.setenv("TRANSFER_QUEUE", "from-environment")
    settings = PublisherSettings.load()
    assert (settings.queue, settings.record_ttl_hours) == ("from-environment", 3)


def test_an_empty_variable_is_not_set(environment):
    environment.setenv("TRANSFER_DESTINATIONS_FILE", "")
    environment.setenv("TRANSFER_QUEUE", "")
    assert PublisherSettings.load().destinations_file is None


def test_settings_cannot_be_changed():
    with pytest.raises(ValueError):
        PublisherSettings.load().queue = "other"


def test_all_problems_are_reported_together_and_name_their_variables(environment):
    environment.setenv("TRANSFER_REDIS_URL", "http://user:hunter2@host")
    environment.setenv("TRANSFER_PUBLISH_BUDGET_SECONDS", "hunter2")
    environment.setenv("TRANSFER_REPEAT_WINDOW_SECONDS", "-1")
    environment.setenv("TRANSFER_RECORD_TTL_HOURS", "0")
    environment.setenv("TRANSFER_DESTINATIONS_FILE", "hunter2.toml")
    environment.setenv("TRANSFER_QUEUE", "a b")
    found = problems()
    assert [problem.split()[0] for problem in found] == [
        "TRANSFER_REDIS_URL",
        "TRANSFER_PUBLISH_BUDGET_SECONDS",
        "TRANSFER_REPEAT_WINDOW_SECONDS",
        "TRANSFER_RECORD_TTL_HOURS",
        "TRANSFER_DESTINATIONS_FILE",
        "TRANSFER_QUEUE",
    ]
    assert "hunter2" not in "".join(found)


def test_a_refusal_has_no_cause_that_could_show_a_secret(environment):
    environment.setenv("TRANSFER_REDIS_URL", "hunter2")
    with pytest.raises(SettingsError) as refused:
        PublisherSettings.load()
    assert refused.value.__cause__ is None
    assert refused.value.__context__ is None


def test_not_even_pydantics_own_error_shows_a_value(environment):
    environment.setenv("TRANSFER_QUEUE", "hunter 2")
    with pytest.raises(ValueError) as refused:
        PublisherSettings()
    assert "hunter" not in str(refused.value)


@pytest.mark.parametrize(
    "url",
    [
        "redis://127.0.0.1:6379/0",
        "redis://redis",
        "rediss://user:pass@redis.example.com:6380/1",
        "redis://:pass@[::1]:6379",
        "sentinel://:pass@one:26379,two:26379/0?master_name=mymaster&replicas=2",
    ],
)
def test_a_redis_url_is_taken(environment, url):
    environment.setenv("TRANSFER_REDIS_URL", url)
    settings = PublisherSettings.load()
    assert settings.redis_url.get_secret_value() == url
    assert url not in repr(settings)


@pytest.mark.parametrize(
    "url",
    [
        "redis",
        "http://redis:6379",
        "redis://",
        "redis://host:port",
        "redis://host:99999",
        "redis://host/zero",
        "redis://[",
    ],
)
def test_what_is_no_redis_url_is_refused(environment, url):
    environment.setenv("TRANSFER_REDIS_URL", url)
    (problem,) = problems()
    assert problem.startswith("TRANSFER_REDIS_URL is wrong: write it like redis://host:6379/0, or rediss://")
    assert "sentinel://:password@one:26379,two:26379,three:26379/0?master_name=mymaster" in problem


@pytest.mark.parametrize("seconds", ["nan", "inf", "0"])
def test_a_budget_is_finite_and_positive(environment, seconds):
    environment.setenv("TRANSFER_PUBLISH_BUDGET_SECONDS", seconds)
    assert problems()[0].startswith("TRANSFER_PUBLISH_BUDGET_SECONDS is wrong")


class OtherSideSettings(BaseSettings):
    model_config = SETTINGS_CONFIG

    token: SecretStr = Field(validation_alias="PIOPIY_TOKEN")
    hosts: list[str] = []
    limit: int = 1


def test_another_side_reports_its_aliases_and_what_is_missing(environment):
    environment.setenv("TRANSFER_LIMIT", "x")
    assert problems(OtherSideSettings) == [
        "PIOPIY_TOKEN is not set, and has no default",
        "TRANSFER_LIMIT is wrong: Input should be a valid integer, unable to parse string as an integer",
    ]


def test_a_list_that_is_no_json_is_reported_without_its_value(environment):
    environment.setenv("TRANSFER_HOSTS", "hunter2[")
    (problem,) = problems(OtherSideSettings)
    assert "hosts" in problem
    assert "hunter2" not in problem


def test_a_file_in_another_encoding_is_reported(tmp_path):
    (tmp_path / ".env").write_bytes(b"TRANSFER_QUEUE=\xff\n")
    assert problems() == [".env is not written in UTF-8"]


def test_what_is_wrong_with_an_address_of_sentinels_is_named(environment):
    environment.setenv("TRANSFER_REDIS_URL", "sentinel://:hunter2@one:26379/0")
    (problem,) = problems()
    assert problem.startswith("TRANSFER_REDIS_URL is wrong: master_name is missing: add ?master_name=")


def test_a_certificate_authority_that_is_not_there_is_told_at_the_start(environment):
    environment.setenv("TRANSFER_REDIS_URL", "rediss://:hunter2@one/0?ssl_ca_certs=/nowhere/ca.pem")
    (problem,) = problems()
    assert problem.startswith("TRANSFER_REDIS_URL is wrong: ssl_ca_certs names no file: give the path")


@pytest.fixture
def registry(tmp_path):
    path = tmp_path / "destinations.toml"
    path.write_text('[support]\ndescription = "Support"\nendpoints = ["+1 202-555-0143"]\n')
    return path


@pytest.mark.parametrize("value", [None, ""], ids=["not set", "empty"])
def test_the_registry_of_the_working_directory_is_read_where_no_other_is_named(environment, registry, value):
    if value is not None:
        environment.setenv("TRANSFER_DESTINATIONS_FILE", value)
    for settings in (PublisherSettings.load(), VoiceSettings.load()):
        assert settings.destinations_file == registry
        assert list(settings.load_rules().registry) == ["support"]


def test_a_registry_that_is_named_comes_before_the_one_of_the_working_directory(
    environment, registry, tmp_path
):
    other = tmp_path / "other.toml"
    other.write_text(registry.read_text().replace("support", "sales"))
    environment.setenv("TRANSFER_DESTINATIONS_FILE", "other.toml")
    assert list(PublisherSettings.load().load_rules().registry) == ["sales"]


def test_a_folder_of_that_name_is_no_registry(tmp_path):
    (tmp_path / "destinations.toml").mkdir()  # as Docker makes one for a file that is not there
    assert PublisherSettings.load().destinations_file is None


def test_the_registry_stays_the_same_file_when_the_process_changes_its_folder(environment, registry):
    settings = PublisherSettings.load()
    environment.chdir("/")
    assert list(settings.load_rules().registry) == ["support"]


def test_records_are_kept_for_an_hour_at_least(environment):
    environment.setenv("TRANSFER_RECORD_TTL_HOURS", "1")
    assert PublisherSettings.load().record_ttl_seconds == 3600
    environment.setenv("TRANSFER_RECORD_TTL_HOURS", "0.5")
    assert [problem.split()[0] for problem in problems()] == ["TRANSFER_RECORD_TTL_HOURS"]
