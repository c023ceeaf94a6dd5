"""Who has a turn in which round."""

from __future__ import annotations

from types import SimpleNamespace

from benchmarks.stage.turns import Turn, few_of, plan_rounds


def make_turns(**rounds: int) -> list[Turn]:
    return [Turn(SimpleNamespace(name=name), "", {}, rounds=count) for name, count in rounds.items()]


def names(planned: list[list[Turn]]) -> list[list[str]]:
    return [[turn.system.name for turn in due] for due in planned]


def test_everybody_has_a_turn_in_each_round_and_each_round_begins_elsewhere():
    assert names(plan_rounds(make_turns(a=3, b=3, c=3))) == [
        ["a", "b", "c"],
        ["b", "c", "a"],
        ["c", "a", "b"],
    ]


def test_who_has_fewer_rounds_has_them_spread_over_the_whole():
    planned = names(plan_rounds(make_turns(a=5, slow=2)))
    assert ["slow" in due for due in planned] == [True, False, False, True, False]


def test_each_has_as_many_turns_as_it_asks_for():
    for wanted in range(1, 6):
        planned = names(plan_rounds(make_turns(a=5, b=wanted)))
        assert sum("b" in due for due in planned) == wanted
        assert sum("a" in due for due in planned) == 5


def test_what_no_target_is_about_has_two_fifths_of_the_rounds_and_one_at_least():
    assert [few_of(rounds) for rounds in (1, 2, 3, 5, 10)] == [1, 1, 1, 2, 4]
