"""Whether Flower is safe, by the environment."""

from __future__ import annotations

from pydantic import Field, SecretStr

from transfer_tasks.settings import Settings, load_settings
from transfer_worker.runtime.findings import Finding
from transfer_worker.settings import find_login_problem, is_this_machine


class _FlowerSettings(Settings):
    """What Flower would read, as far as it is a matter of safety."""

    basic_auth: SecretStr | None = Field(None, validation_alias="FLOWER_BASIC_AUTH")
    address: str = Field("127.0.0.1", validation_alias="FLOWER_ADDRESS")
    read_only: str = Field("true", validation_alias="FLOWER_READ_ONLY")


def check_flower() -> Finding:
    """Judge by this environment; a Flower elsewhere may be given others."""
    flower = load_settings(_FlowerSettings)
    if flower.basic_auth is None:
        return Finding.not_checked(
            "flower",
            seen="FLOWER_BASIC_AUTH is not set here; without a login Flower does not start",
        )
    if problem := find_login_problem(flower.basic_auth.get_secret_value()):
        return Finding.warning(
            "flower", seen=f"it does not start: FLOWER_BASIC_AUTH: {problem}", fix="Give it another login."
        )
    risks, fixes = [], []
    if not is_this_machine(flower.address):
        risks.append(f"listens on {flower.address}")
        fixes.append("Leave FLOWER_ADDRESS out, and reach it by a tunnel or a proxy with TLS.")
    if flower.read_only.strip().lower() not in {"true", "1", "yes", "on"}:
        risks.append("lets everybody who logs in stop workers")
        fixes.append("Leave FLOWER_READ_ONLY out when the work is done.")
    if risks:
        return Finding.warning("flower", seen=f"it {' and '.join(risks)}", fix=" ".join(fixes))
    return Finding.ok("flower", seen=f"a login, read only, on {flower.address}")
