"""docs/webhooks.md says what the code does."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from transfer_tasks.connection import ReportVerdict
from transfer_worker.runtime.poller import MAX_POLLS, PACE_SECONDS, WAITS_SECONDS
from transfer_worker.webhooks.app import BODY_SECONDS, HEADER, MAX_BODY_BYTES
from transfer_worker.webhooks.matching import Taken
from transfer_worker.webhooks.settings import MIN_SECRET_LENGTH, WebhookSettings

PAGE = " ".join((Path(__file__).parents[4] / "docs" / "webhooks.md").read_text("utf-8").split())


@pytest.mark.parametrize("word", [*Taken, *sorted(set(ReportVerdict) - {ReportVerdict.REFUSED})])
def test_each_verdict_is_on_the_page(word):
    assert f"`{word}`" in PAGE


def test_each_setting_of_its_own_is_on_the_page():
    own = WebhookSettings.model_fields.keys() - WebhookSettings.__base__.model_fields.keys()
    assert {f"TRANSFER_{name}".upper() for name in own} <= set(re.findall(r"TRANSFER_\w+", PAGE))
    assert f"`{HEADER}`" in PAGE
    assert f"{MIN_SECRET_LENGTH} letters" in PAGE
    assert f"({WebhookSettings.model_fields['webhook_rate'].default})" in PAGE


def test_the_bounds_are_the_codes():
    assert f"slower than {BODY_SECONDS:g} s; longer than {MAX_BODY_BYTES // 1024} KiB" in PAGE
    seconds = [2, 2 + WAITS_SECONDS[0], 2 + sum(WAITS_SECONDS[:2]), 2 + sum(WAITS_SECONDS[:3])]
    assert "after {} s, {} s, {} s, {} s and so on".format(*seconds) in PAGE
    assert (MAX_POLLS, PACE_SECONDS) == (12, 0.2)
    assert "twelve times in 15 minutes" in PAGE
    assert "five times a second" in PAGE
