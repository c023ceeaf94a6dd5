"""The systems: how each one's worker is started, with the settings that its own documents recommend."""

import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from benchmarks.peers.post import PIPELINE, TOKEN
from benchmarks.stage.processes import python_of
from benchmarks.stage.turns import few_of
from transfer_worker.local.setup_files import make_keys

BIN = Path(sys.executable).parent

KEYS = make_keys()
"""What is asked for is signed, as in any new set-up; producers and workers of one run share the key."""

REGISTRY = """\
[support]
description = "People who can help"
endpoints = ["+{number}"]
caller_id = "{caller_id}"
"""


@dataclass(frozen=True)
class System:
    """One column.

    Attributes:
        peer: The module in `benchmarks.peers`.
        worker: Makes the worker's command from the concurrency.
        note: What the settings are, for the report.
        venv: Where it lives, if not in this interpreter's.
        is_forking: Whether 32 at a time means 32 processes.
        sources: Folders that go before what is installed, for another revision of this project.
        is_judged: Whether a target names it. The others have fewer rounds; the page says so.
    """

    name: str
    peer: str
    worker: Callable[[int], list[str]]
    note: str
    venv: str = ""
    is_forking: bool = False
    sources: tuple[str, ...] = ()
    is_judged: bool = True

    def rounds_of(self, rounds: int) -> int:
        return rounds if self.is_judged else few_of(rounds)


def _command(words: str) -> Callable[[int], list[str]]:
    """Return what makes a command of ``{bin}``, ``{python}`` and ``{n}``, the concurrency."""

    def build(concurrency: int) -> list[str]:
        names = {
            "bin": BIN,
            "python": sys.executable,
            "arq_python": python_of(ARQ_VENV),
            "n": concurrency,
        }
        return [word.format(**names) for word in words.split()]

    return build


ARQ_VENV = ".venv-bench-arq"
PEERS = "benchmarks.peers"

SYSTEMS = (
    System(
        "call-transfer",
        "ours",
        _command("{bin}/call-transfer worker -c {n}"),
        "as shipped: ledger, fencing, policy, audit log, events, remote control, processes by its own rule",
    ),
    System(
        "floor",
        "floor",
        _command(f"{{python}} -m {PEERS}.floor"),
        "redis-py LPUSH and BRPOP, a thread pool; loses what a crash holds",
    ),
    System(
        "celery threads",
        "celery_peer",
        _command(f"{{bin}}/celery -A {PEERS}.celery_peer worker -P threads -c {{n}} -l WARNING"),
        "defaults, -P threads, no results, no events",
    ),
    System(
        "celery prefork",
        "celery_peer",
        _command(f"{{bin}}/celery -A {PEERS}.celery_peer worker -P prefork -c {{n}} -l WARNING"),
        "defaults, prefork, no results, no events",
        is_judged=False,
    ),
    System(
        "huey",
        "huey_peer",
        _command(f"{{bin}}/huey_consumer {PEERS}.huey_peer.huey -k thread -w {{n}} -q"),
        "RedisHuey (blocking pop), -k thread, no results",
    ),
    System(
        "saq",
        "saq_peer",
        _command(f"{{bin}}/saq {PEERS}.saq_peer.settings -q"),
        "asyncio worker, the POST in a thread pool as large as the concurrency",
    ),
    System(
        "taskiq",
        "taskiq_peer",
        _command(
            f"{{bin}}/taskiq worker {PEERS}.taskiq_peer:broker -w 1 --max-threadpool-threads {{n}}"
            " --max-async-tasks {n} --log-level WARNING"
        ),
        "RedisStreamBroker, one worker process, sync task in its thread pool",
        is_judged=False,
    ),
    System(
        "dramatiq",
        "dramatiq_peer",
        _command(f"{{bin}}/dramatiq {PEERS}.dramatiq_peer -p 1 -t {{n}} --skip-logging"),
        "defaults, one process, threads",
        is_judged=False,
    ),
    System(
        "arq",
        "arq_peer",
        _command(f"{{arq_python}} -m arq {PEERS}.arq_peer.WorkerSettings"),
        "poll_delay 0.01 s instead of its 0.5 s, no results, the POST in a thread pool; redis-py 5",
        venv=ARQ_VENV,
        is_judged=False,
    ),
    System(
        "rq",
        "rq_peer",
        _command("{bin}/rq worker-pool -n {n} -q default"),
        "worker-pool, a fork for each job (its default), no results",
        is_forking=True,
        is_judged=False,
    ),
)

IN_ONE_PROCESS = replace(
    SYSTEMS[0],
    name=f"{SYSTEMS[0].name}, one process",
    worker=_command("{bin}/call-transfer worker -c {n} --processes 1"),
    note="as shipped, but not spread over processes",
)
"""What tells whether it is worth it to spread slots over processes; no column of its own."""


def find_systems(names: str) -> list[System]:
    """Return the systems named, in the order of the table; all for an empty text."""
    wanted = {name.strip() for name in names.split(",") if name.strip()}
    unknown = wanted - {system.name for system in SYSTEMS}
    if unknown:
        raise SystemExit(f"no such system: {', '.join(sorted(unknown))}")
    return [system for system in SYSTEMS if not wanted or system.name in wanted]


def environment(*, redis_url: str, api_url: str, concurrency: int, directory: Path) -> dict[str, str]:
    """What producers and workers of every system get."""
    registry = directory / "destinations.toml"
    params, endpoint = PIPELINE[0]["params"], PIPELINE[0]["endpoints"][0]
    registry.write_text(REGISTRY.format(number=endpoint["number"], caller_id=params["caller_id"]))
    return {
        "BENCH_REDIS_URL": redis_url,
        "BENCH_API_URL": api_url,
        "BENCH_CONCURRENCY": str(concurrency),
        "RQ_REDIS_URL": redis_url,
        "TRANSFER_REDIS_URL": redis_url,
        "TRANSFER_DESTINATIONS_FILE": str(registry),
        **KEYS,
        "PIOPIY_TOKEN": TOKEN,
        "PIOPIY_API_URL": api_url,
    }
