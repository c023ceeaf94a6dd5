"""Celery's settings, as far as they differ from its defaults."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from transfer_tasks.ledger.keys import Keys
from transfer_worker.queue.address import ANSWER_WITHIN_SECONDS, BrokerAddress
from transfer_worker.queue.transport import CONTROL_EXCHANGE, EVENT_EXCHANGE
from transfer_worker.settings import VISIBILITY_TIMEOUT_SECONDS

if TYPE_CHECKING:
    from transfer_tasks.settings import PublisherSettings

KEYS: Final = Keys()


def configure(settings: PublisherSettings) -> dict[str, Any]:
    """Return every Celery setting that differs from its default, each with its reason."""
    broker = BrokerAddress.of(settings.redis_url.get_secret_value())
    return {
        "broker_url": broker.url,
        # Keeps poison away from kombu, which would end the worker.
        "broker_transport": broker.transport,
        "broker_use_ssl": broker.use_ssl,
        "task_default_queue": settings.queue,
        # A pickled message could run code; the contract is JSON.
        "accept_content": ["json"],
        "task_serializer": "json",
        # The message outlives a worker that dies with it; by default `kill -9` loses it (Celery 5.7).
        "task_acks_late": True,
        "task_reject_on_worker_lost": True,
        # The ledger is the record of how a transfer ended; a result backend would be a second truth.
        "result_backend": None,
        "task_ignore_result": True,
        # One HTTP request is all waiting: threads carry it in a fifth of prefork's memory.
        "worker_pool": "transfer_worker.queue.thread_pool:HeadStartPool",
        # No more messages are fetched than there are threads, so none waits behind a slow one while another
        # worker is idle.
        "worker_prefetch_multiplier": 1,
        # Names of our own: another application's `control shutdown` is not ours to obey.
        "control_exchange": CONTROL_EXCHANGE,
        "event_exchange": EVENT_EXCHANGE,
        # Flower lives on these.
        "worker_send_task_events": True,
        # Sends them in batches: each by itself costs more than the rest of a message's way through Celery.
        "worker_consumer": "transfer_worker.queue.consumer:GatheringConsumer",
        # Our own renderer writes every line, masked.
        "worker_hijack_root_logger": False,
        "worker_redirect_stdouts": False,
        "broker_connection_retry_on_startup": True,
        # Redis may be away for long; giving up would need a human at 3 a.m.
        "broker_connection_max_retries": None,
        "broker_transport_options": {
            # The fallback: a message whose worker died comes back after this, whatever else fails.
            "visibility_timeout": VISIBILITY_TIMEOUT_SECONDS,
            # Names of our own: by the default ones, all applications on this Redis database would share them,
            # and after our visibility timeout we would give their messages back to be run again.
            "unacked_key": KEYS.unacked,
            "unacked_index_key": KEYS.unacked_index,
            "unacked_mutex_key": KEYS.unacked_mutex,
            # One list, first in, first out; what has a priority is moved there by the sweep.
            "priority_steps": [0],
            # By default it is looked for every 10 s and every tenth time only: 101 s measured instead of 10.
            "unacked_restore_interval": 1,
            "unacked_restore_throttle": 1,
            # A worker killed while it holds this lock blocks the net for all: 300 s by default.
            "unacked_mutex_expire": 5,
            # kombu waits for ever by default.
            "socket_connect_timeout": 1,
            "socket_timeout": ANSWER_WITHIN_SECONDS,
            "socket_keepalive": True,
            # Notices a line gone silent after this and the second that BRPOP takes; 25 s by default.
            "health_check_interval": 1,
            **broker.transport_options,
        },
    }
