"""Revisions of this project against each other, in turns: what did a change bring?"""

import subprocess
import tarfile
from dataclasses import replace
from io import BytesIO

from benchmarks.parts.run import Tell, run_latency
from benchmarks.parts.scripts import measure_footprint
from benchmarks.stage.processes import ROOT
from benchmarks.stage.stage import Stage
from benchmarks.stage.systems import System, find_systems


def run_history(
    stage: Stage, revisions: list[str], into: dict, tell: Tell, *, rounds: int, seconds: float
) -> None:
    """The latency scene for each revision's worker and publisher, with this revision's benchmark.

    And what each leaves in memory and in the AOF, once.
    """
    systems = [_system_of(stage, revision) for revision in revisions]
    run_latency(stage, systems, into, tell, rounds=rounds, seconds=seconds)
    into["footprint"] = {system.name: measure_footprint(stage, system) for system in systems}


def _system_of(stage: Stage, revision: str) -> System:
    tree = stage.directory / revision
    packed = subprocess.run(
        ["git", "archive", revision, "tasks", "worker"], cwd=ROOT, capture_output=True, check=True
    ).stdout
    with tarfile.open(fileobj=BytesIO(packed)) as archive:
        archive.extractall(tree, filter="data")
    return replace(
        find_systems("call-transfer")[0], name=revision, sources=(str(tree / "tasks"), str(tree / "worker"))
    )
