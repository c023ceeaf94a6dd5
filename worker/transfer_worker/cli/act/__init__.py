"""The commands that change something, each under a name that the audit log keeps."""

from transfer_worker.cli.act.acknowledge import acknowledge
from transfer_worker.cli.act.ask_again import replay
from transfer_worker.cli.act.erase import erase
from transfer_worker.cli.act.kill_switch import pause, resume
from transfer_worker.cli.act.settle import cancel, resolve

__all__ = ["acknowledge", "cancel", "erase", "pause", "replay", "resolve", "resume"]
