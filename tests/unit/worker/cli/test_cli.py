"""The command line without Redis: options, exit codes, errors, and what is printed."""

from __future__ import annotations

import io
import json
import re

import pytest
import typer
from rich.console import Console
from typer.testing import CliRunner

from transfer_tasks import errors
from transfer_tasks.intent import TransferIntent
from transfer_tasks.outcome import GUIDE, Reason, State, TransferOutcome
from transfer_worker import cli
from transfer_worker.cli import send, tables
from transfer_worker.cli.terminal import Exit, expected_errors
from transfer_worker.local.redis_executable import RedisServerNotFound
from transfer_worker.operations import describe
from transfer_worker.runtime.findings import Finding, Verdict

CALL_ID = "6f1c1f0e-5b0a-4d4e-9a51-0c9d6a3c2b11"
TRANSFER_ID = "9137de8c-49c4-4180-84bd-ddad37a8246e"
COMMANDS = (
    "init", "demo", "up", "worker", "sandbox", "metrics", "send", "show", "doctor", "status", "list", "tail",
    "why",
    "replay", "resolve", "cancel", "pause", "resume", "acknowledge",
    "quarantine list", "quarantine show", "quarantine drop", "quarantine adopt", "audit verify",
)  # fmt: skip


@pytest.fixture(autouse=True)
def _no_settings_of_ours(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    for name in ("TRANSFER_REDIS_URL", "PIOPIY_TOKEN", "TRANSFER_DESTINATIONS_FILE"):
        monkeypatch.delenv(name, raising=False)


def run(*arguments, **options):
    return CliRunner().invoke(cli.app, list(arguments), **options)


def build(**options):
    given = {"to": ["support"], "pipeline": None, "metadata": [], "call_id": CALL_ID}
    return send.build_intent(**{**given, **options})


# ---- the app


def test_the_version_is_that_of_the_package():
    assert re.fullmatch(r"call-transfer \d+\.\d+\.\d+\n", run("--version").stdout)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help_that_documents_its_exit_codes(command):
    *group, name = command.split()
    answer = run(*group, name, "--help")
    assert answer.exit_code == 0
    assert "Exit codes:" in answer.stdout
    assert "--json" in answer.stdout or name in {"up", "worker", "sandbox", "metrics"}
    assert name in run(*group, "--help").stdout


def test_without_a_name_of_the_user_it_is_asked_for_in_words(monkeypatch):
    for name in ("USER", "LOGNAME"):
        monkeypatch.delenv(name, raising=False)
    answer = run("resume", "--all")
    assert answer.exit_code == Exit.USAGE
    assert "say who you are: --as NAME" in " ".join(answer.stderr.replace("│", "").split())
    monkeypatch.setenv("LOGNAME", "ana")
    assert "who you are" not in run("resume", "--all").stderr


def test_resolve_without_a_choice_names_both():
    answer = run("resolve", TRANSFER_ID, "--reason", "r", "--as", "ana", "--json")
    assert answer.exit_code == Exit.USAGE
    assert json.loads(answer.stdout)["error"]["field"] == "--transferred/--not-transferred"


def test_a_missing_option_is_a_usage_error():
    assert run("send", "--to", "support").exit_code == Exit.USAGE


# ---- send: from options to an intent


@pytest.mark.parametrize(
    ("to", "expected"),
    [
        (["support"], "support"),
        (["+1 202-555-0143"], "+1 202-555-0143"),
        (["sip:desk@pbx.example.com"], "sip:desk@pbx.example.com"),
        ([f"agent:{CALL_ID}"], f"agent:{CALL_ID}"),
        (["+12025550143", f"agent:{CALL_ID}"], ["+12025550143", f"agent:{CALL_ID}"]),
    ],
)
def test_every_kind_of_destination_can_be_written(to, expected):
    assert build(to=to).destination == TransferIntent(call_id=CALL_ID, destination=expected).destination


def test_options_become_fields_and_absent_ones_keep_their_defaults():
    intent = build(
        metadata=["ticket=4711", "note=a=b"], caller_id="+1 202-555-0100", reason=None, requested_by="ops"
    )
    assert intent.metadata == {"ticket": "4711", "note": "a=b"}
    assert (intent.caller_id, intent.reason, intent.requested_by) == ("12025550100", "", "ops")


def test_a_pipeline_is_read_from_a_file_or_from_stdin(tmp_path, monkeypatch):
    pipeline = [
        {
            "action": "connect",
            "params": {"from": "+1 (202) 555-0100"},
            "endpoints": [{"type": "pstn", "number": "+12025550143"}],
        }
    ]
    path = tmp_path / "pipeline.json"
    path.write_text(json.dumps(pipeline))
    expected = TransferIntent(call_id=CALL_ID, destination=pipeline).destination
    assert build(to=[], pipeline=str(path)).destination == expected
    monkeypatch.setattr("sys.stdin", io.StringIO(json.dumps(pipeline)))
    assert build(to=[], pipeline="-").destination == expected


@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({"to": []}, "--to"),
        ({"pipeline": "p.json"}, "--to"),
        ({"metadata": ["ticket"]}, "--metadata"),
        ({"metadata": ["=4711"]}, "--metadata"),
        ({"to": [], "pipeline": "no-such-file.json"}, "--pipeline"),
        ({"to": [], "pipeline": "broken.json"}, "--pipeline"),
        ({"to": ["+1 555 1234567"]}, "destination"),
        ({"call_id": "nope"}, "call_id"),
        ({"expires_in_seconds": 0.5}, "expires_in_seconds"),
    ],
)
def test_what_is_wrong_with_the_options_is_named_and_mended(options, field, tmp_path):
    (tmp_path / "broken.json").write_text("[{")
    with pytest.raises(errors.InvalidIntent) as refused:
        build(**options)
    assert refused.value.field == field
    assert refused.value.fix


def test_an_invalid_intent_is_one_line_with_the_field_and_exit_code_2():
    answer = run("send", "--call-id", CALL_ID, "--to", "+1 555 123 4567", "--json")
    assert answer.exit_code == Exit.USAGE
    assert re.fullmatch(r"call-transfer: destination\S*: .*\n", answer.stderr)
    document = json.loads(answer.stdout)
    assert document["error"]["kind"] == "InvalidIntent"
    assert document["error"]["field"].startswith("destination")
    assert "5551234567" not in re.sub(r"\D", "", answer.stderr + answer.stdout)


# ---- send: from an outcome to a line and an exit code


@pytest.mark.parametrize("reason", list(Reason))
def test_an_outcome_is_one_true_line_and_only_submitted_is_success(reason):
    state = GUIDE[reason].state
    outcome = TransferOutcome(
        transfer_id=TRANSFER_ID, call_id=CALL_ID, state=state, reason=reason, attempts=2, http_status=503
    )
    line = send.tell_outcome(outcome)
    assert line.startswith(f"{state} ({reason}; attempts 2, HTTP 503). {GUIDE[reason].meaning}")
    assert "\n" not in line
    assert send.exit_code_of(outcome) == (0 if state is State.SUBMITTED else 1)
    assert send.describe_outcome(outcome)["next_step"] == GUIDE[reason].next_step


# ---- errors


@pytest.mark.parametrize(
    ("error", "exit_code"),
    [
        (errors.SettingsError(["A is not set", "B is wrong"]), 2),
        (errors.TransferInProgress(call_id=CALL_ID, transfer_id=TRANSFER_ID, state="sending"), 1),
        (errors.IdempotencyConflict(idempotency_key="k", transfer_id=TRANSFER_ID), 1),
        (errors.PublishUnavailable(transfer_id=TRANSFER_ID, cause="refused"), 3),
        (errors.PublishOutcomeUnknown(transfer_id=TRANSFER_ID, cause="timeout"), 3),
        (errors.LedgerUnavailable("timeout"), 3),
        (errors.OutcomeTimeout(transfer_id=TRANSFER_ID, state="waiting", waited_seconds=1.0), 4),
        (errors.TransferNotFound(TRANSFER_ID), 1),
        (RedisServerNotFound([]), 3),
        (KeyboardInterrupt(), 130),
    ],
)
def test_each_expected_error_has_its_exit_code_and_no_traceback(error, exit_code, capsys):
    with pytest.raises(typer.Exit) as ended, expected_errors(as_json=True):
        raise error
    assert ended.value.exit_code == exit_code
    said = capsys.readouterr()
    assert "Traceback" not in said.err
    if exit_code != Exit.INTERRUPTED:
        assert said.err.startswith("call-transfer: ")
        document = json.loads(said.out)
        assert (document["error"]["kind"], document["exit_code"]) == (type(error).__name__, exit_code)
        assert document["error"]["message"] in said.err


def test_a_bug_is_not_taken_for_an_expected_error():
    with pytest.raises(ZeroDivisionError), expected_errors():
        raise ZeroDivisionError


def test_wrong_settings_are_all_listed_with_exit_code_2(monkeypatch):
    monkeypatch.setenv("TRANSFER_REDIS_URL", "http://x")
    monkeypatch.setenv("TRANSFER_MAX_ATTEMPTS", "0")
    for command in ("doctor", "worker"):
        answer = run(command)
        assert answer.exit_code == Exit.USAGE
        for name in ("TRANSFER_REDIS_URL", "TRANSFER_MAX_ATTEMPTS", "PIOPIY_TOKEN"):
            assert name in answer.stderr


def test_a_sandbox_that_cannot_listen_says_so_in_one_line():
    answer = run("sandbox", "--host", "203.0.113.1")
    assert answer.exit_code == Exit.FAILED
    assert re.fullmatch(r"call-transfer: --host.*\n", answer.stderr)


@pytest.mark.parametrize(
    ("arguments", "environment", "slots"),
    [
        (["-c", "4", "--processes", "5"], {}, 4),
        (["-p", "9"], {}, 8),
        (["-c", "2"], {"TRANSFER_PROCESSES": "3", "TRANSFER_CONCURRENCY": "16"}, 2),
        (["--processes", "5"], {"TRANSFER_PROCESSES": "1", "TRANSFER_CONCURRENCY": "4"}, 4),
    ],
)
def test_more_processes_than_transfers_at_a_time_are_refused_with_the_fix(
    monkeypatch, arguments, environment, slots
):
    for name, value in {"PIOPIY_TOKEN": "a-token", **environment}.items():
        monkeypatch.setenv(name, value)
    answer = run("worker", *arguments)
    assert answer.exit_code == Exit.USAGE
    assert re.search(rf"TRANSFER_PROCESSES .* ask for {slots} at most, or leave it out", answer.stderr)
    assert "--processes" in answer.stderr


@pytest.mark.parametrize("number", ["0", "65", "many"])
def test_a_number_of_processes_that_cannot_be_one_is_a_usage_error(number):
    assert run("worker", "--processes", number).exit_code == Exit.USAGE


# ---- what is shown


@pytest.mark.parametrize(
    ("value", "masked"),
    [
        ("call +1 202-555-0143", "call +1*******43"),
        ({"to": "12025550143", "12025550143": 1}, {"to": "+1*******43", "+1*******43": 1}),
        ([12025550143, 17, True, None, 1.5], ["+1*******43", 17, True, None, 1.5]),
        (CALL_ID, CALL_ID),
    ],
)
def test_whatever_the_platform_answered_is_masked(value, masked):
    assert describe.mask_value(value) == masked


def test_findings_are_plain_text_with_their_fix():
    out = io.StringIO()
    findings = [
        Finding(check="redis", verdict=Verdict.PROBLEM, seen="version 5.0", fix="Use [a] newer one."),
        Finding(check="packages", verdict=Verdict.OK, seen="piopiy"),
    ]
    tables.print_findings(Console(file=out, width=100), findings)
    lines = [" ".join(text.split()) for text in out.getvalue().splitlines()]
    assert lines == ["problem redis version 5.0. Use [a] newer one.", "ok packages piopiy"]
