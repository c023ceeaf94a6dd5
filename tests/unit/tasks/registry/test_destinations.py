"""The registry of named destinations: read strictly, and every mistake named at once."""

from pathlib import Path

import pytest

from transfer_tasks.errors import SettingsError
from transfer_tasks.intent import TransferIntent
from transfer_tasks.intent.endpoints import AgentEndpoint, PhoneEndpoint, SipEndpoint
from transfer_tasks.registry.destinations import DestinationRegistry

EXAMPLE = Path(__file__).parents[4] / "destinations.example.toml"


@pytest.fixture
def registry_file(tmp_path):
    def write(text: str | bytes) -> Path:
        path = tmp_path / "destinations.toml"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path

    return write


def problems(path: Path) -> list[str]:
    with pytest.raises(SettingsError) as refused:
        DestinationRegistry.load(path)
    return [problem.removeprefix(f"{path}: ") for problem in refused.value.problems]


def test_the_shipped_example_has_one_destination_of_each_kind():
    registry = DestinationRegistry.load(EXAMPLE)
    kinds = {name: type(entry.endpoints[0]) for name, entry in registry.items()}
    assert kinds == {"support": PhoneEndpoint, "front-desk": SipEndpoint, "billing": AgentEndpoint}
    support = registry["support"]
    assert [endpoint.number for endpoint in support.endpoints] == ["12025550143", "12025550144"]
    assert (support.caller_id, support.ring_timeout_sec, support.strategy) == (
        None,  # whoever fills it in has a number of their own: PIOPIY_NUMBER
        20,
        "sequential",
    )
    assert registry["front-desk"].endpoints[0].headers == {"X-Queue": "reception", "X-Ticket": "{ticket}"}
    assert all(entry.description for entry in registry.values())


def test_every_name_of_the_example_can_be_asked_for():
    for name in DestinationRegistry.load(EXAMPLE):
        assert TransferIntent(call_id="6f1c1f0e-5b0a-4d4e-9a51-0c9d6a3c2b11", destination=name)


def test_an_unknown_name_is_absent():
    registry = DestinationRegistry.load(EXAMPLE)
    assert registry.get("sales") is None
    assert "sales" not in registry
    assert len(registry) == 3
    assert len(DestinationRegistry({})) == 0


def test_every_mistake_in_the_file_is_reported_at_once(registry_file):
    path = registry_file(
        """
        [Support]
        endpoints = ["+1 555 0143"]
        ring_timeout_sec = 3
        phone = "x"

        [sales]
        name = "sales"
        description = "Sales"
        endpoints = ["agent:3d0b6a52-7c1e-4b8a-9f60-2a1f5e9c8d47", "+1 202-555-0143"]
        caller_id = 12025550143

        [desk]
        description = "Desk"
        endpoints = [{ type = "sip", uri = "sip:desk@example.com?x=y" }]
        """
    )
    assert [problem.partition(": ")[0] for problem in problems(path)] == [
        "[Support] name",
        "[Support] description",
        "[Support] endpoints[0]",
        "[Support] ring_timeout_sec",
        "[Support] phone",
        "[sales] name",
        "[sales] endpoints",
        "[sales] caller_id",
        "[desk] endpoints[0].uri",
    ]


def test_numbers_in_reported_mistakes_are_masked(registry_file):
    path = registry_file(
        '[support]\ndescription = "x"\nendpoints = ["+1 (202) 555-0143 x"]\ncaller_id = 12025550143'
    )
    text = "".join(problems(path))
    assert "555-0143 x" not in text
    assert "2025550143" not in text


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "names no destination"),
        ("support = 1", "[support] table: is not an object"),
        ("[support", "is not TOML"),
        ("a = " + "[" * 5000, "is not TOML"),
        (b"\xff", "is not written in UTF-8"),
    ],
)
def test_a_file_that_is_no_registry_is_refused(registry_file, text, complaint):
    assert problems(registry_file(text))[0].startswith(complaint)


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(SettingsError) as refused:
        DestinationRegistry.load(tmp_path / "absent.toml")
    assert "absent.toml: can't be read" in refused.value.problems[0]
    with pytest.raises(SettingsError):
        DestinationRegistry.load(tmp_path)
