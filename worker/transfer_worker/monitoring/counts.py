"""What the transitions of the ledger have counted, as fields of Redis hashes.

They count in the step that they tell of (transfer_tasks/ledger/scripts/frame/start.lua), so the figures are
right across workers and restarts. A step leaves one note; the next heartbeat adds the notes to the hashes,
and whoever reads adds what is not added yet (scripts/read_counts.lua). There is one hash since the
beginning, and one for each ten seconds, in which only the fields with a star are found:

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

import re
from collections import Counter
from typing import TYPE_CHECKING, Any, Final, Self

from transfer_tasks.ledger.texts import read_number
from transfer_worker.monitoring.damage import Damage, read_count

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from transfer_tasks.ledger.keys import Keys
    from transfer_tasks.ledger.ledger import Ledger

BUCKETS_MS: Final[tuple[int, ...]] = tuple(
    step * 10**decade for decade in range(6) for step in (1, 2, 3, 5, 7) if step * 10**decade <= 300_000
)
"""Upper bounds of the histograms' buckets; what is longer is in the bucket ``inf``."""

_MAX_FIELDS: Final = 2000
_NAMED_BY_ANYBODY: Final = ("ended|", "connection|")
"""As in scripts/frame/counters.lua: when a hash is full, the last part of these fields is `other`."""
_OF_NOTE: Final = re.compile(r"([tb])(-?[0-9]{1,15}) ([^\n]+)")


class Counts(Counter[str]):
    """The fields of one hash, or of several together.

    Attributes:
        is_damaged: Whether some of them are no numbers. Those are left out.
    """

    is_damaged = False

    @classmethod
    def of(cls, fields: Mapping[str, str]) -> Self:
        """Return a hash as Redis gives it."""
        counts = cls()
        for field, text in fields.items():
            value = read_count(text)
            if value is None:
                counts.is_damaged = True
            else:
                counts[field] = value
        return counts

    @classmethod
    def sum(cls, parts: Iterable[Counts]) -> Self:
        """Return several together."""
        counts = cls()
        for part in parts:
            counts.update(part)
            counts.is_damaged |= part.is_damaged
        return counts

    def note(self, field: str, by: int) -> None:
        """Add what a step has noted, as the next heartbeat will."""
        if field not in self and len(self) >= _MAX_FIELDS and field.startswith(_NAMED_BY_ANYBODY):
            field = f"{field.rpartition('|')[0]}|other"
        self[field] += by

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


def ask_counts(pipe: Any, ledger: Ledger, *, newest: int = 0, slices: int = 0) -> None:
    """Put the question into a pipeline: totals, and so many slices, of which `newest` is the newest."""
    command = ledger.commands.read_counts(newest=newest, slices=slices)
    pipe.eval(command.script.source, 0, *command.arguments)


def build_counts(
    reply: list[Any], keys: Keys, damage: Damage, *, newest: int = 0
) -> tuple[Counts, list[Counts]]:
    """Return what the reply says: totals, and the slices, the newest first."""
    notes, *hashes = reply
    if notes == 0:
        damage.note(keys.uncounted)
        notes = []
    names = [keys.statistics, *(keys.statistics_slice(newest - at) for at in range(len(hashes) - 1))]
    counted = []
    for name, fields in zip(names, hashes, strict=True):
        if fields == 0:
            damage.note(name)
            fields = []
        counted.append(Counts.of(dict(zip(fields[::2], fields[1::2], strict=True))))
    for note in notes:
        if not _add_note(note, counted, newest):
            damage.note(keys.uncounted)
    return counted[0], counted[1:]


def _add_note(note: str, counted: list[Counts], newest: int) -> bool:
    """Add a step's note to totals and slices; return whether all of it could be read."""
    head, *lines = note.split("\n")
    number, found = read_number(head), [_OF_NOTE.fullmatch(line) for line in lines]
    if number is None:
        return False
    for where, by, field in (line.groups() for line in found if line):
        counted[0].note(field, int(by))
        if where == "b" and 0 <= newest - number < len(counted) - 1:
            counted[1 + newest - number].note(field, int(by))
    return all(found) and bool(lines)
