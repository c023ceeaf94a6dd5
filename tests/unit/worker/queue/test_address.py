"""What Celery and Flower are told of the broker, whatever the address."""

from __future__ import annotations

import ssl
from urllib.parse import urlsplit

import pytest

from transfer_worker.queue.address import BrokerAddress
from transfer_worker.queue.qos import GatheringQoS
from transfer_worker.queue.transport import GuardedSentinelChannel, GuardedTransport, QuickConnection

SENTINELS = "sentinel://:p%40ss@one:1,two:2/3?master_name=m&sentinel_password=s"


def connect(text: str) -> QuickConnection:
    address = BrokerAddress.of(text)
    return QuickConnection(
        address.url,
        transport=address.transport,
        ssl=address.use_ssl,
        transport_options=address.transport_options,
    )


def test_a_plain_address_stays_as_it_is():
    address = BrokerAddress.of("redis://:p@host/1")
    assert (address.url, address.use_ssl, address.transport_options) == ("redis://:p@host/1", False, {})


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("", {"ssl_cert_reqs": ssl.CERT_REQUIRED}),
        ("?ssl_ca_certs=/ca.pem", {"ssl_cert_reqs": ssl.CERT_REQUIRED, "ssl_ca_certs": "/ca.pem"}),
    ],
)
def test_a_tls_address_is_spoken_to_by_tls(query, expected):
    assert BrokerAddress.of(f"rediss://host/0{query}").use_ssl == expected


def test_sentinels_without_tls_are_not_taken_for_sentinels_with_it():
    assert BrokerAddress.of(SENTINELS).use_ssl is False
    assert BrokerAddress.of(SENTINELS.replace("://", "s://")).use_ssl == {"ssl_cert_reqs": "required"}


def test_flower_reads_the_scheme_that_it_knows():
    assert connect(SENTINELS).as_uri(include_password=True) == "sentinel://:p%40ss@one:1/3"
    assert connect(SENTINELS).as_uri() == "sentinel://:**@one:1/3"
    assert connect("rediss://:p@host:1/3").as_uri() == "rediss://:**@host:1/3"
    assert connect("redis://:p@host:1/3").as_uri() == "redis://:**@host:1/3"


def test_the_guard_stays_when_kombu_turns_to_the_next_sentinel():
    connection = connect(SENTINELS)
    connection.maybe_switch_next()

    assert connection.hostname == "two"
    assert isinstance(connection.transport, GuardedTransport)
    assert connection.transport.Channel is GuardedSentinelChannel


def test_the_guards_promises_hold_behind_sentinels():
    assert GuardedSentinelChannel.QoS is GatheringQoS
    assert GuardedSentinelChannel.do_restore is False


@pytest.mark.parametrize("login", ["", ":p%40ss@", "HOST:HOST@"])
def test_an_ipv6_sentinel_is_asked_wherever_it_stands(login):
    connection = connect(f"sentinel://{login}one:1,[::1]:2/3?master_name=m")
    channel = connection.transport.Channel
    assert [(url.hostname, url.port) for url in map(urlsplit, connection.alt)] == [("one", 1), ("::1", 2)]
    assert channel is GuardedSentinelChannel

    connection.maybe_switch_next()

    assert (connection.hostname, connection.port, connection.virtual_host) == ("::1", 2, "3")
    assert connection.as_uri().endswith("**@[::1]:2/3")


def test_flower_reads_an_ipv6_host():
    assert connect("redis://:p@[::1]:1/3").as_uri(include_password=True) == "redis://:p@[::1]:1/3"
    assert connect("rediss://[::1]:1/3").as_uri() == "rediss://:**@[::1]:1/3"
