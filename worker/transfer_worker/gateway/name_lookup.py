"""A host's addresses, within a time."""

from __future__ import annotations

import ipaddress
import queue
import socket
import threading
from typing import TYPE_CHECKING

from urllib3.exceptions import ConnectTimeoutError, NameResolutionError, NewConnectionError
from urllib3.util.connection import allowed_gai_family

if TYPE_CHECKING:
    from urllib3.connection import HTTPConnection


def look_up(connection: HTTPConnection, host: str, port: int, timeout_seconds: float) -> list[str]:
    """Return the addresses of `host`; `getaddrinfo` takes no timeout, so it runs in a thread of its own.

    A lookup that never ends leaves that (daemon) thread behind until the resolver gives up.
    """
    try:
        return [str(ipaddress.ip_address(host.strip("[]")))]
    except ValueError:
        answers: queue.SimpleQueue[list[str] | OSError] = queue.SimpleQueue()

    def resolve() -> None:
        try:
            found = socket.getaddrinfo(host, port, allowed_gai_family(), socket.SOCK_STREAM)
        except (OSError, UnicodeError) as error:
            answers.put(error if isinstance(error, OSError) else socket.gaierror(str(error)))
        else:
            answers.put([str(address[0]) for *_, address in found])

    threading.Thread(target=resolve, name="name-lookup", daemon=True).start()
    try:
        answer = answers.get(timeout=timeout_seconds)
    except queue.Empty:
        raise ConnectTimeoutError(connection, f"No address in {timeout_seconds:.1f} s") from None
    if isinstance(answer, socket.gaierror):
        raise NameResolutionError(host, connection, answer) from answer
    if isinstance(answer, OSError):
        raise NewConnectionError(connection, f"No address: {answer}") from answer
    return answer
