"""What many tests need and no fixture gives: waiting, child processes, the key-leak check."""

from support.fault_proxy import TO_CLIENT, TO_SERVER, FaultProxy
from support.http import urlopen_directly
from support.keys import keys_without_ttl
from support.processes import ProcessSpawner, SpawnedProcess, has_ended
from support.waiting import wait_until, wait_until_async

__all__ = [
    "TO_CLIENT",
    "TO_SERVER",
    "FaultProxy",
    "ProcessSpawner",
    "SpawnedProcess",
    "has_ended",
    "keys_without_ttl",
    "urlopen_directly",
    "wait_until",
    "wait_until_async",
]
