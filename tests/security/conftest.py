"""A cluster that carries out only what is signed, and who attacks it: with each role's password.

A test that takes `attacker` or `role` runs once for each role, and once for a user who may do everything.
Where Redis refuses the attacker, the test ends: it has passed if the page says so, and nothing was sent that
the honest have not asked for. All else comes to the end that the test asserts, whoever tries.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from support.attackers import Attacker, Refused, log_in
from support.own_cluster import open_cluster
from support.signing import REGISTRY, VERIFY_KEYS, SignedCluster
from transfer_worker.roles import Role

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator


@pytest.fixture(scope="module")
def signed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SignedCluster]:
    """One worker with verify keys for the whole module; what it must not do is counted for each call."""
    directory = tmp_path_factory.mktemp("signed")
    with open_cluster(directory, registry=REGISTRY, TRANSFER_VERIFY_KEYS=VERIFY_KEYS) as cluster:
        yield SignedCluster(cluster, cluster.start_worker())


@pytest.fixture(params=[None, *Role], ids=lambda role: f"by {role or 'anybody'}")
def role(request: pytest.FixtureRequest) -> Role | None:
    """Whose password the attacker has; None: of a user who may do everything."""
    return request.param


@pytest.fixture
def attacker(signed: SignedCluster, role: Role | None) -> Attacker:
    return log_in(signed, role)


@pytest.hookimpl(wrapper=True)
def pytest_pyfunc_call() -> Generator[None, object, object]:
    """Have a test end where Redis refuses the attacker."""
    try:
        return (yield)
    except Refused as refused:
        refused.attacker.judge()
        return True
