"""The tests' own proxy: each fault is what it says, so that a test which stands on it proves something."""

from __future__ import annotations

import socket
import threading
import time
from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest
import redis

from support import TO_CLIENT, TO_SERVER, FaultProxy, wait_until
from support.metronome import within

if TYPE_CHECKING:
    from collections.abc import Iterator


class EchoServer:
    """Sends back what it gets; knows which of its connections are open."""

    def __init__(self) -> None:
        self.open_count = 0
        self.received = b""
        self._lock = threading.Lock()
        self._stack = ExitStack()
        self._listener = self._stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        self.address = self._listener.getsockname()
        self._connections: list[socket.socket] = []
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self._connections.append(connection)
            self._threads.append(threading.Thread(target=self._echo, args=(connection,)))
            self._threads[-1].start()

    def _echo(self, connection: socket.socket) -> None:
        with self._lock:
            self.open_count += 1
        with connection:
            try:
                while data := connection.recv(4096):
                    self.received += data
                    connection.sendall(data)
            except OSError:
                pass
        with self._lock:
            self.open_count -= 1

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._stack.close()
        for connection in self._connections:
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                continue
        for thread in self._threads:
            thread.join(5)


@pytest.fixture
def echo() -> Iterator[EchoServer]:
    server = EchoServer()
    yield server
    server.close()


@pytest.fixture
def proxy(echo: EchoServer) -> Iterator[FaultProxy]:
    with FaultProxy(echo.address[:2]) as proxy:
        yield proxy


@pytest.fixture
def dial(proxy: FaultProxy):
    with ExitStack() as stack:

        def connect() -> socket.socket:
            return stack.enter_context(socket.create_connection(("127.0.0.1", proxy.port), timeout=2))

        yield connect


def ask(connection: socket.socket, data: bytes = b"hello") -> bytes:
    connection.sendall(data)
    answer = b""
    while len(answer) < len(data):
        chunk = connection.recv(4096)
        if not chunk:
            return answer
        answer += chunk
    return answer


def test_bytes_pass_on_many_connections_at_once(proxy, dial):
    connections = [dial() for _ in range(50)]
    for number, connection in enumerate(connections):
        connection.sendall(b"%03d" % number)
    assert [connection.recv(10) for connection in connections] == [b"%03d" % number for number in range(50)]
    assert proxy.open_count == proxy.connection_count == 50
    assert proxy.byte_count(TO_SERVER) == proxy.byte_count(TO_CLIENT) == 150


def test_large_amounts_pass_unchanged_while_the_line_is_slow(proxy, dial):
    proxy.delay(0.02)
    connection = dial()
    data = bytes(range(256)) * 2000
    sender = threading.Thread(target=connection.sendall, args=(data,))
    sender.start()
    received = b""
    while len(received) < len(data):
        received += connection.recv(65536)
    sender.join()
    assert received == data


def test_a_cut_resets_both_ends_and_the_next_connection_works(proxy, echo, dial):
    first = dial()
    assert ask(first) == b"hello"
    proxy.cut()
    with pytest.raises(ConnectionResetError):
        first.recv(1)
    wait_until(lambda: echo.open_count == 0)
    assert ask(dial()) == b"hello"


def test_refused_connections_leave_open_ones_alone_and_the_port_stays(proxy, dial):
    first = dial()
    ask(first)
    port = proxy.port
    proxy.refuse()
    with pytest.raises(ConnectionRefusedError):
        dial()
    assert ask(first) == b"hello"
    proxy.accept()
    assert proxy.port == port
    assert ask(dial()) == b"hello"


def test_held_bytes_arrive_after_healing_and_in_order(proxy, echo, dial):
    connection = dial()
    ask(connection)
    proxy.hold(TO_SERVER)
    connection.sendall(b"one")
    connection.sendall(b"two")
    connection.settimeout(0.1)
    with pytest.raises(TimeoutError):
        connection.recv(10)
    assert echo.received == b"hello"
    proxy.heal()
    connection.settimeout(2)
    wait_until(lambda: echo.received == b"helloonetwo")


def test_a_connection_made_while_all_is_held_is_accepted_and_silent_until_healing(proxy, dial):
    proxy.hold()
    connection = dial()
    connection.sendall(b"hello")
    connection.settimeout(0.1)
    with pytest.raises(TimeoutError):
        connection.recv(10)
    proxy.heal()
    connection.settimeout(2)
    assert connection.recv(10) == b"hello"


def test_dropped_answers_are_lost_for_ever_while_questions_arrive(proxy, echo, dial):
    connection = dial()
    proxy.drop(TO_CLIENT)
    connection.sendall(b"lost")
    wait_until(lambda: echo.received == b"lost")
    time.sleep(0.02)  # the echo's way back; were it not dropped, the next assertion would see it
    proxy.heal()
    assert ask(connection, b"found") == b"found"


def test_a_delay_counts_once_for_each_direction(proxy, dial):
    connection = dial()
    ask(connection)
    proxy.delay(0.1)
    started = time.monotonic()
    with within(0.35):
        assert ask(connection) == b"hello"
    assert time.monotonic() - started >= 0.2


def test_a_cut_at_the_next_answer_comes_after_the_server_has_acted(proxy, echo, dial):
    connection = dial()
    ask(connection)
    proxy.cut_at_next_answer()
    with pytest.raises(ConnectionResetError):
        ask(connection, b"acted")
    assert echo.received == b"helloacted"
    assert ask(dial(), b"again") == b"again"


def test_an_abandoned_client_waits_in_silence(proxy, echo, dial):
    connection = dial()
    ask(connection)
    proxy.abandon_servers()
    wait_until(lambda: echo.open_count == 0)
    connection.sendall(b"anybody?")
    connection.settimeout(0.1)
    with pytest.raises(TimeoutError):
        connection.recv(10)
    assert echo.received == b"hello"
    connection.close()
    wait_until(lambda: proxy.open_count == 0)


def test_an_abandoned_server_is_not_told(proxy, echo, dial):
    connection = dial()
    ask(connection)
    proxy.abandon_clients()
    with pytest.raises(ConnectionResetError):
        connection.recv(1)
    assert echo.open_count == 1
    assert ask(dial()) == b"hello"


def test_the_proxy_can_answer_by_itself(proxy, echo, dial):
    connection = dial()
    proxy.answer_with(b"-LOADING\r\n")
    connection.sendall(b"PING\r\n")
    assert connection.recv(100) == b"-LOADING\r\n"
    assert echo.received == b""


def test_a_goodbye_passes_in_both_directions(proxy, echo, dial):
    connection = dial()
    ask(connection)
    connection.shutdown(socket.SHUT_WR)
    assert connection.recv(10) == b""
    wait_until(lambda: proxy.open_count == 0)


def test_a_server_that_is_not_there_looks_like_a_reset(proxy, echo, dial):
    proxy.retarget(("127.0.0.1", 1))
    with pytest.raises(ConnectionResetError):
        ask(dial())


def test_a_real_redis_works_behind_it(redis_url):
    with FaultProxy.before(redis_url) as proxy, redis.Redis.from_url(proxy.url_for(redis_url)) as client:
        client.set("key", "value")
        assert client.get("key") == b"value"
