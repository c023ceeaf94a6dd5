"""Everything that speaks to Redis does it by TLS where the address says so, and by nothing else."""

from __future__ import annotations

import gc
import warnings
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest
import trustme

from support import wait_until
from support.cluster import Cluster, make_intent
from support.flower import read_queue_length
from support.sentinels import MASTER_NAME, RedisGroup
from support.tls_front import TlsFront
from transfer_tasks.errors import PublishUnavailable
from transfer_tasks.outcome import State
from transfer_worker.sandbox import SandboxServer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from click.testing import Result

    from support import ProcessSpawner


@pytest.fixture
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def ca_file(authority: trustme.CA, tmp_path: Path) -> Path:
    path = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(str(path))
    return path


@pytest.fixture
def front(redis_url: str, authority: trustme.CA) -> Iterator[TlsFront]:
    with TlsFront(urlsplit(redis_url).port or 0, authority) as front:
        yield front


@pytest.fixture
def tls_url(redis_url: str, front: TlsFront) -> str:
    return f"rediss://:{urlsplit(redis_url).password}@127.0.0.1:{front.port}/0"


@pytest.fixture
def cluster(tls_url: str, ca_file: Path, spawn: ProcessSpawner) -> Iterator[Cluster]:
    with SandboxServer() as sandbox:
        yield Cluster(redis_url=f"{tls_url}?ssl_ca_certs={ca_file}", sandbox=sandbox, spawn=spawn)


async def test_publisher_worker_command_line_and_flower_speak_tls(
    cluster: Cluster, front: TlsFront, ask: Callable[..., Result]
) -> None:
    with cluster.publisher() as publisher:
        handle = publisher.submit(make_intent(expires_in_seconds=30))
        assert await read_queue_length(cluster.redis_url) == 1
        cluster.start_worker()
        assert handle.outcome().state is State.SUBMITTED

    assert handle.transfer_id in ask("show", handle.transfer_id).stdout
    assert front.plain_count == 0
    _collect_what_tls_left()


# Python 3.11 leaves the transport of a handshake that failed to the loop's next turn, or to the collector.
@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_a_certificate_of_an_authority_that_is_not_trusted_is_refused(cluster: Cluster, tls_url: str) -> None:
    with (
        cluster.publisher(redis_url=tls_url) as publisher,
        pytest.raises(PublishUnavailable, match="certificate verify failed"),
    ):
        publisher.submit(make_intent())


def test_sentinels_are_spoken_to_by_tls_and_so_is_the_redis_that_they_name(
    spawn: ProcessSpawner, tmp_path: Path, authority: trustme.CA, ca_file: Path
) -> None:
    group = RedisGroup(spawn, tmp_path, replicas=0)
    redis = group.start_redis()
    with TlsFront(redis.port, authority, takes_plain=True) as redis_front:
        sentinel = group.start_sentinel(redis_front.port)
        with TlsFront(sentinel.port, authority) as front, SandboxServer() as sandbox:
            url = (
                f"sentinels://:{group.password}@127.0.0.1:{front.port}/0?master_name={MASTER_NAME}&replicas=0"
                f"&sentinel_password={group.sentinel_password}&ssl_ca_certs={ca_file}"
            )
            cluster = Cluster(redis_url=url, sandbox=sandbox, spawn=spawn)
            # One for commands, one to subscribe.
            wait_until(lambda: redis_front.plain_count == 2, message="the Sentinel watches it")
            cluster.start_worker()
            with cluster.publisher() as publisher:
                assert publisher.submit(make_intent()).outcome().state is State.SUBMITTED
            assert front.plain_count == 0
            assert redis_front.plain_count == 2, "but for the Sentinel's own, all spoke TLS"
    _collect_what_tls_left()


def _collect_what_tls_left() -> None:
    """Asyncio says goodbye by TLS, and the publisher's loop has gone before the other side has answered."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect()
