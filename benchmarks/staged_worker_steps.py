"""The steps that a stopwatch stands at; apart, because the worker's module may only be imported by a worker."""

STEPS = (
    "submit",
    "fetched",
    "handed over",
    "task begins",
    "claimed",
    "routed",
    "begun",
    "POST",
    "answered",
    "settled",
)
"""In the order of time; the first and `POST` come from the producer and the stub."""
