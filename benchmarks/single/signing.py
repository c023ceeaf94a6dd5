"""What a signature costs a publisher and a worker, in microseconds: `python -m benchmarks.single.signing`."""

import time
import uuid
from statistics import median

from benchmarks.peers.post import PIPELINE
from transfer_tasks.intent import TransferIntent
from transfer_tasks.registry.destinations import DestinationRegistry
from transfer_tasks.rules.destination_rules import DestinationRules
from transfer_tasks.rules.unlisted import UnlistedRules
from transfer_tasks.signature import Key
from transfer_worker.delivery.policy import TransferPolicy

ROUNDS, EACH = 5, 2000
KEY = Key("voice", "s" * 32)
RULES = DestinationRules(DestinationRegistry({}), UnlistedRules.parse("US"))
POLICY = TransferPolicy(RULES, default_caller_id=None, verify_keys={"voice": KEY})


def measure(act) -> float:
    """Return the microseconds that one call takes: the median of the rounds."""
    rounds = []
    for _ in range(ROUNDS):
        started = time.perf_counter()
        for _ in range(EACH):
            act()
        rounds.append((time.perf_counter() - started) / EACH * 1e6)
    return median(rounds)


def main() -> None:
    named = TransferIntent(call_id=uuid.uuid4(), destination="support", reason="asks for a person")
    filler = {f"name_{number}": "x" * 1000 for number in range(30)}
    largest = TransferIntent(call_id=uuid.uuid4(), destination=PIPELINE, metadata=filler)
    for title, intent in (("a name", named), ("30 KB", largest)):
        written = KEY.sign(intent.to_json())
        print(f"{title} ({len(written.text)} bytes)")
        print(f"  submit: {measure(lambda of=written: KEY.sign(of.text)):6.1f} µs for the signature")
        print(f"  worker: {measure(lambda of=written: POLICY.identify(of)):6.1f} µs to verify it")


if __name__ == "__main__":
    main()
