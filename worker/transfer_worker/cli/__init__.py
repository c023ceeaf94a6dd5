"""The command `call-transfer`: what can be asked of it. What each command does is in a module of its own."""

from __future__ import annotations

from typing import Annotated

import typer

from transfer_worker.cli import act, ask, audit, health, init, look, quarantine, run

app = typer.Typer(
    name="call-transfer",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="rich",
    # A traceback with local variables would show numbers and tokens.
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(is_wanted: bool) -> None:
    if is_wanted:
        from importlib.metadata import version

        typer.echo(f"call-transfer {version('call-transfer')}")
        raise typer.Exit


@app.callback()
def call_transfer(
    _version: Annotated[
        bool,
        typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version."),
    ] = False,
) -> None:
    """Move live Piopiy calls from a queue: every request ends in one outcome, no call is moved twice.

    Try it, without an account:  call-transfer demo
    It needs a redis-server or valkey-server on this machine; without one it says what to install.

    Set it up:                   call-transfer init
    Settings come from the environment and from .env; call-transfer doctor checks them.
    """


for command in (
    init.init,
    run.demo,
    run.up,
    run.worker,
    run.sandbox,
    run.metrics,
    run.webhooks,
    ask.send,
    ask.show,
    ask.doctor,
    health.health,
    look.status,
    look.tail,
    look.why,
    act.replay,
    act.resolve,
    act.cancel,
    act.pause,
    act.resume,
    act.acknowledge,
    act.erase,
):
    app.command()(command)
app.command("list")(look.list_)
app.add_typer(quarantine.app, name="quarantine")
app.add_typer(audit.app, name="audit")
