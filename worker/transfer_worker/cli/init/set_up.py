"""What `call-transfer init` does: it asks for what is missing, writes both files, and looks at them."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from getpass import getpass
from typing import TYPE_CHECKING, Any, Final

from pydantic import TypeAdapter, ValidationError

from transfer_tasks.settings import DESTINATIONS_FILE, RedisUrl
from transfer_worker.cli.terminal import fail, make_console, print_json
from transfer_worker.exit_codes import Exit
from transfer_worker.local.compose_secrets import FOLDER, IN_FILES, make_secrets, write_secrets
from transfer_worker.local.setup_files import (
    ENV_FILE,
    SANDBOX_NUMBER,
    SANDBOX_PORT,
    make_audit_key,
    make_flower_login,
    make_keys,
    write_destinations,
    write_env,
)
from transfer_worker.settings import CallerNumber, Token

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Mapping

    from transfer_worker.runtime.findings import Finding

_ASK_TOKEN: Final = "The REST token of your Piopiy account (not shown; empty for the sandbox): "  # noqa: S105
_ASK_NUMBER: Final = "The number that transferred calls show, like +1 202-555-0100: "
FROM_STDIN: Final = "-"


def set_up(
    *,
    is_sandbox: bool,
    token: str | None,
    number: str | None,
    redis_url: str | None,
    is_for_compose: bool,
    as_json: bool,
) -> None:
    """Write both files, and say what comes next; ends with an exit code where nothing can be written."""
    if ENV_FILE.exists() or ENV_FILE.is_symlink():
        _keep_env(as_json=as_json)
    answers = _Answers(is_sandbox=is_sandbox, as_json=as_json)
    values = answers.collect(token=token, number=number, redis_url=redis_url, is_for_compose=is_for_compose)
    try:
        kept_apart = make_secrets(values) if is_for_compose else {}
        if not write_env(
            {name: text for name, text in values.items() if not kept_apart or name not in IN_FILES}
        ):
            _keep_env(as_json=as_json)
        written = [str(ENV_FILE), *([str(DESTINATIONS_FILE)] if write_destinations() else [])]
        if kept_apart and write_secrets(kept_apart):
            written.append(f"{FOLDER}/")
    except OSError as error:
        fail(Exit.FAILED, f"{error.filename}: {error.strerror}.", kind="OSError", as_json=as_json)
    _close(
        written=written,
        values=values,
        is_sandbox=answers.is_sandbox,
        is_for_compose=is_for_compose,
        as_json=as_json,
    )


def _leave_out(values: Mapping[str, str], names: Container[str]) -> dict[str, str]:
    """Return the variables but those of these names."""
    return {name: text for name, text in values.items() if name not in names}


def _keep_env(*, as_json: bool) -> None:
    try:
        note = f"{DESTINATIONS_FILE} was missing and is written. " if write_destinations() else ""
    except OSError as error:
        note = f"{DESTINATIONS_FILE} can't be written: {error.strerror}. "
    fail(
        Exit.FAILED,
        f"{ENV_FILE} exists, and is as it was. {note}Edit it, and check it with call-transfer doctor; or "
        "move it away, and run init again for a new one.",
        kind="FileExistsError",
        as_json=as_json,
    )


@dataclass(slots=True, kw_only=True)
class _Answers:
    """What options, the environment and the person at the terminal say, in this order.

    Attributes:
        is_sandbox: Whether the set-up is for the sandbox; also by an empty answer for the token.
    """

    is_sandbox: bool
    as_json: bool

    def collect(
        self, *, token: str | None, number: str | None, redis_url: str | None, is_for_compose: bool
    ) -> dict[str, str]:
        """Return the variables of `.env` that differ from the template."""
        if self.is_sandbox and token is not None:
            self._refuse("--sandbox has a token of its own: leave out --sandbox or --token.")
        redis_url = redis_url or os.environ.get("TRANSFER_REDIS_URL", "")
        values = {"FLOWER_BASIC_AUTH": os.environ.get("FLOWER_BASIC_AUTH") or make_flower_login()}
        # Keys in the environment are somebody's choice, be it one of the two only.
        keys = make_keys()
        chosen = {name: os.environ[name] for name in keys if os.environ.get(name)}
        if is_for_compose and chosen and chosen.keys() != keys.keys():
            self._refuse(f"--compose: set both {' and '.join(keys)} in the environment, or neither.")
        if is_for_compose or not chosen:
            values |= chosen or keys
        if is_for_compose or not os.environ.get("TRANSFER_AUDIT_KEY"):
            values["TRANSFER_AUDIT_KEY"] = os.environ.get("TRANSFER_AUDIT_KEY") or make_audit_key()
        if redis_url and not is_for_compose:
            self._check(RedisUrl, redis_url, "--redis-url")
            values["TRANSFER_REDIS_URL"] = redis_url
        if not self.is_sandbox:
            values |= self._collect_account(token, number)
        if self.is_sandbox:
            values |= self._make_sandbox(number, is_for_compose=is_for_compose)
        return values

    def _collect_account(self, token: str | None, number: str | None) -> dict[str, str]:
        if token == FROM_STDIN:
            token = sys.stdin.readline().strip()
            self._check(Token, token, "--token")
        given = {"--token": token or os.environ.get("PIOPIY_TOKEN"),
                 "--number": number or os.environ.get("PIOPIY_NUMBER")}  # fmt: skip
        missing = [option for option, value in given.items() if not value]
        if missing and not sys.stdin.isatty():
            self._refuse(
                f"{' and '.join(missing)} missing, and there is no terminal to ask on. Give them, or set "
                "PIOPIY_TOKEN and PIOPIY_NUMBER; or try it without an account: --sandbox."
            )
        secret = given["--token"] or self._ask(_ASK_TOKEN, getpass, Token, may_be_empty=True)
        if not secret:
            self.is_sandbox = True
            return {}
        self._check(Token, secret, "--token")
        shown = given["--number"] or self._ask(_ASK_NUMBER, _read_line, CallerNumber)
        return {"PIOPIY_TOKEN": secret, "PIOPIY_NUMBER": f"+{self._check(CallerNumber, shown, '--number')}"}

    def _make_sandbox(self, number: str | None, *, is_for_compose: bool) -> dict[str, str]:
        from transfer_worker.sandbox import DEFAULT_TOKEN

        shown = number or os.environ.get("PIOPIY_NUMBER") or SANDBOX_NUMBER
        values = {
            "PIOPIY_TOKEN": DEFAULT_TOKEN,
            "PIOPIY_NUMBER": f"+{self._check(CallerNumber, shown, '--number')}",
            "PIOPIY_API_URL": f"http://{'sandbox' if is_for_compose else '127.0.0.1'}:{SANDBOX_PORT}/v3",
        }
        if is_for_compose:
            values |= {"COMPOSE_PROFILES": "sandbox", "TRANSFER_ALLOW_HTTP": "sandbox"}
        return values

    def _ask(
        self, question: str, read: Callable[[str], str], kind: Any, *, may_be_empty: bool = False
    ) -> str:
        while True:
            try:
                text = read(question).strip()
            except EOFError:
                self._refuse("No answer. Nothing is written.")
            except KeyboardInterrupt:
                sys.stderr.write("\nNothing is written.\n")
                raise
            if not text and may_be_empty:
                return ""
            if not (problem := _find_problem(kind, text)):
                return text
            sys.stderr.write(f"{problem}\n")

    def _check(self, kind: Any, text: str, option: str) -> Any:
        if problem := _find_problem(kind, text):
            self._refuse(f"{option}: {problem}")
        return TypeAdapter(kind).validate_python(text)

    def _refuse(self, message: str) -> None:
        fail(Exit.USAGE, message, kind="UsageError", as_json=self.as_json)


def _find_problem(kind: Any, text: str) -> str:
    """Return what is wrong with a value; never the value, which may be a secret."""
    try:
        TypeAdapter(kind).validate_python(text)
    except ValidationError as error:
        return "; ".join(line["msg"] for line in error.errors(include_input=False, include_url=False))
    return ""


def _read_line(question: str) -> str:
    """Ask on stderr: stdout is for what was asked for."""
    sys.stderr.write(question)
    sys.stderr.flush()
    return input()


def _close(
    *, written: list[str], values: dict[str, str], is_sandbox: bool, is_for_compose: bool, as_json: bool
) -> None:
    """Look at the set-up as doctor does, and say what comes next."""
    from transfer_worker.cli import tables
    from transfer_worker.operations import doctor

    overruled = [name for name, value in values.items() if os.environ.get(name, "") not in {"", value}]
    # Inside the containers there are another Redis and other host names than here.
    findings = [] if is_for_compose else doctor.run_doctor()
    next_steps = _next_steps(
        findings,
        is_sandbox=is_sandbox,
        is_for_compose=is_for_compose,
        is_new_registry=str(DESTINATIONS_FILE) in written,
    )
    if as_json:
        described = [doctor.describe_finding(finding) for finding in findings]
        print_json(
            {
                "written": written,
                "is_sandbox": is_sandbox,
                "overruled": overruled,
                "findings": described,
                "next": next_steps,
            }
        )
        return
    console = make_console()
    console.print(f"Written: {', '.join(written)}")
    for name in overruled:
        console.print(f"{name} in the environment wins over {ENV_FILE}: unset it.", style="yellow")
    if findings:
        console.print("\nWhat call-transfer doctor finds:")
        tables.print_findings(console, findings)
    console.print("\nNext:")
    for step in next_steps:
        console.print(f"  {step}", soft_wrap=True)


def _next_steps(
    findings: list[Finding], *, is_sandbox: bool, is_for_compose: bool, is_new_registry: bool
) -> list[str]:
    from transfer_worker.runtime.findings import Verdict

    steps = [] if is_sandbox or not is_new_registry else [f"Put your own numbers into {DESTINATIONS_FILE}."]
    if is_for_compose:
        return [*steps, "docker compose up --build"]
    can_work = findings and all(finding.verdict is not Verdict.PROBLEM for finding in findings)
    if can_work and not is_sandbox:
        return [*steps, "call-transfer worker"]
    return [*steps, "call-transfer up    # starts what is missing here: Redis, the sandbox, a worker, Flower"]
