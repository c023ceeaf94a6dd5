"""What our subclasses replace in kombu, Celery and redis-py, as it was read when they were written.

When one of these fails after an upgrade: read the new method, see whether ours still does what its docstring
says, then put the new digest here.
"""

from __future__ import annotations

import hashlib
import inspect

import pytest

from transfer_worker.queue.consumer import GatheringConsumer
from transfer_worker.queue.qos import GatheringQoS, QueueMessage
from transfer_worker.queue.remote_control import GuardedControl, GuardedMailbox, GuardedNode
from transfer_worker.queue.request import MaskedRequest
from transfer_worker.queue.thread_pool import HeadStartPool
from transfer_worker.queue.transport import (
    GuardedChannel,
    GuardedSentinelChannel,
    GuardedSentinelTransport,
    GuardedTransport,
    QuickAMQP,
    QuickConnection,
    _GuardedClient,
    _Listener,
)
from transfer_worker.runtime.ending import SignalledWorker, WorkerApp

# kombu 5.7.0, celery 5.7.0, redis-py 8.1.0
REPLACED = {
    "GatheringConsumer.__init__": "c27ca6ec2d4b",
    "GatheringConsumer.on_send_event_buffered": "0429cadc8bf9",
    "GatheringConsumer.register_with_event_loop": "aacc1dedab42",
    "GatheringConsumer.stop": "a8b38f8d9b46",
    "GatheringQoS.__init__": "77545b203b86",
    "GatheringQoS.append": "35c655f6ecc6",
    "GatheringQoS.ack": "1bc15a4ddf54",
    "GatheringQoS.reject": "747a02434344",
    "GatheringQoS.restore_visible": "d4a4a40a3eaf",
    "GatheringQoS.restore_unacked_once": "c81f3d0fb29b",
    "GuardedChannel._brpop_start": "06723d707ddf",
    "GuardedChannel._brpop_read": "c42518699709",
    "GuardedChannel._deliver_fanout_message": "06662335a70a",
    "GuardedChannel.basic_ack": "3b4278c757b4",
    "GuardedChannel.basic_reject": "d49bbd211da7",
    "GuardedChannel._connparams": "e9a4295085a8",
    "GuardedChannel._create_client": "dae92bc4075d",
    "GuardedChannel._get_client": "5755dae7624c",
    "GuardedSentinelChannel._sentinel_managed_pool": "bde54a2d6e93",
    "GuardedNode.handle": "f521277e98ac",
    "GuardedNode.handle_message": "09a96b171240",
    "HeadStartPool.on_apply": "5b5ead7fb32e",
    "MaskedRequest.__init__": "efdf47149cde",
    "MaskedRequest.info": "3c2e986f6780",
    "MaskedRequest.revoked": "5132788b1bc8",
    "MaskedRequest.send_event": "75ec861e3f35",
    "QueueMessage.__init__": "c90d08ccfa2e",
    "QuickConnection.switch": "2b1f8abee4fe",
    "QuickConnection.ensure_connection": "6eadd030fa74",
    "QuickConnection.as_uri": "84a4b582d143",
    "SignalledWorker.emit_banner": "7bac1d9be260",
    "SignalledWorker.install_platform_tweaks": "f4df0c2ca8da",
    "_GuardedClient.parse_response": "32f7c49d7c53",
    "_GuardedClient.pubsub": "84350b0863ef",
    "_Listener.check_health": "d0b8cb472a81",
}

VENDORS = {"kombu": "kombu's", "celery": "Celery's", "redis": "redis-py's"}

CLASSES = [
    GatheringConsumer, GatheringQoS, GuardedChannel, GuardedControl, GuardedMailbox, GuardedNode,
    GuardedSentinelChannel, GuardedSentinelTransport, GuardedTransport, HeadStartPool, MaskedRequest,
    QueueMessage, QuickAMQP, QuickConnection, SignalledWorker, WorkerApp, _GuardedClient, _Listener,
]  # fmt: skip


def find_replaced(cls, name):
    """Return the vendor's method behind ours, or None."""
    for base in cls.__mro__[1:]:
        if not base.__module__.startswith("transfer_worker") and base is not object and name in vars(base):
            return vars(base)[name]
    return None


def list_replacements():
    for cls in CLASSES:
        for name, ours in vars(cls).items():
            replaced = find_replaced(cls, name)
            if inspect.isfunction(ours) and inspect.isfunction(replaced) and name != "__subclasshook__":
                yield f"{cls.__name__}.{name}", ours, replaced


def digest(function):
    return hashlib.sha256(inspect.getsource(function).encode()).hexdigest()[:12]


def test_what_is_replaced_is_what_was_read():
    assert {name: digest(replaced) for name, _, replaced in list_replacements()} == REPLACED


@pytest.mark.parametrize(
    ("name", "ours", "replaced"), [row for row in list_replacements() if not row[0].endswith("__init__")]
)
def test_each_says_what_it_replaces_and_why(name, ours, replaced):
    vendor = VENDORS[replaced.__module__.split(".")[0]]
    assert vendor in (ours.__doc__ or ""), f"{name} replaces {vendor} {replaced.__qualname__}"
