"""The sandbox in a process of its own: `python -m chaos.sandbox RECORD_FILE`; prints its origin."""

from __future__ import annotations

import sys
from pathlib import Path

from transfer_worker.sandbox import DEFAULT_TOKEN, run

if __name__ == "__main__":
    run(
        "127.0.0.1",
        0,
        DEFAULT_TOKEN,
        record_path=Path(sys.argv[1]),
        on_ready=lambda sandbox: print(sandbox.origin, flush=True),
    )
