"""The names of all keys: one builder each. The scripts build the same names from the same namespace."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

NAMESPACE: Final = "transfer"
"""What every key of ours begins with."""

WAITING: Final = ("0", "+inf")
"""Scores in `Keys.open_ids` of what no worker has claimed yet."""

IN_FLIGHT: Final = ("-inf", "(0")
"""Scores in `Keys.open_ids` of what a worker acts on."""


@dataclass(frozen=True, slots=True)
class Keys:
    """Every key of one namespace.

    All have a TTL, but for the queue list and what kombu keeps beside it.
    """

    namespace: str = NAMESPACE

    def record(self, transfer_id: str) -> str:
        """Hash: one transfer."""
        return f"{self.namespace}:record:{transfer_id}"

    def call(self, call_id: str) -> str:
        """List: the ids of a call's transfers, in their sequence."""
        return f"{self.namespace}:call:{call_id}"

    def idempotency(self, key: str) -> str:
        """String: the transfer that first used this idempotency key, which is a caller's own."""
        return f"{self.namespace}:key:{key}"

    def sight(self, transfer_id: str) -> str:
        """String: when a message that brings its own intent was not yet sent, as was known at first sight."""
        return f"{self.namespace}:sight:{transfer_id}"

    def worker(self, worker: str) -> str:
        """Hash: one worker's heartbeat; gone when its lease is over."""
        return f"{self.namespace}:worker:{worker}"

    def reply(self, publisher: str) -> str:
        """Pub/sub channel on which one publisher process hears outcomes."""
        return f"{self.namespace}:reply:{publisher}"

    @property
    def unacked(self) -> str:
        """Hash, kombu's by our name: what a worker has fetched and not acknowledged, by delivery tag.

        By its default name, ``unacked``, all applications on a Redis database share it, and whoever has the
        shortest visibility timeout gives the others' messages back to be run again (kombu 5.7.0).
        """
        return f"{self.namespace}:unacked"

    @property
    def unacked_index(self) -> str:
        """Sorted set: when each was fetched."""
        return f"{self.namespace}:unacked_index"

    @property
    def unacked_mutex(self) -> str:
        """Lock of whoever looks for those that were fetched too long ago."""
        return f"{self.namespace}:unacked_mutex"

    @property
    def open_ids(self) -> str:
        """Sorted set: what has not ended, by its acceptance; once claimed, by minus the time of the claim."""
        return f"{self.namespace}:open"

    @property
    def kept(self) -> str:
        """Exists while a worker's heartbeats renew the time to live of what all transfers share."""
        return f"{self.namespace}:kept"

    @property
    def lists_of_an_older_version(self) -> tuple[str, str]:
        """Sorted sets in whose place `open_ids` has come: what waited, and what was claimed."""
        return f"{self.namespace}:waiting", f"{self.namespace}:in_flight"

    @property
    def unknown(self) -> str:
        """Sorted set: ended unknown and not yet resolved, scored by the time of the ending."""
        return f"{self.namespace}:unknown"

    @property
    def workers(self) -> str:
        """Sorted set: workers, scored by their last heartbeat."""
        return f"{self.namespace}:workers"

    @property
    def gone(self) -> str:
        """Sorted set: workers that are gone and did not stop gracefully, scored by their last heartbeat."""
        return f"{self.namespace}:gone"

    @property
    def audit(self) -> str:
        """Stream: the audit outbox, written by the transitions, drained by the workers."""
        return f"{self.namespace}:audit"

    @property
    def audit_heads(self) -> str:
        """Hash: where each chain of the audit files is; written by the audit writers."""
        return f"{self.namespace}:audit_heads"

    @property
    def quarantine(self) -> str:
        """List: queue messages that could not be served, newest first."""
        return f"{self.namespace}:quarantine"

    @property
    def double_posts(self) -> str:
        """List: calls that may have been moved twice, not acknowledged; heartbeats renew its TTL."""
        return f"{self.namespace}:double_posts"

    @property
    def paused(self) -> str:
        """Hash: paused destinations, ``*`` for all; heartbeats renew its TTL."""
        return f"{self.namespace}:paused"

    @property
    def limits(self) -> str:
        """Hash: the limits on rate that are in force; heartbeats renew its TTL."""
        return f"{self.namespace}:limits"

    def limit(self, kind: str, subject: str) -> str:
        """Sorted set: the transfers that count for one limit, scored by when they began to."""
        return f"{self.namespace}:limit:{kind}:{subject}"

    def damaged(self, transfer_id: str) -> str:
        """Whatever it is: what a record was when it could not be read; set aside for an engineer."""
        return f"{self.namespace}:damaged:{transfer_id}"

    def request(self, request_id: str) -> str:
        """String: the transfer whose request the platform knows by this id."""
        return f"{self.namespace}:request:{request_id}"

    def unmatched(self, of: str) -> str:
        """List: the last reports of a call (or else of a request) of which nobody knows whose they are."""
        return f"{self.namespace}:unmatched:{of}"

    @property
    def heard(self) -> str:
        """Hash: when each source last reported anything, and what the platform had accepted by then."""
        return f"{self.namespace}:heard"

    @property
    def erased(self) -> str:
        """Sorted set: transfers whose texts were erased, scored by when: Flower forgets them as well."""
        return f"{self.namespace}:erased"

    @property
    def probe(self) -> str:
        """No key: by writing nothing to it, whoever looks learns whether Redis takes writes."""
        return f"{self.namespace}:probe"

    def conversation(self, conversation: str) -> str:
        """String: the call that a conversation of the platform's webhooks is."""
        return f"{self.namespace}:conversation:{conversation}"

    def webhooks(self, conversation: str) -> str:
        """List: webhooks of a conversation of which nobody knows the call yet; kept for a minute."""
        return f"{self.namespace}:webhooks:{conversation}"

    @property
    def polls(self) -> str:
        """Sorted set: requests whose course the platform is to be asked for, scored by when that is due."""
        return f"{self.namespace}:polls"

    @property
    def poll_notes(self) -> str:
        """Hash: what is known of each of them, and when the next question may leave."""
        return f"{self.namespace}:poll_notes"

    @property
    def sweep(self) -> str:
        """Hash: when recovery last looked."""
        return f"{self.namespace}:sweep"

    @property
    def statistics(self) -> str:
        """Hash: everything that was counted since the beginning."""
        return f"{self.namespace}:statistics"

    @property
    def uncounted(self) -> str:
        """List: what steps have counted since the last heartbeat, which adds it to the hashes."""
        return f"{self.namespace}:statistics:uncounted"

    def statistics_slice(self, number: int) -> str:
        """Hash: what was counted in ten seconds; `number` is the time in tens of seconds since the epoch."""
        return f"{self.namespace}:statistics:{number}"

    def ended(self, state: str, hour: int) -> str:
        """List: what ended so within one hour, oldest first; `hour` counts from the epoch."""
        return f"{self.namespace}:ended:{state}:{hour}"
