"""A real Redis or Valkey server of our own: for `demo`, `up` and the tests, on machines that have none.

Three processes, so that the server outlives neither a crash of ours nor a Ctrl-C meant for us::

    we ──── server         a session of its own: Ctrl-C in the terminal reaches us, not it
      └──── watchdog       waits at a pipe that only we hold open; when we are gone, however we
                           went, it ends the server

The kernel's parent-death signal would do without the watchdog, but only on Linux, and it fires when the
*thread* that started the child ends (prctl(2), PR_SET_PDEATHSIG).
"""

from __future__ import annotations

import fcntl
import os
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final, Self

import redis

from transfer_worker.local.redis_executable import EmbeddedRedisError, find_redis_server

if TYPE_CHECKING:
    from types import TracebackType

_CONFIG: Final = """\
bind 127.0.0.1
protected-mode yes
port {port}
requirepass {password}
daemonize no
logfile ""
appendonly yes
appendfsync always
save ""
maxmemory-policy noeviction
hash-max-ziplist-value 4096
"""
_PORT_TAKEN: Final = "Address already in use"
_PORT_ATTEMPTS: Final = 5
_STOP_SECONDS: Final = 5.0
_POLL_SECONDS: Final = 0.01

# SIGKILL loses no answered write: the AOF is on disk first. (`everysec` puts even the write off while the
# disk is busy: seen in a chaos run.)
_WATCHDOG: Final = 'read -r pid || exit 0; read -r _; kill -KILL "$pid"; [ -z "$1" ] || rm -rf -- "$1"'


class DataDirectoryInUse(EmbeddedRedisError):
    """Another embedded Redis keeps its data in the same directory."""

    def __init__(self, data_dir: Path) -> None:
        self.data_dir = data_dir
        super().__init__(f"Another embedded Redis keeps its data in {data_dir}. Stop it or choose another.")


class RedisServerFailed(EmbeddedRedisError):
    """The server was started but does not answer.

    Attributes:
        log_tail: The last lines of the server's own log.
    """

    def __init__(self, *, problem: str, log_tail: str) -> None:
        self.problem, self.log_tail = problem, log_tail
        super().__init__(f"The server {problem}. The end of its log:\n{log_tail}")


class EmbeddedRedis:
    """A server on a private port of 127.0.0.1, durable (AOF) and never evicting.

    Use it as a context manager, or call `start` and `stop`. It asks for a password, which is part of
    `url` and of no command line, so that other users of the machine can't reach it.

    Args:
        data_dir: Where the data, the log and the password stay; made if missing. Without it they live
            in a temporary directory that `stop` removes.
        port: A fixed port instead of a free one.
        start_deadline_seconds: How long a start may take, reading old data included.
    """

    def __init__(
        self, data_dir: Path | None = None, *, port: int | None = None, start_deadline_seconds: float = 10.0
    ) -> None:
        self._wanted_data_dir = data_dir
        self._wanted_port = port
        self._start_deadline_seconds = start_deadline_seconds
        self._executable = Path("redis-server")
        self._data_dir: Path | None = None
        self._lock_fd: int | None = None
        self._password = ""
        self._port = 0
        self._server: subprocess.Popen[bytes] | None = None
        self._watchdog: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """The address with its password: for settings and environments, not for logs."""
        return f"redis://:{self._password}@127.0.0.1:{self._port}/0"

    @property
    def port(self) -> int:
        """The port; it stays the same over `restart`."""
        return self._port

    @property
    def pid(self) -> int:
        """The server's process id."""
        return self._running().pid

    @property
    def data_dir(self) -> Path:
        """Where data and log are."""
        if self._data_dir is None:
            raise EmbeddedRedisError("The embedded Redis has not been started.")
        return self._data_dir

    @property
    def log_path(self) -> Path:
        """The server's own log."""
        return self.data_dir / "redis.log"

    def start(self) -> None:
        """Start the server and return once it answers.

        Raises:
            RedisServerNotFound: There is no usable server.
            DataDirectoryInUse: Another one uses `data_dir`.
            RedisServerFailed: It ended at once, or did not answer in time.
        """
        if self._server is not None:
            return
        self._executable = find_redis_server()
        try:
            self._prepare_data_dir()
            self._launch_on_free_port()
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """End the server gracefully and clean up; safe to call twice."""
        self._end_server(signal.SIGTERM)
        if self._lock_fd is not None:
            os.close(self._lock_fd)
            self._lock_fd = None
        if self._wanted_data_dir is None and self._data_dir is not None:
            shutil.rmtree(self._data_dir, ignore_errors=True)
        self._data_dir = None

    def kill(self) -> None:
        """End the server with SIGKILL, as a crash would; `restart` brings it back with its data."""
        self._running()
        self._end_server(signal.SIGKILL)

    def restart(self) -> None:
        """Start the server again, on the same port and data; ends it gracefully if it still runs."""
        self._end_server(signal.SIGTERM)
        self._launch(self._port)

    def poll(self) -> int | None:
        """Return the exit code of a server that has ended by itself; None while it runs."""
        return self._running().poll()

    def read_log_tail(self) -> str:
        """Return the end of the server's own log."""
        return _read_tail(self.log_path, 0)

    def pause(self) -> None:
        """Freeze the server (SIGSTOP): connections are accepted by the kernel, nothing is answered."""
        self._running().send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let a paused server go on."""
        self._running().send_signal(signal.SIGCONT)

    def __enter__(self) -> Self:
        """Start."""
        self.start()
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Stop."""
        self.stop()

    def _running(self) -> subprocess.Popen[bytes]:
        if self._server is None:
            raise EmbeddedRedisError("The embedded Redis does not run.")
        return self._server

    def _prepare_data_dir(self) -> None:
        if self._wanted_data_dir is None:
            self._data_dir = Path(tempfile.mkdtemp(prefix="call-transfer-redis-"))
        else:
            self._wanted_data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._data_dir = self._wanted_data_dir.resolve()
        # The server inherits the lock: it is held until both of us are gone.
        self._lock_fd = os.open(self._data_dir / "lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(self._lock_fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise DataDirectoryInUse(self._data_dir) from error
        password_path = self._data_dir / "password"
        if not password_path.exists():
            password_path.touch(mode=0o600)
            password_path.write_text(secrets.token_hex(16), encoding="ascii")
        self._password = password_path.read_text(encoding="ascii").strip()

    def _launch_on_free_port(self) -> None:
        if self._wanted_port is not None:
            self._launch(self._wanted_port)
            return
        for attempts_left in reversed(range(_PORT_ATTEMPTS)):
            try:
                self._launch(pick_free_port())
            except RedisServerFailed as error:
                # Between our look and the server's bind somebody else took the port.
                if not attempts_left or _PORT_TAKEN not in error.log_tail:
                    raise
            else:
                return

    def _launch(self, port: int) -> None:
        self._port = port
        log_start_bytes = self.log_path.stat().st_size if self.log_path.exists() else 0
        self._watchdog = subprocess.Popen(  # noqa: S603 - a constant
            ["/bin/sh", "-c", _WATCHDOG, "watchdog", "" if self._wanted_data_dir else str(self.data_dir)],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        with self.log_path.open("ab") as log:
            self._server = subprocess.Popen(  # noqa: S603 - the path comes from find_redis_server
                [self._executable, "-"],  # "-": the configuration comes over stdin, the password with it
                cwd=self.data_dir,
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                pass_fds=() if self._lock_fd is None else (self._lock_fd,),
            )
        _tell(self._watchdog, f"{self._server.pid}\n")
        _tell(self._server, _CONFIG.format(port=port, password=self._password), close=True)
        problem = self._wait_until_it_answers()
        if problem is not None:
            self._end_server(signal.SIGKILL)
            raise RedisServerFailed(problem=problem, log_tail=_read_tail(self.log_path, log_start_bytes))

    def _wait_until_it_answers(self) -> str | None:
        """Return None once PING is answered, else what is wrong."""
        server = self._running()
        deadline = time.monotonic() + self._start_deadline_seconds
        with redis.Redis.from_url(self.url, socket_timeout=0.25, retry=None) as client:
            while time.monotonic() < deadline:
                if server.poll() is not None:
                    return f"ended at once with exit code {server.returncode}"
                try:
                    client.ping()
                except (redis.ConnectionError, redis.TimeoutError, redis.ResponseError):
                    time.sleep(_POLL_SECONDS)
                else:
                    return None
        return f"did not answer within {self._start_deadline_seconds:g} s"

    def _end_server(self, how: signal.Signals) -> None:
        if self._server is not None:
            self._server.send_signal(how)
            self._server.send_signal(signal.SIGCONT)
            try:
                self._server.wait(timeout=_STOP_SECONDS)
            except subprocess.TimeoutExpired:
                self._server.kill()
                self._server.wait()
            self._server = None
        # Last, so that an interrupted wait leaves nobody unwatched.
        if self._watchdog is not None:
            self._watchdog.kill()
            self._watchdog.communicate()
            self._watchdog = None


def pick_free_port() -> int:
    """Return a port of 127.0.0.1 on which nobody listens; somebody may, before it is used."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _tell(child: subprocess.Popen[bytes], text: str, *, close: bool = False) -> None:
    assert child.stdin is not None, "started with a pipe"  # noqa: S101 - narrows the type
    with suppress(BrokenPipeError):  # it has ended already; whoever waits for it will say why
        child.stdin.write(text.encode())
        child.stdin.close() if close else child.stdin.flush()


def _read_tail(path: Path, start_bytes: int, *, lines: int = 12) -> str:
    with path.open("rb") as log:
        log.seek(start_bytes)
        return "\n".join(log.read().decode(errors="replace").splitlines()[-lines:])
