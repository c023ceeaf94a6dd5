"""What errors of Redis's mean, in the words of several versions."""

from __future__ import annotations

import pytest
import redis
from redis._parsers.base import BaseParser

from transfer_tasks.redis.diagnosis import Trouble, diagnose, refuses_the_call
from transfer_tasks.redis.replication import NotReplicated


@pytest.mark.parametrize(
    ("error", "trouble", "passes"),
    [
        (redis.AuthenticationError("WRONGPASS invalid username-password pair"), Trouble.WRONG_LOGIN, False),
        (redis.AuthenticationError("invalid password"), Trouble.WRONG_LOGIN, False),  # Redis 5
        (
            redis.AuthenticationError("Client sent AUTH, but no password is set"),
            Trouble.PASSWORD_NOT_ASKED,
            False,
        ),
        (redis.AuthenticationError("Authentication required."), Trouble.NO_LOGIN, False),
        (redis.AuthenticationError("HELLO must be called with the client already"), Trouble.NO_LOGIN, False),
        (redis.ResponseError("NOAUTH Authentication required."), Trouble.NO_LOGIN, False),
        (redis.ResponseError("Protocol error: unauthenticated bulk length"), Trouble.NO_LOGIN, False),
        (redis.ResponseError("ERR DB index is out of range"), Trouble.NO_DATABASE, False),
        (redis.ResponseError("ERR invalid DB index"), Trouble.NO_DATABASE, False),
        (redis.exceptions.NoPermissionError("this user has no permissions"), Trouble.NO_PERMISSION, False),
        (
            redis.ResponseError(
                "The user executing the script can't run this command or subcommand script: 1"
            ),
            Trouble.NO_PERMISSION,
            False,
        ),
        (
            redis.ResponseError("ACL failure in script: No permissions to access a key"),
            Trouble.NO_PERMISSION,
            False,
        ),
        (redis.ResponseError("DENIED Redis is running in protected mode because"), Trouble.PROTECTED, False),
        (redis.exceptions.ClusterCrossSlotError("Keys in request"), Trouble.CLUSTER, False),
        (redis.exceptions.MovedError("3999 127.0.0.1:6381"), Trouble.CLUSTER, False),
        (redis.exceptions.ClusterDownError("Hash slot not served"), Trouble.CLUSTER, False),
        (redis.ResponseError("SELECT is not allowed in cluster mode"), Trouble.CLUSTER, False),
        (redis.exceptions.MasterDownError("Link with MASTER is down"), Trouble.MASTER_DOWN, True),
        (
            redis.exceptions.ReadOnlyError("You can't write against a read only replica."),
            Trouble.READ_ONLY,
            True,
        ),
        (
            redis.ResponseError("Error running script: -READONLY You can't write"),
            Trouble.READ_ONLY,
            True,
        ),  # 6.2
        (redis.BusyLoadingError("Redis is loading the dataset in memory"), Trouble.LOADING, True),
        (redis.ConnectionError("max number of clients reached"), Trouble.MAX_CLIENTS, True),
        (redis.OutOfMemoryError("command not allowed when used memory > 'maxmemory'."), Trouble.FULL, True),
        (redis.ResponseError("MISCONF Redis is configured to save RDB snapshots, but"), Trouble.DISK, True),
        (redis.ResponseError("NOREPLICAS Not enough good replicas to write."), Trouble.NO_REPLICAS, True),
        (NotReplicated("0 of 1 replicas have it after 500 ms"), Trouble.NO_REPLICAS, True),
        (redis.ResponseError("BUSY Redis is busy running a script."), Trouble.BUSY, True),
        (redis.ResponseError("unknown command 'EVALSHA', with args"), Trouble.UNKNOWN_COMMAND, False),
        (redis.InvalidResponse('Protocol error, got "<" as reply type byte'), Trouble.NO_REDIS, False),
        (redis.ConnectionError("Connection closed by server."), Trouble.CLOSED, True),
        (
            redis.ConnectionError("[SSL: WRONG_VERSION_NUMBER] wrong version number"),
            Trouble.PLAIN_PORT,
            False,
        ),
        (redis.ConnectionError("[SSL: CERTIFICATE_VERIFY_FAILED] certificate"), Trouble.UNTRUSTED, False),
        (redis.ConnectionError("[SSL: TLSV13_ALERT_CERTIFICATE_REQUIRED] tlsv13"), Trouble.NO_TLS, False),
        (redis.TimeoutError("Timeout reading from socket"), Trouble.SILENT, True),
        (
            redis.ConnectionError("Error 111 connecting to h:1. Connection refused."),
            Trouble.UNREACHABLE,
            True,
        ),
        (ConnectionRefusedError(111, "Connection refused"), Trouble.UNREACHABLE, True),
        (redis.sentinel.MasterNotFoundError("none of 3 Sentinels names a primary"), Trouble.NO_PRIMARY, True),
        (redis.ResponseError("ERR something new"), Trouble.REFUSED, True),
    ],
)
def test_each_error_is_told_in_words_with_a_fix(error: Exception, trouble: Trouble, passes: bool) -> None:
    found = diagnose(error)

    assert (found.trouble, found.passes) == (trouble, passes)
    assert found.fix.endswith((".", "?", "pem"))
    assert "CONFIG SET" not in str(found)  # managed services forbid it
    assert not found.seen.endswith(".")


def test_a_server_that_answers_is_not_said_to_be_silent() -> None:
    for answer in ("WRONGPASS x", "NOAUTH x", "ERR DB index is out of range", "NOPERM x", "ERR unheard-of"):
        assert "no answer" not in diagnose(redis.ResponseError(answer)).seen


def test_the_command_that_an_error_is_about_is_not_quoted() -> None:
    error = redis.ResponseError("Command # 1 (EVALSHA x 0 +12025550143) of pipeline caused error: NOPERM no")

    assert "2025550143" not in str(diagnose(error))
    assert diagnose(error).trouble is Trouble.NO_PERMISSION


@pytest.mark.parametrize(
    ("said", "is_refused"),
    [
        ("NOPERM User app has no permissions to run the 'evalsha' command", True),  # Redis 7 and 8, Valkey
        ("NOPERM this user has no permissions to run the 'evalsha' command or its subcommand", True),  # 6.2
        ("NOPERM this user has no permissions to run the 'eval' command or its subcommand", True),
        # Raised by a command within the script: what it had written before stays.
        ("NOPERM User app has no permissions to run the 'xadd' command", False),
        ("ERR ACL failure in script: User app has no permissions to run the 'xadd' command", False),
        ("ERR The user executing the script can't run this command or subcommand", False),
        ("ERR ACL failure in script: No permissions to access a key", False),
        ("ERR user_script:1: Script attempted to access nonexistent global variable 'x'", False),
        ("WRONGTYPE Operation against a key holding the wrong kind of value", False),
    ],
)
def test_only_a_permission_for_the_call_itself_says_that_nothing_was_changed(
    said: str, is_refused: bool
) -> None:
    # As redis-py reads it off the wire: the first word makes the class.
    assert refuses_the_call(BaseParser.parse_error(said)) is is_refused


@pytest.mark.parametrize(
    "said",
    [
        "NOREPLICAS Not enough good replicas to write. script: 0f2a9, on @user_script:612.",
        (
            "Error running script (call to f_0f2a9): @user_script:612: @user_script: 612: "
            "-NOREPLICAS Not enough good replicas to write."
        ),
    ],
)
def test_where_in_a_script_it_was_said_is_nobodys_concern(said):
    assert diagnose(redis.ResponseError(said)).seen == (
        "too few replicas follow: NOREPLICAS Not enough good replicas to write"
    )


@pytest.mark.parametrize("where", ["4f7a0c, on @user_script:12", "on @user_script:608"])
def test_where_in_a_script_it_was_said_is_left_out(where):
    found = diagnose(redis.ResponseError(f"NOREPLICAS Not enough good replicas to write. script: {where}."))
    assert "script" not in str(found)
