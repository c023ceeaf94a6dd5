"""Who looks on while transfers go: Flower, whoever scrapes the metrics, an engineer's `status --watch`."""

import re
import secrets
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from benchmarks.stage.processes import ProcessTree
from benchmarks.stage.scraper import Scraper
from benchmarks.stage.stage import Stage
from benchmarks.stage.systems import BIN
from transfer_worker import monitoring
from transfer_worker.local.embedded_redis import pick_free_port

_START_SECONDS = 60.0


class Onlookers:
    def __init__(self, trees: dict[str, ProcessTree], scraper: Scraper) -> None:
        self.trees, self.scraper = trees, scraper

    def check(self) -> None:
        for tree in self.trees.values():
            tree.check()


@contextmanager
def onlookers(stage: Stage, directory: Path) -> Iterator[Onlookers]:
    """Start Flower as compose does, `metrics` with a scraper, and `status --watch`; end them."""
    env = stage.environment(concurrency=8)
    port = pick_free_port()
    flower_env = {
        "FLOWER_BASIC_AUTH": f"bench:{secrets.token_hex(12)}",
        "FLOWER_DB": str(directory / "flower.db"),
    }
    conf = Path(monitoring.__file__).with_name("flowerconfig.py")
    flower = [str(BIN / "celery"), "-A", "transfer_worker", "flower", f"--conf={conf}", f"--port={port}"]
    ours = str(BIN / "call-transfer")
    commands = {
        "flower": (flower, env | flower_env),
        "metrics": ([ours, "metrics", "--port", "0"], env),
        "status": ([ours, "status", "--watch"], env),
    }
    with ExitStack() as entered:
        trees = {}
        for name, (command, its_env) in commands.items():
            trees[name] = ProcessTree(command, env=its_env)
            entered.callback(trees[name].stop)
        _wait_for(lambda: _is_listening(port), trees["flower"])
        url = _wait_for(lambda: re.search(r"http://\S+", trees["metrics"].log()), trees["metrics"])
        _wait_for(lambda: "Transfers at" in trees["status"].log(), trees["status"])
        scraper = Scraper(url[0])
        entered.callback(scraper.stop)
        yield Onlookers(trees, scraper)


def _wait_for(look, tree: ProcessTree):
    give_up_at = time.monotonic() + _START_SECONDS
    while not (seen := look()):
        tree.check()
        if time.monotonic() > give_up_at:
            raise TimeoutError(f"does not come up:\n{tree.log()[-2000:]}")
        time.sleep(0.05)
    return seen


def _is_listening(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
