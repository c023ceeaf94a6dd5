"""What is erased goes from Flower too: from its memory, its search, its pages and its file."""

from __future__ import annotations

import base64
import sys
import urllib.parse
import urllib.request
import uuid
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from support import urlopen_directly, wait_until
from support.cluster import make_intent
from support.ports import pick_free_port
from transfer_worker.monitoring import flower_erasure
from transfer_worker.monitoring.flower_erasure import forget

if TYPE_CHECKING:
    from collections.abc import Callable

    from click.testing import Result

    from support.cluster import Cluster
    from support.processes import SpawnedProcess
    from transfer_tasks.publisher import TransferPublisher

WORD, OTHER = "Hopper", "Lovelace"
LOGIN = "on-call:correct-horse"
CONFIG = Path(flower_erasure.__file__).with_name("flowerconfig.py")


class Flower:
    """A real Flower with its file; what it shows, and what it keeps."""

    def __init__(self, cluster: Cluster, folder: Path) -> None:
        self._cluster, self._folder, self._port = cluster, folder, pick_free_port()
        self.process = self._start()

    def _start(self) -> SpawnedProcess:
        environment = {
            "TRANSFER_REDIS_URL": self._cluster.redis_url,
            "FLOWER_BASIC_AUTH": LOGIN,
            "FLOWER_DB": str(self._folder / "flower.db"),
            "FLOWER_STATE_SAVE_INTERVAL": "200",
        }
        command = [
            "-m",
            "celery",
            "-A",
            "transfer_worker",
            "flower",
            f"--conf={CONFIG}",
            f"--port={self._port}",
        ]
        return self._cluster.spawn([sys.executable, *command], env=environment, name="flower")

    def stop(self) -> None:
        self.process.process.terminate()
        self.process.wait(60)

    def start_again(self) -> None:
        self.process = self._start()

    def shows(self, search: str = "") -> str:
        """Return the tasks that are found."""
        return self.look("/api/tasks?" + urllib.parse.urlencode({"search": search}))

    def look(self, path: str) -> str:
        """Return a page; an empty text until it answers."""
        try:
            request = urllib.request.Request(f"http://127.0.0.1:{self._port}{path}")
            request.add_header("Authorization", f"Basic {base64.b64encode(LOGIN.encode()).decode()}")
            with urlopen_directly(request, timeout=30) as answer:
                return str(answer.read().decode())
        except OSError:
            return ""

    def keeps(self) -> str:
        """Return what is in its file."""
        found = []
        for path in self._folder.glob("flower.db*"):
            with suppress(FileNotFoundError):  # written anew this moment, under another name
                found.append(path.read_bytes().decode("latin-1"))
        return "".join(found)


@pytest.fixture
def flower(worker: SpawnedProcess, cluster: Cluster, tmp_path: Path) -> Flower:
    """A Flower that hears of tasks."""
    found = Flower(cluster, tmp_path)
    wait_until(lambda: "w1@test" in found.look("/workers"), message=found.process.output)
    return found


@pytest.fixture
def said(publisher: TransferPublisher, flower: Flower) -> tuple[str, str]:
    """A call of which Flower shows and keeps who has asked and why; a transfer of it; and another call."""
    call_id = str(uuid.uuid4())
    asked = {"reason": f"Grace {WORD} wants her invoice", "requested_by": f"agent of {WORD}"}
    ended = publisher.submit(make_intent("gone", call_id=call_id, **asked))
    ended.outcome()
    publisher.submit(make_intent("support", reason=f"Ada {OTHER} calls")).outcome()
    for word in (WORD, OTHER):
        wait_until(lambda of=word: flower.shows(of) not in {"", "{}"}, message=f"{word} is shown")
        wait_until(lambda of=word: of in flower.keeps(), message=f"{word} is kept")
    return call_id, ended.transfer_id


def erase(ask: Callable[..., Result], call_id: str) -> str:
    answer = ask("erase", call_id, "--reason", "asked for", "--wait", "60")
    assert answer.exit_code == 0, answer.output
    return answer.stdout


def test_a_flower_that_runs_forgets_at_once(
    ask: Callable[..., Result], flower: Flower, said: tuple[str, str]
) -> None:
    call_id, transfer_id = said
    erase(ask, call_id)
    wait_until(lambda: WORD not in flower.shows(), message="it is not shown")
    wait_until(lambda: WORD not in flower.keeps(), message="it is not kept")
    assert flower.shows(WORD) in {"", "{}"}
    shown = flower.shows()
    assert (transfer_id in shown, call_id in shown, OTHER in shown) == (True, True, True)
    assert "call_not_found, attempts 1, HTTP 404" in shown
    assert OTHER in flower.keeps()


def test_a_flower_that_was_away_forgets_before_it_shows_anything(
    ask: Callable[..., Result], flower: Flower, said: tuple[str, str]
) -> None:
    call_id, transfer_id = said
    flower.stop()
    assert "flower.db while no Flower runs" in " ".join(erase(ask, call_id).split())
    assert WORD in flower.keeps()
    flower.start_again()
    first = wait_until(flower.shows, message=flower.process.output)
    assert transfer_id in first
    assert WORD not in first
    assert WORD not in flower.keeps()


class Task:
    """As Celery's, of what somebody has asked for."""

    args: Any = None
    kwargs: Any = "{'requested_by': 'x', 'reason': 'y', 'destination': 'support', 'to': '+1*******43'}"
    result: Any = None
    exception: Any = "TransferRejected('invalid_intent, attempts 0, reason: is longer, ''Grace''')"
    traceback: Any = "Traceback: Grace"


def test_how_it_ended_stays_and_the_words_go() -> None:
    task = Task()
    assert forget(task)
    assert (task.kwargs, task.exception, task.traceback) == (
        "{'destination': 'support'}",
        "TransferRejected('invalid_intent, attempts 0)",
        None,
    )
    assert not forget(task)


@pytest.mark.parametrize("kwargs", [None, "", "{'reason': 'cut off", "..."])
def test_what_can_not_be_read_goes_as_a_whole(kwargs: str | None) -> None:
    task = Task()
    task.kwargs, task.result = kwargs, "no ending of ours"
    assert forget(task)
    assert (task.kwargs, task.result) == ("{}", "")
