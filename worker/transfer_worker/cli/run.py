"""The commands that keep something running: worker, sandbox, metrics, webhooks, demo, up."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from transfer_worker.cli.terminal import (
    AsJson,
    expected_errors,
    fail,
    make_console,
    print_json,
    stop_signals_raise,
)
from transfer_worker.exit_codes import Exit


class LogLevel(StrEnum):
    """As in TRANSFER_LOG_LEVEL."""

    DEBUG = "DEBUG"
    INFO = "INFO"
    WARNING = "WARNING"
    ERROR = "ERROR"


def worker(
    concurrency: Annotated[
        int | None,
        typer.Option(
            "--concurrency",
            "-c",
            min=1,
            max=256,
            show_default="TRANSFER_CONCURRENCY, or 8",
            help="Transfers at a time.",
        ),
    ] = None,
    processes: Annotated[
        int | None,
        typer.Option(
            "--processes",
            "-p",
            min=1,
            max=64,
            show_default="TRANSFER_PROCESSES, or one for every 16 begun, at most one for each core",
            help="Processes that share these transfers; each takes about 110 MB.",
        ),
    ] = None,
    log_level: Annotated[
        LogLevel | None,
        typer.Option(
            case_sensitive=False,
            show_default="TRANSFER_LOG_LEVEL, or INFO",
            help="Lowest level that is logged.",
        ),
    ] = None,
) -> None:
    """Carry transfers out: run Celery in one process or several, and start again whichever ends unasked.

    SIGTERM or Ctrl-C lets transfers in flight finish; a second one ends at once.

    Exit codes:
      0  stopped gracefully
      1  ended by a second signal
      2  the settings are wrong; all problems are listed
    """
    with expected_errors():
        from transfer_worker.runtime.lifeline import die_with_parent
        from transfer_worker.runtime.supervisor import supervise_worker

        die_with_parent()
        raise typer.Exit(
            supervise_worker(
                concurrency=concurrency, processes=processes, log_level=log_level and log_level.value
            )
        )


def sandbox(
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port to listen on; 0 for any.")] = 8900,
    token: Annotated[
        str, typer.Option(envvar="SANDBOX_TOKEN", help="The bearer token that it accepts.")
    ] = "sandbox-token",  # noqa: S107 - opens nothing but the sandbox
    record: Annotated[
        Path | None, typer.Option(dir_okay=False, help="Keep every request in this file of JSON lines, too.")
    ] = None,
) -> None:
    """Run a fake of the Piopiy API on this machine: it judges, misbehaves as told, writes everything down.

    For the worker:  PIOPIY_API_URL=http://127.0.0.1:8900/v3 PIOPIY_TOKEN=sandbox-token
    What it saw:     curl -H "Authorization: Bearer sandbox-token" http://127.0.0.1:8900/_sandbox/requests

    Exit codes:
      0  ended by Ctrl-C or SIGTERM
      1  it can't listen there, or not write the file
    """
    with expected_errors():
        from transfer_worker.sandbox import run

        def tell(server: Any) -> None:
            typer.echo(f"PIOPIY_API_URL={server.url}")

        try:
            run(host, port, token, record_path=record, on_ready=tell)
        except OSError as error:
            fail(
                Exit.FAILED,
                f"--host/--port/--record: {error}. Choose others.",
                kind="OSError",
                as_json=False,
            )


def metrics(
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port to listen on; 0 for any.")] = 9808,
) -> None:
    """Tell Prometheus how transfers go: what the ledger has counted, read at each scrape.

    Any number of them says the same, and none of them costs a transfer anything.

    Exit codes:
      0  ended by Ctrl-C or SIGTERM
      1  it can't listen there
      2  the settings are wrong; all problems are listed
    """
    with expected_errors(), stop_signals_raise():
        from threading import Event

        from transfer_tasks.ledger.ledger import Ledger
        from transfer_tasks.redis.connection import connect
        from transfer_tasks.settings import PublisherSettings
        from transfer_worker.monitoring.metrics import MetricsServer

        settings = PublisherSettings.load()
        client = connect(
            settings.redis_url.get_secret_value(), timeout_seconds=settings.publish_budget_seconds
        )
        ledger = Ledger(client, retention_seconds=settings.record_ttl_seconds)
        try:
            with client, MetricsServer(ledger, host=host, port=port) as server:
                typer.echo(server.url)
                Event().wait()
        except OSError as error:
            fail(Exit.FAILED, f"--host/--port: {error}. Choose others.", kind="OSError", as_json=False)
        except KeyboardInterrupt:
            raise typer.Exit(Exit.OK) from None


def webhooks(
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port to listen on; 0 for any.")] = 8910,
    metrics_port: Annotated[
        int | None, typer.Option(min=0, max=65535, help="Tell Prometheus on this port, too.")
    ] = None,
) -> None:
    """Receive the platform's webhooks: whether anybody has picked up goes on record.

    In the platform's dashboard, Live Events and CDRs go to https://YOUR-HOST/webhooks/TRANSFER_WEBHOOK_SECRET.
    Put a server that ends TLS in front of it. It needs: pip install "call-transfer[worker,webhooks]"

    Exit codes:
      0  ended by Ctrl-C or SIGTERM
      1  it can't listen there, or the extra is missing
      2  the settings are wrong; all problems are listed
    """
    with expected_errors(), stop_signals_raise():
        from transfer_tasks.ledger.ledger import Ledger
        from transfer_tasks.redis.connection import connect

        try:
            from transfer_worker.webhooks.server import serve
        except ModuleNotFoundError as error:
            hint = 'pip install "call-transfer[worker,webhooks]"'
            fail(Exit.FAILED, f"{error.name} is not installed: {hint}", kind="MissingExtra", as_json=False)
        from transfer_worker.webhooks.settings import WebhookSettings

        settings = WebhookSettings.load()
        url = settings.redis_url.get_secret_value()
        with connect(url, timeout_seconds=settings.publish_budget_seconds) as client:
            ledger = Ledger(client, retention_seconds=settings.record_ttl_seconds)
            try:
                serve(settings, ledger, host=host, port=port, metrics_port=metrics_port, on_ready=typer.echo)
            except OSError as error:
                fail(Exit.FAILED, f"--host/--port: {error}. Choose others.", kind="OSError", as_json=False)
            except KeyboardInterrupt:
                raise typer.Exit(Exit.OK) from None


def demo(as_json: AsJson = False) -> None:
    """Move sandbox calls through the whole system, and show every step. Takes about ten seconds.

    Starts a Redis, a sandbox and a worker of its own, needs no account, and leaves nothing behind. A Redis in
    TRANSFER_REDIS_URL is not touched: it may carry real transfers.

    Exit codes:
      0    all ended as they must
      1    something did not, or the worker did not start
      3    no Redis or Valkey server is to be had; it says what to install
      130  Ctrl-C
    """
    with expected_errors(as_json=as_json), stop_signals_raise():
        from rich.text import Text

        from transfer_worker.audit.console import print_line
        from transfer_worker.cli.tables import print_report
        from transfer_worker.local.demo import REDIS_LEFT_ALONE, is_redis_named, run_demo
        from transfer_worker.local.redis_executable import RedisServerNotFound
        from transfer_worker.local.stack import ChildFailed

        console = make_console()
        console.quiet = as_json
        try:
            report = run_demo(
                say=lambda text: console.print(Text(text, style="bold")),
                show_line=lambda line: print_line(console, line),
            )
        except ChildFailed as error:
            fail(Exit.FAILED, str(error), kind="ChildFailed", as_json=as_json)
        except RedisServerNotFound as error:
            note = f" {REDIS_LEFT_ALONE}" if as_json and is_redis_named() else ""  # else it is said already
            fail(Exit.UNAVAILABLE, f"{error}{note}", kind="RedisServerNotFound", as_json=as_json)
        if as_json:
            print_json(report.as_dict())
        else:
            print_report(console, report)
        raise typer.Exit(Exit.OK if report.is_as_it_must_be else Exit.FAILED)


def up(
    data_dir: Annotated[
        Path, typer.Option(file_okay=False, help="Where Redis, Flower and the logs keep their data.")
    ] = Path("var"),
) -> None:
    """Keep Redis, a worker and Flower running on this machine, and show transfers as they happen.

    With PIOPIY_TOKEN set, calls are moved on the real platform; without, or after `init --sandbox`, in the
    sandbox, which is started unless it runs.
    With TRANSFER_REDIS_URL set, that Redis is used instead of one of our own.
    With FLOWER_BASIC_AUTH=user:password set, that is Flower's login instead of a new one.

    Exit codes:
      0  ended by Ctrl-C or SIGTERM
      1  a part failed; the end of its output is shown
      2  the settings are wrong; all problems are listed
      3  no Redis or Valkey server is to be had, it keeps ending, or another `up` uses the data directory
    """
    with expected_errors(), stop_signals_raise():
        from transfer_worker.local.redis_executable import RedisServerNotFound
        from transfer_worker.local.stack import ChildFailed
        from transfer_worker.local.up import run_up

        try:
            run_up(make_console(), data_dir=data_dir)
        except ChildFailed as error:
            code = Exit.USAGE if error.exit_code == Exit.USAGE else Exit.FAILED
            fail(code, str(error), kind="ChildFailed", as_json=False)
        except RedisServerNotFound as error:
            hint = "Or set TRANSFER_REDIS_URL to a Redis that runs."
            fail(Exit.UNAVAILABLE, f"{error} {hint}", kind="RedisServerNotFound", as_json=False)
        except KeyboardInterrupt:
            typer.echo("Ended.")
