"""What ran where: a figure without its machine is none."""

import os
import platform
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import psutil

from benchmarks.stage.processes import ROOT, python_of
from benchmarks.stage.stage import Stage
from benchmarks.stage.systems import ARQ_VENV

PACKAGES = (
    "call-transfer", "celery", "kombu", "redis", "hiredis", "piopiy", "requests", "huey", "saq", "taskiq",
    "taskiq-redis", "dramatiq", "rq",
)  # fmt: skip


def describe_machine(stage: Stage) -> dict:
    return {
        "processor": _processor(),
        "cores": os.cpu_count(),
        "memory_gb": round(psutil.virtual_memory().total / 1e9),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "redis_server": _name_server(stage.client.info("server")),
        "packages": {name: _version(name) for name in PACKAGES} | {"arq": _version_of_arq()},
        "revision": _revision(),
    }


def _name_server(info: dict) -> str:
    """Valkey says as `redis_version` which Redis it is compatible with."""
    if info.get("server_name") == "valkey":
        return f"Valkey {info['valkey_version']}"
    return f"Redis {info['redis_version']}"


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "not installed"


def _version_of_arq() -> str:
    code = "from importlib.metadata import version; print(version('arq'))"
    told = subprocess.run([python_of(ARQ_VENV), "-c", code], capture_output=True, text=True, check=False)
    return told.stdout.strip() or "not installed"


def _revision() -> str:
    told = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    # What is measured, not what it has written: results and page.
    changed = subprocess.run(
        ["git", "diff", "--quiet", "HEAD", "--", "tasks", "worker", "benchmarks/*.py"], cwd=ROOT, check=False
    )
    return told.stdout.strip() + (" with changes" if changed.returncode == 1 else "")
