"""Whether this environment can hold a voice agent: the two Piopiy packages overwrite each other.

`piopiy` (the REST SDK, 1.2.2) and `piopiy-ai` (0.6.1) both install ``piopiy/__init__.py``: the last one wins,
and uninstalling either deletes the file. pip says nothing about it.
"""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from typing import Final

_OWN_ENVIRONMENT: Final = (
    "Voice processes and transfer workers need an environment each; make a new one for the voice process: "
    "pip install 'call-transfer[agent]'"
)


def _installed(distribution: str) -> str:
    try:
        return version(distribution)
    except PackageNotFoundError:
        return ""


def describe_problem() -> str:
    """Return what is wrong with piopiy-ai in this environment, and the fix; empty if nothing is."""
    agent_sdk, rest_sdk = _installed("piopiy-ai"), _installed("piopiy")
    if rest_sdk and agent_sdk:
        return (
            f"piopiy-ai {agent_sdk} and Piopiy's REST SDK (piopiy {rest_sdk}) are installed together and "
            f"overwrite each other's files. {_OWN_ENVIRONMENT}"
        )
    if rest_sdk:
        return (
            f"this environment holds Piopiy's REST SDK (piopiy {rest_sdk}), not piopiy-ai. {_OWN_ENVIRONMENT}"
        )
    if not agent_sdk:
        return "piopiy-ai is not installed. pip install 'call-transfer[agent]'"
    spec = find_spec("piopiy")
    if spec is None or spec.origin is None:
        return (
            f"piopiy-ai {agent_sdk} is installed, but its piopiy/__init__.py is gone: Piopiy's REST SDK was "
            "uninstalled from this environment. pip install --force-reinstall --no-deps piopiy-ai"
        )
    return ""
