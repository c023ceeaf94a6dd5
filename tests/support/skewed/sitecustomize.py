# mypy: ignore-errors
"""Shifts a process's time of day by SKEW_SECONDS, its monotonic clock not: for a folder in PYTHONPATH."""

import datetime as dt
import os
import time

_SKEW_SECONDS = float(os.environ["SKEW_SECONDS"])
_time, _time_ns, _datetime = time.time, time.time_ns, dt.datetime


class _SkewedDatetime(_datetime):
    @classmethod
    def now(cls, tz=None):
        return cls.fromtimestamp(time.time(), tz)


time.time = lambda: _time() + _SKEW_SECONDS
time.time_ns = lambda: _time_ns() + round(_SKEW_SECONDS * 1e9)
dt.datetime = _SkewedDatetime
