"""A sandbox in Piopiy's place: real HTTP, the vendor's validators, and a record of every request."""

from transfer_worker.sandbox.server import DEFAULT_TOKEN, SandboxServer, run

__all__ = ["DEFAULT_TOKEN", "SandboxServer", "run"]
