"""What may be asked: a `TransferIntent` that exists is valid."""

from transfer_tasks.intent.actions import ConnectOptions
from transfer_tasks.intent.destination import EndpointsDestination, NamedDestination, PipelineDestination
from transfer_tasks.intent.model import SCHEMA_VERSION, TransferIntent

__all__ = [
    "SCHEMA_VERSION",
    "ConnectOptions",
    "EndpointsDestination",
    "NamedDestination",
    "PipelineDestination",
    "TransferIntent",
]
