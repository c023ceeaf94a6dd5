"""What a command imports before it answers: counted, because seconds depend on the machine."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

RUN = """
import json, sys
from transfer_worker import cli
try:
    cli.app(sys.argv[1:])
finally:
    sys.stderr.write(json.dumps(sorted(sys.modules)))
"""
FOR_WORKERS = frozenset(
    {"celery", "kombu", "billiard", "piopiy_voice", "requests", "urllib3", "structlog", "tenacity", "flower"}
)
FOR_REQUESTS = frozenset(
    {"transfer_tasks.intent", "transfer_tasks.registry", "transfer_tasks.rules", "transfer_tasks.publisher"}
)


def imported_by(*words, redis_url, cwd):
    ended = subprocess.run(
        [sys.executable, "-c", RUN, *words],
        env={**os.environ, "TRANSFER_REDIS_URL": redis_url},
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    return frozenset(json.loads(ended.stderr))


@pytest.mark.parametrize(
    ("words", "without", "most"),
    [
        (["--version"], FOR_WORKERS | FOR_REQUESTS | {"redis", "pydantic", "rich", "asyncio"}, 230),
        (["--help"], FOR_WORKERS | FOR_REQUESTS | {"redis", "pydantic", "asyncio"}, 360),
        (["status"], FOR_WORKERS | FOR_REQUESTS | {"markdown_it"}, 610),
        (["list"], FOR_WORKERS | FOR_REQUESTS | {"markdown_it"}, 610),
        (["show", "{call}"], FOR_WORKERS | FOR_REQUESTS | {"markdown_it"}, 610),
    ],
    ids=lambda words: words[0] if isinstance(words, list) else "",
)
def test_a_command_imports_only_what_it_needs(bench, redis_url, tmp_path, words, without, most):
    words = [word.format(call=bench.record(bench.accept().transfer_id).call_id) for word in words]

    imported = imported_by(*words, redis_url=redis_url, cwd=tmp_path)

    assert imported & without == frozenset()
    assert len(imported) <= most, sorted(imported)
