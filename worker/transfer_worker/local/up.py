"""`call-transfer up`: Redis, a worker and Flower, kept running; against the sandbox unless a token is set."""

from __future__ import annotations

import os
import shlex
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from pydantic import Field, SecretStr

from transfer_tasks.errors import SettingsError
from transfer_tasks.settings import RULE_FIELDS, PublisherSettings, Settings, load_settings
from transfer_worker.audit.console import AuditWatch, print_line
from transfer_worker.local.demo_steps import DESTINATIONS
from transfer_worker.local.redis_keeper import RedisKeeper
from transfer_worker.local.setup_files import SANDBOX_NUMBER, make_flower_login
from transfer_worker.local.stack import Child, ChildFailed, Stack, is_listening, pick_port
from transfer_worker.runtime.process_split import spread_slots
from transfer_worker.sandbox import DEFAULT_TOKEN
from transfer_worker.settings import WorkerSettings, is_this_machine

if TYPE_CHECKING:
    from pathlib import Path

    from rich.console import Console

FLOWER_PORT: Final = 5555
_LOOK_SECONDS: Final = 0.2


class _Given(Settings):
    """What the user has set, of what `up` would otherwise choose."""

    piopiy_token: SecretStr | None = Field(None, validation_alias="PIOPIY_TOKEN")
    piopiy_number: str | None = Field(None, validation_alias="PIOPIY_NUMBER")
    piopiy_api_url: str = Field("", validation_alias="PIOPIY_API_URL")
    flower_basic_auth: SecretStr | None = Field(None, validation_alias="FLOWER_BASIC_AUTH")
    redis_url: SecretStr | None = None
    allow_unlisted: str | None = None
    audit_file: str | None = None

    @property
    def is_sandbox(self) -> bool:
        """Whether no call can be moved: without a token, or with the sandbox's own and an address on here."""
        if self.piopiy_token is None:
            return True
        is_its_token = self.piopiy_token.get_secret_value() == DEFAULT_TOKEN
        return is_its_token and is_this_machine(urlsplit(self.piopiy_api_url).hostname or "")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Login:
    """Flower's login, and whether it has to be shown because nobody knows it yet."""

    basic_auth: str
    is_new: bool

    @classmethod
    def make(cls, given: SecretStr | None) -> _Login:
        if given is not None:
            return cls(basic_auth=given.get_secret_value(), is_new=False)
        return cls(basic_auth=make_flower_login(), is_new=True)


def run_up(console: Console, *, data_dir: Path) -> None:
    """Start everything, say where it is, show audit lines, until an interrupt.

    Args:
        console: Where it is said.
        data_dir: Where Redis, Flower, the audit log and the children's output are kept.

    Raises:
        SettingsError: The settings are wrong.
        EmbeddedRedisError: There is no Redis to be had, or ours ends again and again.
        ChildFailed: The worker or Flower does not come up, or the worker has ended for good.
    """
    data_dir = data_dir.resolve()
    data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    given = load_settings(_Given)
    with Stack(data_dir) as stack:
        server = stack.add_redis(data_dir / "redis") if given.redis_url is None else None
        keeper = None
        if server:
            keeper = RedisKeeper(
                server, say=lambda text: console.print(text, style="bold red", soft_wrap=True)
            )
        chosen = _choose(given, stack, data_dir)
        if server:
            chosen["TRANSFER_REDIS_URL"] = server.url
        # A secret that was kept off the disk stays off it.
        is_token_on_disk = given.is_sandbox or not os.environ.get("PIOPIY_TOKEN")
        os.environ.update(chosen)
        settings = WorkerSettings.load()
        redis_url = settings.redis_url.get_secret_value()
        _write_env_file(data_dir / "env", settings, is_token_on_disk=is_token_on_disk)
        login, port = _Login.make(given.flower_basic_auth), pick_port(FLOWER_PORT)
        process_count = len(spread_slots(settings))
        if settings.log_level in {"WARNING", "ERROR"}:
            os.environ["TRANSFER_LOG_LEVEL"] = "INFO"  # at which Celery says that it is ready; into a file
        worker = stack.add_worker(env=os.environ, process_count=process_count)
        flower = stack.add_flower(
            env={
                **os.environ,
                "FLOWER_BASIC_AUTH": login.basic_auth,
                "FLOWER_DB": str(data_dir / "flower.db"),
            },
            port=port,
        )
        if given.is_sandbox:
            console.print(f"Sandbox   {settings.piopiy_api_url} in place of the real platform")
        else:
            console.print(
                f"THE REAL PLATFORM: calls are moved at {settings.piopiy_api_url}", style="bold white on red"
            )
        own = "our own, started again if it ends" if given.redis_url is None else "from TRANSFER_REDIS_URL"
        console.print(f"Redis     {own}; data, audit log and output in {data_dir}")
        console.print(f"Registry  {settings.destinations_file or 'none: only unlisted destinations'}")
        console.print(f"Flower    http://127.0.0.1:{port}  " + _tell_login(login))
        each = "" if process_count == 1 else f"{process_count} processes, each "
        console.print(f"Worker    call-transfer worker, {each}restarted whenever it ends")
        console.print(
            f"\nSend a transfer from another terminal:\n"
            f"  . {shlex.quote(str(data_dir / 'env'))}\n"
            f"  call-transfer send --call-id $(python3 -c 'import uuid; print(uuid.uuid4())') --to support\n"
            f"\nCtrl-C ends everything gracefully.\n",
            soft_wrap=True,
        )
        with AuditWatch(redis_url, show=lambda line: print_line(console, line), since="$"):
            _watch(console, worker, flower, keeper)


def _choose(given: _Given, stack: Stack, data_dir: Path) -> dict[str, str]:
    """Start what the user has not brought along; return the settings that lead there."""
    chosen = {}
    if given.audit_file is None:
        chosen["TRANSFER_AUDIT_FILE"] = str(data_dir / "audit.jsonl")
    if not given.is_sandbox:
        return chosen
    chosen |= _choose_sandbox(given, stack)
    if given.piopiy_number is None:
        chosen["PIOPIY_NUMBER"] = SANDBOX_NUMBER
    if load_settings(PublisherSettings).destinations_file is None:
        registry = data_dir / "destinations.toml"
        if not registry.exists():
            registry.write_text(DESTINATIONS, "utf-8")
        chosen["TRANSFER_DESTINATIONS_FILE"] = str(registry)
    if given.allow_unlisted is None:
        chosen["TRANSFER_ALLOW_UNLISTED"] = "US"
    return chosen


def _choose_sandbox(given: _Given, stack: Stack) -> dict[str, str]:
    """Start a sandbox, at the address in the settings if there is one; one that runs there is used."""
    if given.piopiy_token is None:
        sandbox = stack.add_sandbox()
        return {"PIOPIY_TOKEN": sandbox.token, "PIOPIY_API_URL": sandbox.url}
    port = urlsplit(given.piopiy_api_url).port
    if port is not None and not is_listening(port):
        try:
            stack.add_sandbox(port)
        except OSError as error:
            raise SettingsError([f"PIOPIY_API_URL: no sandbox can listen there: {error.strerror}"]) from error
    return {}


def _write_env_file(path: Path, settings: WorkerSettings, *, is_token_on_disk: bool) -> None:
    """Keep what other commands need in a file of the user's own: passwords stay off the screen."""
    variables = {
        "TRANSFER_REDIS_URL": settings.redis_url.get_secret_value(),
        "TRANSFER_QUEUE": settings.queue,
        "TRANSFER_DESTINATIONS_FILE": str(settings.destinations_file.absolute())
        if settings.destinations_file
        else "",
        **{f"TRANSFER_{name.upper()}": str(getattr(settings, name)) for name in RULE_FIELDS},
        "PIOPIY_API_URL": settings.piopiy_api_url,
        "TRANSFER_ALLOW_HTTP": settings.allow_http,
        "PIOPIY_PROXY_URL": settings.piopiy_proxy_url.get_secret_value() if settings.piopiy_proxy_url else "",
        "PIOPIY_NUMBER": f"+{settings.piopiy_number}" if settings.piopiy_number else "",
    }
    lines = [f"export {name}={shlex.quote(value)}" for name, value in variables.items() if value]
    if is_token_on_disk:
        lines.append(f"export PIOPIY_TOKEN={shlex.quote(settings.piopiy_token.get_secret_value())}")
    else:
        lines.append("# PIOPIY_TOKEN came from the environment. call-transfer doctor needs it, too.")
    if settings.signing_key and os.environ.get("TRANSFER_SIGNING_KEY"):
        lines.append("# TRANSFER_SIGNING_KEY came from the environment. call-transfer send needs it, too.")
    elif settings.signing_key:
        lines.append(f"export TRANSFER_SIGNING_KEY={shlex.quote(settings.signing_key.get_secret_value())}")
    path.touch(mode=0o600)
    path.write_text("\n".join(lines) + "\n", "utf-8")


def _tell_login(login: _Login) -> str:
    if not login.is_new:
        return "(login from FLOWER_BASIC_AUTH)"
    user, _, password = login.basic_auth.partition(":")
    return f"user {user}, password {password} (new at every start; FLOWER_BASIC_AUTH sets one)"


def _watch(console: Console, worker: Child, flower: Child, redis_keeper: RedisKeeper | None) -> None:
    """Return never: an interrupt ends it, the worker's end, or a Redis that can't be kept running."""
    is_told = False
    while True:
        worker.check()
        if redis_keeper:
            redis_keeper.check()
        try:
            flower.check()
        except ChildFailed as error:
            if not is_told:
                console.print(str(error), style="red")
            is_told = True
        time.sleep(_LOOK_SECONDS)
