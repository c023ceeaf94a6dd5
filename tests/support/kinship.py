"""Who descends from a process, and whether they are gone."""

from __future__ import annotations

import subprocess
from collections import defaultdict


def _list_processes() -> dict[int, tuple[int, str, str]]:
    """Return parent, state and command of every process, by process id."""
    listed = subprocess.run(
        ["ps", "-A", "-ww", "-o", "pid=,ppid=,stat=,args="], capture_output=True, text=True, check=True
    ).stdout
    fields = (line.split(None, 3) for line in listed.splitlines())
    return {int(pid): (int(parent), state, "".join(rest)) for pid, parent, state, *rest in fields}


def children(pid: int) -> list[int]:
    """Return the process ids of what `pid` started itself and still has."""
    return [child for child, (parent, _, _) in _list_processes().items() if parent == pid]


def descendants(pid: int) -> dict[int, str]:
    """Return the command of everything that descends from `pid`, by process id."""
    processes = _list_processes()
    children = defaultdict(list)
    for child, (parent, _, _) in processes.items():
        children[parent].append(child)
    found: dict[int, str] = {}
    to_visit = [pid]
    while to_visit:
        for child in children[to_visit.pop()]:
            found[child] = processes[child][2]
            to_visit.append(child)
    return found


def still_running(pids: dict[int, str]) -> dict[int, str]:
    """Return those of `pids` that have not ended; a zombie has."""
    processes = _list_processes()
    return {
        pid: command
        for pid, command in pids.items()
        if pid in processes and not processes[pid][1].startswith("Z") and processes[pid][2] == command
    }
