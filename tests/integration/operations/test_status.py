"""`status` and `list`: how things stand, on one screen and as JSON."""

from __future__ import annotations

import json
import os
import pty
import re
import subprocess
from datetime import UTC, datetime

import pytest

from support import wait_until
from support.ledger_bench import finish, move_twice
from support.operating import COMMAND, as_json, send, stop_with_ctrl_c
from transfer_tasks.outcome import Reason, State
from transfer_worker.operations.listing import Wanted, count_transfers

pytestmark = pytest.mark.usefixtures("no_key_leaks")


def test_status_shows_on_one_screen_how_things_stand(ask, worker, bench):
    assert "Nothing to look at." in ask("status").stdout
    send(ask, "support")
    send(ask, "gone")
    send(ask, "silent")

    seen = as_json(ask("status", "--json"))

    assert (seen["waiting"], seen["in_flight"], seen["unknown"]) == (0, 0, 1)
    assert [window["minutes"] for window in seen["windows"]] == [1, 5, 60]
    for window in seen["windows"]:
        assert (window["outcomes"]["submitted"], window["outcomes"]["rejected"]) == (1, 1)
        assert window["reasons"] == {"call_not_found": 1, "answer_lost": 1}
        assert window["failing_destinations"] == {"gone": 1, "silent": 1}
        assert 0 < window["post_p50_ms"] <= window["post_p99_ms"]
    assert seen["platform"]["requests"] == 3
    assert set(seen["platform"]["shares"]) == {"ok", "denied", "silent"}
    (process,) = seen["workers"]
    assert process["is_alive"]
    assert process["platform"].startswith("127.0.0.1:")
    assert seen["redis"]["is_durable"]

    text = ask("status").stdout
    for said in ("1 unknown, the oldest for", "call-transfer list --state unknown", "answer_lost", "p99"):
        assert said in text
    assert text.count("\n") < 40


def test_status_names_what_somebody_should_look_at(ask, bench):
    assert [concern["command"] for concern in as_json(ask("status", "--json"))["concerns"]] == [
        "call-transfer doctor"
    ]
    accepted = bench.accept()
    bench.client.zincrby(bench.keys.open_ids, -7000, accepted.transfer_id)

    seen = as_json(ask("status", "--json"))

    texts = " ".join(concern["text"] for concern in seen["concerns"])
    assert "No worker gives a sign of life (there was never one)" in texts
    assert "1 waiting, the oldest for 7" in texts


def test_status_names_the_limits_that_were_reached_and_those_in_force(ask, bench):
    bench.heartbeat()
    bench.limit(call="1/60", all="3/60")
    for call_id, destination in (("a", "one"), ("a", "two"), ("b", "one"), ("c", "one"), ("d", "one")):
        bench.cancel(bench.accept(call_id=call_id, destination=destination).transfer_id)

    seen = as_json(ask("status", "--json"))

    assert seen["limits"] == {"call": "1/60", "all": "3/60"}
    assert [window["limits_reached"] for window in seen["windows"]] == [{"all": 1, "call": 1}] * 3
    concern = next(concern for concern in seen["concerns"] if "beyond a limit" in concern["text"])
    assert concern["text"].startswith(
        "Refused beyond a limit on rate in the last minute: 1 by all, 1 by call, since "
    )
    assert concern["command"] == "call-transfer list --reason limit_reached --since 2m"
    assert "Refused beyond a limit on rate" in ask("status").stdout
    listed = as_json(ask("list", "--reason", "limit_reached", "--json"))["transfers"]
    assert {found["destination"] for found in listed} == {"one", "two"}


def test_status_names_the_calls_that_were_perhaps_moved_twice(ask, bench):
    bench.heartbeat()
    pairs = [move_twice(bench) for _ in range(4)]

    seen = as_json(ask("status", "--json"))

    assert seen["possibly_moved_twice"] == 4
    assert [double["transfers"] for double in seen["unacknowledged_double_posts"]] == pairs[::-1]
    texts = [concern["text"] for concern in seen["concerns"] if "moved twice" in concern["text"]]
    for (first, second), text in zip(pairs[:0:-1], texts, strict=False):
        call_id = bench.record(first).call_id
        assert f"Call {call_id} was perhaps moved twice, by transfers {first} and {second}" in text
        assert f"call-transfer show {call_id}" in [concern["command"] for concern in seen["concerns"]]
    assert texts[3:] == ["And perhaps moved twice: 1 more"]
    assert "moved twice  4, not acknowledged: 4" in ask("status").stdout


def test_a_withdrawal_by_the_session_is_no_failure(ask, bench):
    bench.heartbeat()
    bench.cancel(bench.accept().transfer_id)

    assert as_json(ask("status", "--json"))["concerns"] == []


def test_status_watches_on_through_an_outage_of_redis(spawn, private_redis, tmp_path):
    watch = spawn(
        [*COMMAND, "status", "--watch", "--every", "0.1", "--json"],
        env={"TRANSFER_REDIS_URL": private_redis.url},
        cwd=tmp_path,
    )
    watch.wait_for_output(r'^\{"at"')
    private_redis.kill()
    watch.wait_for_output(r'^\{"error"')
    private_redis.restart()
    seen = watch.output().count('{"at"')
    wait_until(lambda: watch.output().count('{"at"') > seen)
    stop_with_ctrl_c(watch)


@pytest.mark.parametrize(("no_color", "is_coloured"), [("", True), ("1", False)])
def test_the_screen_has_colours_on_terminals_that_want_them(redis_url, tmp_path, no_color, is_coloured):
    ours, theirs = pty.openpty()
    env = {"TRANSFER_REDIS_URL": redis_url, "TERM": "xterm-256color", "NO_COLOR": no_color}
    subprocess.run([*COMMAND, "status"], stdout=theirs, env={**os.environ, **env}, cwd=tmp_path, check=True)
    os.close(theirs)
    shown = os.read(ours, 65536).decode()
    os.close(ours)
    assert "No worker gives a sign of life" in shown
    assert ("\x1b[1;31m" in shown) is is_coloured


def test_list_finds_transfers_by_state_reason_destination_and_time(ask, worker, bench):
    taken, gone = send(ask, "support"), send(ask, "gone")
    waiting = bench.accept(destination="later", queue="").transfer_id

    def listed(*options):
        found = as_json(ask("list", "--json", *options))["transfers"]
        return [transfer["transfer_id"] for transfer in found]

    assert listed() == [waiting, gone, taken]
    assert listed("--state", "submitted") == [taken]
    assert listed("--state", "submitted", "--state", "waiting") == [waiting, taken]
    assert listed("--destination", "gone", "--since", "90s") == [gone]
    assert listed("--reason", "call_not_found") == [gone]
    assert listed("--limit", "1") == [waiting]
    text = ask("list").stdout
    assert "rejected (call_not_found)" in text
    assert gone in text
    assert ask("list", "--state", "expired").stdout == "None.\n"


def test_a_span_that_cannot_be_read_is_named_with_its_fix(ask):
    answer = ask("list", "--since", "yesterday", "--json")
    assert answer.exit_code == 2
    assert json.loads(answer.stdout)["error"]["field"] == "--since"
    assert "90s, 5m, 1h or 7d" in answer.stderr


def test_list_says_that_there_are_more_than_it_shows(ask, bench):
    ids = [bench.accept(queue="", asked_by="agent billing-bot").transfer_id for _ in range(3)]

    answer = ask("list", "--limit", "2", "--json")
    assert (len(json.loads(answer.stdout)["transfers"]), json.loads(answer.stdout)["is_cut"]) == (2, True)
    answer = ask("list", "--limit", "2")
    assert "These are 2, and there are more: --limit, up to 10000." in answer.stderr
    assert "agent billing-bot" in answer.stdout
    whole = ask("list", "--limit", "3")
    assert whole.stderr == ""
    assert all(transfer_id in whole.stdout for transfer_id in ids)
    assert as_json(ask("list", "--requester", "agent billing-bot", "--json"))["is_cut"] is False
    assert ask("list", "--requester", "nobody").stdout == "None.\n"


def shift(bench, *, seconds):
    """Let so much time pass for what was counted."""
    bench.heartbeat("counts")
    bench.run(bench.commands.retire(worker="counts"))
    keys = list(bench.client.scan_iter("transfer:statistics:*"))
    for key in sorted(keys, key=lambda key: int(key.rpartition(":")[2])):
        prefix, _, number = key.rpartition(":")
        bench.client.rename(key, f"{prefix}:{int(number) - seconds // 10}")


def fail(bench, *, destination, times=1):
    for _ in range(times):
        finish(bench, destination=destination, state=State.FAILED, reason=Reason.PLATFORM_UNREACHABLE)


def find_concern(ask):
    seen = as_json(ask("status", "--json"))["concerns"]
    (concern,) = [concern for concern in seen if "were not submitted" in concern["text"]]
    return concern["text"], concern["command"]


def test_what_is_over_is_not_blamed(ask, bench):
    bench.heartbeat()
    fail(bench, destination="support", times=5)
    shift(bench, seconds=90)
    assert (
        "in the last 5 min" in find_concern(ask)[0]
    )  # nothing has ended since, so nothing proves that it is over
    finish(bench, destination="support")

    assert as_json(ask("status", "--json"))["concerns"] == []


def test_a_concern_says_since_when_and_lists_all_of_it(ask, bench):
    bench.heartbeat()
    fail(bench, destination="support")  # another incident, which was over
    shift(bench, seconds=600)
    finish(bench, destination="support")
    shift(bench, seconds=300)
    fail(bench, destination="support")
    shift(bench, seconds=400)  # nothing for minutes
    fail(bench, destination="support")

    text, command = find_concern(ask)

    said = "support: 1 of 1 in the last minute were not submitted: 1 for platform_unreachable, since "
    assert text.startswith(said)
    began = datetime.strptime(f"{text.removeprefix(said)} +0000", "%H:%M:%S UTC %z")
    now = datetime.fromtimestamp(bench.client.time()[0], UTC)
    assert 390 <= (now - began).seconds % 86_400 <= 430
    assert re.fullmatch(
        "call-transfer list --destination support --reason platform_unreachable --since [89]m", command
    )


def test_a_concern_about_one_destination_names_it_and_one_about_all_does_not(ask, bench):
    bench.heartbeat()
    for _ in range(5):
        finish(bench, destination="support")
    fail(bench, destination="billing", times=2)
    assert find_concern(ask)[0].startswith(
        "billing: 2 of 2 in the last minute were not submitted: 2 for platform_unreachable, since "
    )

    fail(bench, destination="support", times=3)
    assert find_concern(ask)[0].startswith(
        "5 of 10 in the last minute were not submitted: 5 for platform_unreachable, 3 to support, since "
    )


def test_a_worker_that_is_gone_stays_named_with_since_when(ask, bench):
    bench.heartbeat("w1@host/1-a")
    bench.heartbeat("w2@host/2-b")
    bench.bury("w2@host/2-b")
    bench.recover()
    last_ms = bench.client.zscore(bench.keys.gone, "w2@host/2-b")
    bench.client.zadd(bench.keys.gone, {"w2@host/2-b": (since_ms := bench.client.time()[0] * 1000 - 600_000)})
    assert last_ms

    seen = as_json(ask("status", "--json"))

    since = datetime.fromtimestamp(since_ms / 1000, UTC)
    assert [gone["worker"] for gone in seen["gone_workers"]] == ["w2@host/2-b"]
    (concern,) = seen["concerns"]
    assert concern["text"] == f"A worker is gone: w2@host/2-b (since {since:%H:%M:%S} UTC)"
    assert f"w2@host/2-b  GONE since {since:%Y-%m-%dT%H:%M:%S}" in ask("status").stdout

    bench.client.zincrby(bench.keys.gone, -600_000, "w2@host/2-b")
    assert as_json(ask("status", "--json"))["concerns"] == []  # it is named, and no concern for ever
    bench.client.zincrby(bench.keys.gone, 600_000, "w2@host/2-b")
    bench.heartbeat("w2@host/3-c")  # its successor
    seen = as_json(ask("status", "--json"))
    assert (seen["concerns"], len(seen["gone_workers"])) == ([], 1)
    bench.heartbeat("w2@host/2-b")  # it was frozen, and is back
    assert as_json(ask("status", "--json"))["gone_workers"] == []


def test_who_has_stopped_gracefully_is_not_gone_and_an_hour_is_enough(ask, bench):
    bench.heartbeat("w1@host/1-a")
    bench.heartbeat("w2@host/2-b")
    bench.run(bench.commands.retire(worker="w2@host/2-b"))
    hours_ago_ms = bench.client.time()[0] * 1000 - 3_700_000
    bench.client.zadd(
        bench.keys.gone, {"old": hours_ago_ms, **{f"w{n}": hours_ago_ms + 600_000 + n for n in range(60)}}
    )
    bench.client.expire(bench.keys.gone, 1000)
    bench.recover()
    gone = [gone["worker"] for gone in as_json(ask("status", "--json"))["gone_workers"]]
    assert gone == [f"w{n}" for n in range(10, 60)]


@pytest.mark.parametrize(
    ("restarts", "up_seconds", "is_told"), [(3, 12, True), (2, 12, False), (9, 400, False)]
)
def test_a_worker_that_is_restarted_again_and_again_is_told(ask, bench, restarts, up_seconds, is_told):
    about = {"version": "0.1.0", "restarts": restarts, "up_seconds": up_seconds}
    bench.run(
        bench.commands.heartbeat(
            worker="w1@host/1-a", lease_ms=60_000, about_json=json.dumps(about), queue="transfers"
        )
    )
    told = [concern["text"] for concern in as_json(ask("status", "--json"))["concerns"]]
    assert any("restarted again and again: 3 times, the last 12 s ago" in text for text in told) is is_told
    assert f"restarted {restarts} times" in ask("status").stdout


def test_a_flood_is_seen_with_who_asks_and_where_to(ask, bench):
    bench.heartbeat()
    for _ in range(4):
        bench.accept(queue="", asked_by="agent |loop")
    for who in ("agent a", "agent b", "agent c"):
        finish(bench, asked_by=who)

    seen = as_json(ask("status", "--json"))["windows"][1]

    assert next(iter(seen["requesters"].items())) == ("agent /loop", 4)
    assert seen["requesters"].keys() == {"agent /loop", "agent a", "agent b", "agent c"}
    assert seen["destinations"] == {"support": 3}
    text = ask("status").stdout
    assert re.search(r"asked by\s+agent /loop +4 +4 +4\s", text)
    assert re.search(r"ended to\s+support +3 +3 +3\s", text)


def test_a_registry_that_is_wrong_at_one_of_three_workers_is_told_with_who_has_it(ask, cluster, tmp_path):
    for number, endpoint in enumerate(("0100", "0100", "0101"), 1):
        path = tmp_path / f"registry-{number}.toml"
        path.write_text(f'[support]\ndescription = "Help"\nendpoints = ["+1 202-555-{endpoint}"]\n')
        cluster.start_worker(TRANSFER_DESTINATIONS_FILE=str(path))
    seen = as_json(ask("status", "--json"))
    (strange,) = [worker["worker"] for worker in seen["workers"] if worker["worker"].startswith("w3@")]
    concern = next(concern for concern in seen["concerns"] if "differ" in concern["text"])
    assert concern["text"] == f"Workers differ, and so do their answers: registry at {strange} (1 of 3)"
    assert concern["command"] == "call-transfer doctor"
    found = next(line for line in ask("doctor").stdout.splitlines() if " workers " in line)
    assert f"registry at {strange} (1 of 3)" in found
    assert "Give all of them the same registry file" in found


def test_workers_keep_their_places_on_the_screen_whoever_beats_first(ask, bench):
    for worker in ("w2", "w3", "w1"):
        bench.heartbeat(worker)
    assert [worker["worker"] for worker in as_json(ask("status", "--json"))["workers"]] == ["w1", "w2", "w3"]


def test_transfers_are_counted_by_any_of_their_traits(ask, bench):
    for who, destination in (("agent loop", "sales"), ("agent loop", "sales"), ("agent quiet", "support")):
        finish(bench, asked_by=who, destination=destination)
    fail(bench, destination="sales")
    bench.accept(queue="", asked_by="agent loop", destination="sales")

    def counted(*options):
        return as_json(ask("list", *options, "--json"))["counts"]

    assert counted("--by", "requester", "--by", "destination") == [
        {"count": 3, "requester": "agent loop", "destination": "sales"},
        {"count": 1, "requester": "(not said)", "destination": "sales"},
        {"count": 1, "requester": "agent quiet", "destination": "support"},
    ]
    assert counted("--by", "state", "--by", "reason", "--destination", "sales") == [
        {"count": 2, "state": "submitted", "reason": "accepted_by_platform"},
        {"count": 1, "state": "failed", "reason": "platform_unreachable"},
        {"count": 1, "state": "waiting", "reason": "-"},
    ]
    text = ask("list", "--requester", "agent loop", "--by", "destination").stdout
    assert re.fullmatch(r"count +destination *\n +3 +sales *\n", text)
    assert ask("list", "--state", "expired", "--by", "reason").stdout == "None.\n"
    assert ask("list", "--by", "colour").exit_code == 2


def test_counting_has_a_bound_and_says_where_there_are_more(bench):
    fail(bench, destination="sales", times=3)
    assert count_transfers(bench.ledger, Wanted(), by=["state"], limit=3) == ({("failed",): 3}, False)
    assert count_transfers(bench.ledger, Wanted(), by=["state"], limit=2) == ({("failed",): 2}, True)
