"""Makefile's pins, Dockerfile and docker-compose.yml: what can be judged without a Docker engine.

The judges are the Compose specification's own schema (as check-jsonschema carries it) and hadolint.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tomllib
from importlib import resources
from pathlib import Path

import jsonschema
import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from transfer_tasks.settings import DESTINATIONS_FILE
from transfer_worker.local.compose_secrets import IN_FILES, make_secrets

ROOT = Path(__file__).parents[2]
COMPOSE_TEXT = (ROOT / "docker-compose.yml").read_text()
COMPOSE = yaml.safe_load(COMPOSE_TEXT)
SERVICES = COMPOSE["services"]
DOCKERFILE = (ROOT / "Dockerfile").read_text()
HADOLINT = Path(sys.executable).with_name("hadolint")
ENV_EXAMPLE = ROOT / ".env.example"
# `$$` is an escaped dollar; what follows a name is a default or a complaint.
REFERENCE = re.compile(r"(?<!\$)\$\{?([A-Z_][A-Z0-9_]*)")


@pytest.fixture(scope="module")
def judge_compose():
    schema = json.loads(
        resources.files("check_jsonschema.builtin_schemas.vendor").joinpath("compose-spec.json").read_text()
    )
    assert schema["title"] == "Compose Specification"
    return jsonschema.validators.validator_for(schema)(schema)


def lint_dockerfile(text):
    return subprocess.run(
        [HADOLINT, "--no-color", "-"], input=text, capture_output=True, text=True, check=False
    ).stdout


def test_the_compose_file_follows_the_specification(judge_compose):
    assert [error.message for error in judge_compose.iter_errors(COMPOSE)] == []


def test_the_specifications_schema_can_condemn(judge_compose):
    wrong = COMPOSE | {"services": SERVICES | {"worker": SERVICES["worker"] | {"restarts": "always"}}}
    assert [error.message for error in judge_compose.iter_errors(wrong)] != []


def test_the_linter_has_no_word_against_the_dockerfile():
    assert lint_dockerfile(DOCKERFILE) == ""


def test_the_linter_can_condemn():
    assert "DL3007" in lint_dockerfile(re.sub(r"python:\S+", "python:latest", DOCKERFILE))


def test_every_image_has_a_fixed_tag():
    images = [service["image"] for service in SERVICES.values()] + re.findall(
        r"^FROM (\S+)", DOCKERFILE, re.MULTILINE
    )
    assert len(images) == 12
    for image in images:
        assert re.fullmatch(r"[a-z/-]+:v?\d+\.\d+[a-z0-9.-]*", image), image


def test_both_stages_share_one_python_so_that_the_venv_can_move():
    assert len(set(re.findall(r"^FROM (\S+)", DOCKERFILE, re.MULTILINE))) == 1


def test_the_image_runs_as_nobody_special():
    users = re.findall(r"^USER (\S+)", DOCKERFILE, re.MULTILINE)
    assert users == ["10001:10001"]
    for name in ("worker", "operator", "flower", "sandbox", "metrics", "webhooks"):
        assert SERVICES[name]["init"] is True


@pytest.mark.parametrize("name", SERVICES)
def test_every_service_has_a_read_only_root_no_capability_and_limits(name):
    service = SERVICES[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["mem_limit"]
    assert service["pids_limit"]


def test_redis_refuses_before_its_memory_is_taken_away():
    command = SERVICES["redis"]["command"]
    assert command[command.index("--maxmemory") + 1] == "1gb"
    assert SERVICES["redis"]["mem_limit"] == "2g"


def test_each_service_is_on_the_networks_of_its_side():
    assert {name: set(service["networks"]) for name, service in SERVICES.items()} == {
        "redis": {"voice", "worker", "watch"},
        "worker": {"worker"},
        "operator": {"worker"},
        "sandbox": {"worker"},
        "flower": {"watch"},
        "flower-operator": {"watch"},
        "metrics": {"watch", "monitoring"},
        "webhooks": {"watch"},
        "prometheus": {"monitoring"},
        "grafana": {"monitoring"},
    }
    assert COMPOSE["networks"]["voice"] == {"name": "call-transfer", "internal": True}


def test_each_service_has_its_own_user_at_redis_and_the_secrets_that_it_needs():
    flower = {"redis_flower_url", "flower_basic_auth"}
    needed = {
        "redis": {"redis_users"},
        "worker": {"redis_worker_url", "piopiy_token", "verify_keys", "audit_key"},
        "operator": {"redis_operator_url", "signing_key", "audit_key"},
        "flower": flower,
        "flower-operator": flower,
        "metrics": {"redis_viewer_url"},
        "webhooks": {"redis_receiver_url"},
    }
    assert {
        name: set(service["secrets"]) for name, service in SERVICES.items() if "secrets" in service
    } == needed
    for name, secrets in needed.items():
        named = {
            value for value in SERVICES[name].get("environment", {}).values() if "/secrets/" in str(value)
        }
        assert name == "redis" or named == {f"/run/secrets/{secret}" for secret in secrets}
    made = make_secrets(dict.fromkeys(IN_FILES, "x"))
    assert COMPOSE["secrets"] == {
        name: {"file": f"./secrets/{name}"} for name in set().union(*needed.values())
    }
    assert made.keys() >= COMPOSE["secrets"].keys()


def test_what_the_image_copies_is_there_and_not_ignored():
    allowed = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    copied = [
        source
        for line in re.findall(r"^COPY (?!--from)(.+)$", DOCKERFILE, re.MULTILINE)
        for source in line.split()[:-1]
    ]
    assert copied
    for source in copied:
        assert (ROOT / source).exists(), source
        assert Path(source).parts[0] in allowed, source


def test_only_what_people_look_at_has_a_port_on_the_host_and_that_on_loopback_only():
    assert {name: service["ports"] for name, service in SERVICES.items() if "ports" in service} == {
        "flower": ["127.0.0.1:5555:5555"],
        "flower-operator": ["127.0.0.1:5556:5555"],
        "grafana": ["127.0.0.1:3000:3000"],
        "prometheus": ["127.0.0.1:9090:9090"],
        "webhooks": ["127.0.0.1:8910:8910"],
    }


def test_flower_has_twice_the_memory_that_it_needs():
    assert SERVICES["flower"]["mem_limit"] == SERVICES["flower-operator"]["mem_limit"] == "512m"


def test_only_the_worker_gets_the_token():
    for name, service in SERVICES.items():
        assert ("env_file" in service) == (name == "worker")
        assert ("piopiy_token" in service.get("secrets", [])) == (name == "worker")


def test_the_worker_is_given_the_registry_that_init_writes():
    (mount,) = [volume for volume in SERVICES["worker"]["volumes"] if isinstance(volume, dict)]
    assert mount["source"] == f"${{TRANSFER_DESTINATIONS_FILE:-./{DESTINATIONS_FILE}}}"
    assert mount["target"] == SERVICES["worker"]["environment"]["TRANSFER_DESTINATIONS_FILE"]


def test_redis_writes_everything_down_and_evicts_nothing():
    redis = SERVICES["redis"]
    options = dict(zip(redis["command"][1::2], redis["command"][2::2], strict=True))
    assert options == {
        "--appendonly": "yes",
        "--appendfsync": "always",
        "--save": "",
        "--maxmemory": "1gb",
        "--maxmemory-policy": "noeviction",
        "--hash-max-listpack-value": "4096",
        "--aclfile": "/run/secrets/redis_users",
    }
    assert redis["volumes"] == ["redis-data:/data"]
    assert redis["healthcheck"]["test"][0] == "CMD"
    for name in ("worker", "flower"):
        assert SERVICES[name]["depends_on"]["redis"] == {"condition": "service_healthy"}


def test_sandbox_and_monitoring_take_part_only_when_asked():
    assert {name: service["profiles"] for name, service in SERVICES.items() if "profiles" in service} == {
        "flower-operator": ["operator"],
        "operator": ["tools"],
        "sandbox": ["sandbox"],
        "metrics": ["monitoring"],
        "prometheus": ["monitoring"],
        "grafana": ["monitoring"],
        "webhooks": ["webhooks"],
    }


def test_prometheus_asks_the_metrics_service_and_grafana_asks_prometheus():
    monitoring = ROOT / "monitoring"
    (job,) = yaml.safe_load((monitoring / "prometheus.yml").read_text())["scrape_configs"]
    port = SERVICES["metrics"]["command"][-1]
    assert job["static_configs"] == [{"targets": [f"metrics:{port}"]}]
    (source,) = yaml.safe_load((monitoring / "grafana" / "datasources.yml").read_text())["datasources"]
    assert source["url"] == "http://prometheus:9090"


@pytest.mark.parametrize("name", ["prometheus", "grafana"])
def test_what_monitoring_mounts_is_there(name):
    mounted = [volume.split(":") for volume in SERVICES[name]["volumes"] if volume.startswith("./")]
    assert mounted
    for source, target, mode in mounted:
        assert (ROOT / source).is_file()
        assert Path(source).name == Path(target).name
        assert mode == "ro"
    (provider,) = yaml.safe_load((ROOT / "monitoring/grafana/dashboards.yml").read_text())["providers"]
    if name == "grafana":
        home = SERVICES[name]["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"]
        assert home in {target for _, target, _ in mounted}
        assert home.startswith(provider["options"]["path"] + "/")


@pytest.mark.skipif(not ENV_EXAMPLE.exists(), reason=".env.example is not written yet")
def test_every_variable_of_the_compose_file_is_in_the_example():
    # Commented-out lines count: they show the name and its default.
    named = set(re.findall(r"^(?:# ?)?([A-Z_][A-Z0-9_]*)=", ENV_EXAMPLE.read_text(), re.MULTILINE))
    assert set(REFERENCE.findall(COMPOSE_TEXT)) <= named


@pytest.mark.parametrize("text", ["${TRANSFER_X}", "${TRANSFER_X:-3}", "$TRANSFER_X", "a ${TRANSFER_X:?no}"])
def test_variables_are_found_in_every_spelling(text):
    assert REFERENCE.findall(text) == ["TRANSFER_X"]
    assert REFERENCE.findall(text.replace("$", "$$")) == []


def test_the_constraints_are_plain_versions_and_pin_every_requirement():
    lines = (ROOT / "constraints" / "worker.txt").read_text().splitlines()
    pins = {}
    for line in lines:
        if not line.startswith("#"):
            found = re.fullmatch(r"([A-Za-z0-9._-]+)==([A-Za-z0-9.!+_-]+)", line)
            assert found, f"not a plain version: {line}"
            pins[canonicalize_name(found[1])] = found[2]
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = list(project["dependencies"])
    for extra in ("worker", "embedded", "dev"):
        wanted += project["optional-dependencies"][extra]
    for requirement in map(Requirement, wanted):
        pin = pins.get(canonicalize_name(requirement.name))
        assert pin is not None, f"{requirement.name} is not pinned: make constraints"
        assert pin in requirement.specifier, f"{requirement} is pinned to {pin}: make constraints"
