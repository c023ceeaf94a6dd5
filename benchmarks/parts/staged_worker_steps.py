"""The steps that a stopwatch stands at; apart, because only a worker may import the worker's module."""

STEPS = (
    "submit",
    "fetched",
    "handed over",
    "task begins",
    "routed",
    "claimed and begun",
    "POST",
    "answered",
    "settled",
)
"""In the order of time; the first and `POST` come from the producer and the stub."""
