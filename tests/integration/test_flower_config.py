"""Flower with our configuration: a login or nothing, loopback only, no buttons, a memory."""

from __future__ import annotations

import base64
import re
import socket
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest
from flower.options import default_options

from support import urlopen_directly, wait_until
from support.ports import pick_free_port
from transfer_worker import monitoring

CELERY = Path(sys.executable).with_name("celery")
CONFIG = Path(__file__).parents[2] / "worker" / "flowerconfig.py"
LOGIN = "on-call:correct-horse"


def ask(port, path, *, login=None, method="GET"):
    """Return the HTTP status, or None while nobody listens."""
    request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", method=method)
    if login:
        request.add_header("Authorization", f"Basic {base64.b64encode(login.encode()).decode()}")
    try:
        with urlopen_directly(request, timeout=5) as answer:
            return answer.status
    except urllib.error.HTTPError as error:
        with error:
            return error.code
    except urllib.error.URLError:
        return None


@pytest.fixture
def start_flower(spawn, redis_url, tmp_path):
    def start(*, login=LOGIN, **environment):
        port = pick_free_port()
        flower = spawn(
            [CELERY, "-A", "transfer_worker", "flower", f"--conf={CONFIG}"],
            env={
                "TRANSFER_REDIS_URL": redis_url,
                "FLOWER_PORT": str(port),
                "FLOWER_DB": str(tmp_path / "flower.db"),
                "FLOWER_BASIC_AUTH": login,
                **environment,
            },
            name="flower",
        )
        return flower, port

    return start


@pytest.fixture
def flower_port(start_flower):
    flower, port = start_flower()
    wait_until(lambda: ask(port, "/healthcheck") == 200, message=flower.output)
    return port


@pytest.mark.parametrize(
    "login",
    ["", "on-call", "on-call:", ":secret", "on-call:a,b", "on-call:pässwort", "on-call:elevenchars"],
)
def test_without_a_proper_login_it_does_not_start(start_flower, login):
    flower, _ = start_flower(login=login)
    assert flower.wait() == 1
    assert flower.output().rstrip().splitlines()[-1].startswith("Flower shows who called")
    assert "Traceback" not in flower.output()


def test_a_login_may_stand_in_a_file(start_flower, tmp_path):
    (tmp_path / "login").write_text(f"{LOGIN}\n")
    flower, port = start_flower(login="", FLOWER_BASIC_AUTH_FILE=str(tmp_path / "login"))
    wait_until(lambda: ask(port, "/healthcheck") == 200, message=flower.output)
    assert (ask(port, "/"), ask(port, "/", login=LOGIN)) == (401, 200)

    flower, _ = start_flower(login="", FLOWER_BASIC_AUTH_FILE=str(tmp_path / "nothing"))
    assert flower.wait() == 1
    assert "can't be read" in flower.output()


def test_who_has_sent_a_wrong_login_waits_with_the_right_one_too(flower_port):
    assert ask(flower_port, "/", login=LOGIN) == 200
    assert ask(flower_port, "/", login="on-call:wrong-password") == 401
    started = time.monotonic()
    assert ask(flower_port, "/", login=LOGIN) == 200
    assert time.monotonic() - started >= 0.9


@pytest.mark.parametrize("path", ["/metrics", "/", "/tasks", "/workers", "/api/tasks", "/api/workers"])
def test_nothing_is_shown_without_the_login(flower_port, path):
    assert ask(flower_port, path) == 401
    assert ask(flower_port, path, login="on-call:wrong") == 401
    assert ask(flower_port, path, login=LOGIN) == 200


def test_nothing_can_be_changed_unless_an_operator_says_so(flower_port):
    for path in ("/api/worker/pool/restart/x", "/api/task/revoke/x", "/api/task/send-task/x"):
        assert ask(flower_port, path, login=LOGIN, method="POST") == 403


def test_an_operator_can_turn_control_on(start_flower):
    flower, port = start_flower(FLOWER_READ_ONLY="false")
    wait_until(lambda: ask(port, "/healthcheck") == 200, message=flower.output)
    assert ask(port, "/api/task/revoke/x", login=LOGIN, method="POST") == 200


def test_it_listens_on_127_0_0_1_only(flower_port):
    with socket.socket() as stranger:
        stranger.settimeout(2)
        # Whoever listens on all addresses answers here as well.
        assert stranger.connect_ex(("127.0.0.2", flower_port)) != 0


def test_the_environment_goes_before_the_file(start_flower):
    flower, port = start_flower(FLOWER_ADDRESS="0.0.0.0")
    flower.wait_for_output(rf"Visit me at http://0\.0\.0\.0:{port}", 15)


def test_what_it_saw_is_on_disk_when_it_ends(start_flower, tmp_path):
    flower, port = start_flower()
    wait_until(lambda: ask(port, "/healthcheck") == 200, message=flower.output)
    flower.process.terminate()
    flower.wait()
    assert list(tmp_path.glob("flower.db*")) != []


def test_every_name_in_the_file_is_an_option_of_this_flower():
    text = Path(monitoring.__file__).with_name("flowerconfig.py").read_text()
    names = set(re.findall(r"^(\w+) = _setting\(\s*\"(\w+)\"", text, re.MULTILINE))
    assert len(names) == text.count("= _setting(") > 0
    for assigned, read_from_environment in names:
        assert assigned == read_from_environment
        assert assigned in default_options
