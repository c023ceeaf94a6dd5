"""The receiver as a process: uvicorn in front of the app, and its metrics on a port of their own."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING, Final

import uvicorn
from prometheus_client import CollectorRegistry, start_http_server
from prometheus_client.core import CounterMetricFamily
from prometheus_client.registry import Collector
from uvicorn.protocols.http.h11_impl import H11Protocol, RequestResponseCycle

from transfer_worker.webhooks.app import Rate, Receiver
from transfer_worker.webhooks.matching import Matcher

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Iterator

    from prometheus_client import Metric

    from transfer_tasks.ledger.ledger import Ledger
    from transfer_worker.webhooks.settings import WebhookSettings

HEAD_SECONDS: Final = 10.0
"""How long a client may take to say what it wants."""

MAX_CONNECTIONS: Final = 128


class ImpatientProtocol(H11Protocol):
    """Ends a connection whose request does not begin in time: uvicorn 0.54 waits for it for ever."""

    head_seconds = HEAD_SECONDS

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to wait."""
        super().connection_made(transport)
        self._end_of_patience = self.loop.call_later(self.head_seconds, self._end_unless_begun)

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait no more."""
        self._end_of_patience.cancel()
        super().connection_lost(exc)

    def _end_unless_begun(self) -> None:
        has_begun: RequestResponseCycle | None = self.cycle  # uvicorn sets None, and doesn't say so
        if has_begun is None:
            self.transport.abort()


class WebhookCollector(Collector):
    """What became of the requests since the start of this process."""

    def __init__(self, receiver: Receiver) -> None:
        self._receiver = receiver

    def collect(self) -> Iterator[Metric]:
        """Yield one counter."""
        family = CounterMetricFamily(
            "transfer_webhooks", "Webhooks by what became of them.", labels=("verdict",)
        )
        for verdict, number in sorted(self._receiver.counts.items()):
            family.add_metric((verdict,), number)
        yield family


def serve(
    settings: WebhookSettings,
    ledger: Ledger,
    *,
    host: str,
    port: int,
    metrics_port: int | None,
    on_ready: Callable[[str], None] = lambda _: None,
) -> None:
    """Receive webhooks until SIGINT or SIGTERM; requests under way are answered. For a main thread only.

    Args:
        settings: The secrets, and how many are taken.
        ledger: The ledger, with a client whose timeout is short.
        host: Address to listen on.
        port: Port to listen on; 0 for any free one.
        metrics_port: Where Prometheus is told, on the same address; None for nowhere.
        on_ready: Called with the server's root once it listens.

    Raises:
        OSError: An address can't be listened on.
    """
    header_secret = settings.webhook_header_secret
    receiver = Receiver(
        Matcher(ledger, settings.load_rules().registry),
        secret=settings.webhook_secret.get_secret_value(),
        header_secret=header_secret.get_secret_value() if header_secret else None,
        rate=Rate(settings.webhook_rate),
    )
    config = uvicorn.Config(
        receiver.build_app(),
        http=ImpatientProtocol,
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,  # the address holds the secret
        proxy_headers=False,
        server_header=False,
        limit_concurrency=MAX_CONNECTIONS,
        timeout_graceful_shutdown=5,
        headers=[("connection", "close")],
    )
    with socket.create_server((host, port), backlog=MAX_CONNECTIONS) as listener:
        stop_metrics = _serve_metrics(receiver, host, metrics_port)
        try:
            on_ready(f"http://{host}:{listener.getsockname()[1]}")
            uvicorn.Server(config).run(sockets=[listener])
        finally:
            stop_metrics()


def _serve_metrics(receiver: Receiver, host: str, port: int | None) -> Callable[[], None]:
    """Serve them from a thread; return what ends it."""
    if port is None:
        return lambda: None
    registry = CollectorRegistry()
    registry.register(WebhookCollector(receiver))
    server, thread = start_http_server(port, addr=host, registry=registry)

    def stop() -> None:
        server.shutdown()
        server.server_close()
        thread.join()

    return stop
