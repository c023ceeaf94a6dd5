"""`call-transfer audit …`: whether the audit files are what the workers wrote."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from pathlib import Path  # noqa: TC003 - typer reads the annotations
from typing import TYPE_CHECKING, Annotated, Any

import typer

from transfer_worker.cli.terminal import AsJson, expected_errors, make_console, print_json
from transfer_worker.exit_codes import Exit

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from transfer_worker.audit.findings import Fault, Place, Verification

app = typer.Typer(no_args_is_help=True)


@app.callback()
def audit() -> None:
    """The audit files that workers write (TRANSFER_AUDIT_FILE)."""


@app.command()
def verify(
    files: Annotated[
        list[Path], typer.Argument(metavar="FILE…", help="Audit files, in any order, compressed or not.")
    ],
    complete: Annotated[
        bool,
        typer.Option(
            "--complete",
            help="These are all files of all workers there ever were: the ledger's counters must agree.",
        ),
    ] = False,
    older_files_gone: Annotated[
        bool,
        typer.Option(
            "--older-files-gone", help="Older files were deleted on purpose; a chain may begin later."
        ),
    ] = False,
    allow_plain: Annotated[
        bool,
        typer.Option("--allow-plain", help="Some lines were written before TRANSFER_AUDIT_KEY was set."),
    ] = False,
    offline: Annotated[
        bool, typer.Option("--offline", help="Don't ask Redis where chains end: a cut-off end is not found.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Say whether anybody has edited audit files: each line vouches for itself and for the line before it.

    Each process of a worker writes a chain. Its lines are numbered, and sealed with TRANSFER_AUDIT_KEY, which
    must be set here as it is at the workers; a file sealed with an older key needs that one, too:
    new-id:SECRET,old-id:SECRET. Redis knows where each chain ends. Give rotated files together: their chains
    go on from one to the next.

    What is found, each with its file and line number:
      changed      a line is not what its worker wrote
      removed      lines are missing before this one, or a whole chain is
      inserted     no worker wrote this line, or not twice
      swapped      it stands after a later line of its chain
      cut off      the chain went on after this line
      unknown key  it was sealed with a key that was not given
      without key  it was sealed with none
      missing      (--complete) the ledger has counted more than the files tell

    No fault: a line that a full disk or kill -9 has cut, and one event in two chains: a worker died between
    writing and acknowledging it.

    Examples:
      call-transfer audit verify /var/log/call-transfer/audit.jsonl*
      call-transfer audit verify --older-files-gone --json audit.jsonl audit.jsonl.1.gz

    Exit codes:
      0    nobody has edited them
      1    they are not what the workers wrote, or can't be judged whole
      2    a wrong option or setting, or a file can't be read; nothing is said about any
      3    Redis can't be used; see --offline
      130  Ctrl-C
    """
    with expected_errors(as_json=as_json):
        from transfer_worker.operations.audit_verification import verify_files

        with _show_progress(files, is_wanted=not as_json) as on_bytes:
            found = verify_files(
                files,
                is_offline=offline,
                is_complete=complete,
                older_files_gone=older_files_gone,
                allows_plain=allow_plain,
                on_bytes=on_bytes,
            )
        if as_json:
            print_json(_describe(found))
        else:
            _print(found)
        raise typer.Exit(Exit.FAILED if found.fault_count else Exit.OK)


@contextmanager
def _show_progress(files: Sequence[Path], *, is_wanted: bool) -> Iterator[Callable[[int], object]]:
    if not is_wanted or not sys.stderr.isatty():
        yield lambda _: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TimeRemainingColumn

    columns = BarColumn(), DownloadColumn(), TimeRemainingColumn()
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        total = sum(file.stat().st_size for file in files if file.is_file())
        task = progress.add_task("", total=total)
        yield lambda read: progress.update(task, completed=read)


def _print(found: Verification) -> None:
    console = make_console()
    for fault in found.faults:
        where = _describe_place(fault.place)
        chain = f" ({fault.chain})" if fault.chain else ""
        console.print(f"{fault.kind:<12} {where + ': ' if where else ''}{fault.text}{chain}", markup=False)
    if found.fault_count > len(found.faults):
        console.print(f"… and {found.fault_count - len(found.faults):,} more")
    for place in found.unfinished:
        why = "no fault: a full disk or kill -9 has cut it, or it is being written"
        console.print(f"{'(cut)':<12} {_describe_place(place)}: {why}", markup=False)
    lines = f"{found.lines:,} lines of {len(found.chains):,} chain{'s' * (len(found.chains) != 1)}"
    faults = f"{found.fault_count:,} fault{'s' * (found.fault_count != 1)}"
    console.print(f"{lines}: {faults if found.fault_count else 'as they were written'}.")


def _describe_place(place: Place) -> str:
    return f"{place.path}:{place.line}" if place.line else place.path


def _describe(found: Verification) -> dict[str, Any]:
    return {
        "intact": not found.fault_count,
        "lines": found.lines,
        "chains": found.chains,
        "fault_count": found.fault_count,
        "faults": [_describe_fault(fault) for fault in found.faults],
        "unfinished": [{"file": place.path, "line": place.line} for place in found.unfinished],
    }


def _describe_fault(fault: Fault) -> dict[str, Any]:
    return {
        "kind": fault.kind.value,
        "file": fault.place.path,
        "line": fault.place.line,
        "chain": fault.chain,
        "text": fault.text,
    }
