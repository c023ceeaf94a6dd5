"""What the transitions of the ledger have counted, as fields of Redis hashes.

They count in the step that they tell of (transfer_tasks/ledger/scripts/prelude.lua), so the figures are right
across workers and restarts. There is one hash since the beginning, and one for each ten seconds, in
which only the fields with a star are found:

===============================  =============================================================================
``ended|STATE|REASON|DEST.`` *   each transfer once, at its first ending
``resolved|STATE|REASON``        unknown ones that got their truth
``attempt|REASON`` *             what became of each HTTP request
``posts|NUMBER``                 transfers by the number of requests that they took
``post_ms|BUCKET`` *             from acceptance to the first request; ``post_ms_sum`` is their sum
``outcome_ms|BUCKET``            from acceptance to the first ending; ``outcome_ms_sum`` is their sum
``accepted``                     transfers accepted
``connection|…`` *               ``|STATUS|REASON|DEST.``: each transfer once, at the first final report
``report|SOURCE|VERDICT``        reports of connections, by what became of them
``poll|SEEN``                    questions to the platform of how a request goes, by what came of them
``asked|REQUESTER`` *            transfers accepted, by who asked; in the ten seconds only
``stood_back|VERDICT``           requests that found another transfer in their way
``requeued|WHY``                 transfers whose message recovery redelivered
``given_up|REASON``              transfers whose request was begun by a worker that is gone
``quarantined``                  queue messages that could not be served
``double_posts``                 requests that may have moved a call that another one may have moved, too
``limited|LIMIT`` *              transfers that were refused because a limit on rate was reached
``records_set_aside`` *          records that could not be read, and ended as `unknown`
``audit_set_aside`` *            entries of the audit outbox that could not be read
``audit_lines_lost`` *           audit lines that were dropped before anybody had written them
``last_heartbeat_ms``                 when any worker last gave a sign of life: no counter
===============================  =============================================================================
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Final

from transfer_worker.monitoring.damage import read_count

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

BUCKETS_MS: Final[tuple[int, ...]] = tuple(
    step * 10**decade for decade in range(6) for step in (1, 2, 3, 5, 7) if step * 10**decade <= 300_000
)
"""Upper bounds of the histograms' buckets; what is longer is in the bucket ``inf``."""


class Counts(Counter[str]):
    """The fields of one hash, or of several together.

    Attributes:
        is_damaged: Whether some of them are no numbers. Those are left out.
    """

    is_damaged = False

    @classmethod
    def of(cls, hashes: Iterable[Mapping[str, str]]) -> Counts:
        """Return the sum of hashes as Redis gives them."""
        counts = cls()
        for fields in hashes:
            for field, text in fields.items():
                value = read_count(text)
                if value is None:
                    counts.is_damaged = True
                else:
                    counts[field] += value
        return counts

    def family(self, name: str, *, parts: int) -> Iterator[tuple[list[str], int]]:
        """Yield the other parts, so many, and the value of every field whose first part is `name`."""
        for field, value in self.items():
            first, *others = field.split("|")
            if first == name and len(others) == parts:
                yield others, value

    def histogram(self, name: str) -> list[int]:
        """Return what each of `BUCKETS_MS` holds, and what is beyond."""
        return [self[f"{name}|{bound}"] for bound in (*BUCKETS_MS, "inf")]

    def quantile_ms(self, name: str, share: float) -> float | None:
        """Return the span that `share` of them did not exceed; None where there was none.

        Interpolated within a bucket, so right to a fifth or so.
        """
        buckets = self.histogram(name)
        rank, lower = share * sum(buckets), 0.0
        if not rank:
            return None
        for bound, held in zip(BUCKETS_MS, buckets, strict=False):
            if held and rank <= held:
                return lower + (bound - lower) * rank / held
            rank, lower = rank - held, float(bound)
        return lower
