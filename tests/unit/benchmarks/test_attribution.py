"""Which script each command in Lua belongs to, by what MONITOR tells."""

from __future__ import annotations

from benchmarks.figures.attribution import attribute, name_of

from transfer_tasks.ledger.script import load_script

ACCEPT = load_script("accept").sha
CLIENT, OTHER = "127.0.0.1:5000", "127.0.0.1:5001"


def test_what_is_done_in_lua_belongs_to_the_script_named_last():
    lines = [
        (CLIENT, "EVALSHA", ACCEPT),
        ("lua", "HSET", "transfer:record:1"),
        ("lua", "XADD", "transfer:audit"),
        (OTHER, "BRPOP", "transfers"),
        (OTHER, "EVALSHA", load_script("claim").sha),
        ("lua", "HMGET", "transfer:record:1"),
    ]
    assert attribute(lines) == [("accept.lua", 2), ("BRPOP", 0), ("claim.lua", 1)]


def test_each_call_of_a_script_counts_by_itself():
    lines = [(CLIENT, "EVALSHA", ACCEPT), ("lua", "TIME", ""), (CLIENT, "EVALSHA", ACCEPT)]
    assert attribute(lines) == [("accept.lua", 1), ("accept.lua", 0)]


def test_what_a_script_does_that_was_named_before_anybody_listened_is_left_out():
    assert attribute([("lua", "HSET", "k"), (CLIENT, "PING", "")]) == [("PING", 0)]


def test_only_an_evalsha_is_called_by_its_script():
    assert name_of("EVALSHA", ACCEPT) == "accept.lua"
    assert name_of("EVALSHA", "0" * 40) == "EVALSHA"
    assert name_of("GET", ACCEPT) == "GET"
