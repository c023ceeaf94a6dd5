"""Who differs: from most of the others, or from each other where there are no most."""

from __future__ import annotations

import pytest

from transfer_worker.monitoring.differences import Difference, find_differences
from transfer_worker.monitoring.present import WorkerStatus


def beat(name, *, is_alive=True, **about):
    return WorkerStatus(worker=name, is_alive=is_alive, heartbeat_age_seconds=0, about=about)


def test_the_one_that_is_not_as_most_are_is_named():
    workers = [beat(name, version="1", registry="aa") for name in ("w1", "w2")]
    assert find_differences([*workers, beat("w3", version="1", registry="bb")]) == (
        Difference("registry", "registry", ("w3",), 3),
    )


def test_of_two_both_are_named():
    assert find_differences([beat("w2", version="1"), beat("w1", version="2")]) == (
        Difference("version", "version", ("w1", "w2"), 2),
    )


def test_a_setting_that_only_one_has_changed_is_named_by_its_variable():
    workers = [beat(name, settings={"PIOPIY_TOKEN": "aa"}) for name in ("w1", "w2")]
    strange = beat("w3", settings={"PIOPIY_TOKEN": "aa", "TRANSFER_MAX_LEGS": "cc"})
    assert find_differences([*workers, strange]) == (Difference("settings", "TRANSFER_MAX_LEGS", ("w3",), 3),)


@pytest.mark.parametrize(
    "others",
    [
        [],
        [beat("w2", version="1", registry="aa", settings={})],
        [beat("w2")],  # of an older version, which tells nothing
        [beat("w2", version="0", registry="bb", is_alive=False)],
        [beat("w2", version=7, registry=["bb"], settings="cc")],  # whatever stands in Redis
    ],
)
def test_who_is_alike_gone_or_silent_is_not_named(others):
    assert find_differences([beat("w1", version="1", registry="aa", settings={}), *others]) == ()
