"""The platform in a process of its own: `python -m chaos.sandbox RECORD_FILE MIDDLEMAN_FILE MIX SEED`.

The sandbox, and a middleman in front of it; prints the middleman's origin.
"""

from __future__ import annotations

import json
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from chaos.middleman import Middleman
from transfer_worker.sandbox import DEFAULT_TOKEN, run

if TYPE_CHECKING:
    from transfer_worker.sandbox.server import SandboxServer


def main(record_path: str, middleman_path: str, mix: str, seed: str) -> None:
    """Serve until told to stop."""
    with ExitStack() as stack:

        def begin(sandbox: SandboxServer) -> None:
            middleman = Middleman(sandbox, json.loads(mix), int(seed), Path(middleman_path))
            print(stack.enter_context(middleman).origin, flush=True)

        run("127.0.0.1", 0, DEFAULT_TOKEN, record_path=Path(record_path), on_ready=begin)


if __name__ == "__main__":
    main(*sys.argv[1:])
