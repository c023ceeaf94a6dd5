"""`call-transfer init`: write `.env` and `destinations.toml`, filled in."""

from __future__ import annotations

from typing import Annotated

import typer

from transfer_worker.cli.terminal import AsJson, expected_errors, stop_signals_raise


def init(
    sandbox: Annotated[
        bool, typer.Option("--sandbox", help="Set up for the sandbox: no account, no call is moved.")
    ] = False,
    token: Annotated[
        str | None,
        typer.Option(
            metavar="TOKEN",
            show_default="PIOPIY_TOKEN",
            help="The REST token of your Piopiy account; - reads it from stdin, where no other user sees it.",
        ),
    ] = None,
    number: Annotated[
        str | None,
        typer.Option(
            metavar="NUMBER", show_default="PIOPIY_NUMBER", help="The number that transferred calls show."
        ),
    ] = None,
    redis_url: Annotated[
        str | None,
        typer.Option(
            metavar="URL",
            show_default="TRANSFER_REDIS_URL; else the local one, and `up` starts its own",
            help="The Redis that carries queue and records.",
        ),
    ] = None,
    compose: Annotated[
        bool, typer.Option("--compose", help="Set up for docker compose, which brings its own Redis.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Write .env and destinations.toml into this folder, filled in; then check them as doctor does.

    What is not given and not in the environment is asked for, if there is a terminal. A file that exists is
    never changed. Only you can read .env.

    Examples:
      call-transfer init --sandbox
      call-transfer init --token - --number "+1 202-555-0100" < token.txt

    Exit codes:
      0    the files are there; what doctor finds is shown, and what to do next
      1    .env exists and is as it was, or a file can't be written
      2    a value is wrong, or missing without a terminal to ask on; nothing is written
      130  Ctrl-C; nothing is written
    """
    with expected_errors(as_json=as_json), stop_signals_raise():
        from transfer_worker.cli.init.set_up import set_up

        set_up(
            is_sandbox=sandbox,
            token=token,
            number=number,
            redis_url=redis_url,
            is_for_compose=compose,
            as_json=as_json,
        )
