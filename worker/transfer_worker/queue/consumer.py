"""Celery's consumer, with less to do for each message, and no word of other workers."""

from __future__ import annotations

from typing import Any, Final

from celery.worker.consumer import Consumer

EVENTS_SECONDS: Final = 0.25
"""How long Flower's events are gathered: one PUBLISH for all, instead of up to three for each transfer."""

MOST_EVENTS: Final = 10_000
"""How many events may gather. By default 24; then the thread of a transfer that begins would send them."""


class GatheringConsumer(Consumer):  # type: ignore[misc]  # Celery has no types
    """Set as Celery's `worker_consumer`. Sends the events of tasks in batches, beside the work."""

    def __init__(self, *arguments: Any, worker_options: Any = None, **options: Any) -> None:
        # Each would take other workers' word for what is revoked, or listen to all that they do.
        steps = {"without_mingle": True, "without_gossip": True}
        super().__init__(*arguments, worker_options={**(worker_options or {}), **steps}, **options)

    def on_send_event_buffered(self) -> None:
        """Leave a new event to the timer; Celery's own method sends it at the loop's next turn."""

    def register_with_event_loop(self, hub: Any) -> None:
        """Start the timer, too, besides what Celery's `Consumer.register_with_event_loop` starts."""
        super().register_with_event_loop(hub)
        if self.event_dispatcher:
            self.event_dispatcher.buffer_limit = MOST_EVENTS
        hub.timer.call_repeatedly(EVENTS_SECONDS, self._flush_events)

    def stop(self) -> None:
        """Send what has been gathered, before Celery's `Consumer.stop` closes the connection."""
        self._flush_events()
        super().stop()
