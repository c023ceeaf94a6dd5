"""The examples run as they are, with real constructors and settings; only the far ends of the net are ours.

They are the published how-tos, fixed: docs/how-tos.md.
"""

from __future__ import annotations

import asyncio
import importlib.util
import os
import subprocess
import sys
import uuid
from pathlib import Path

import piopiy.agent
import pytest
from piopiy.services.cartesia.tts import CartesiaTTSService
from piopiy.services.deepgram.stt import DeepgramSTTService

from voice.cluster import PATIENT, SIGNING_KEY
from voice.loopback import FakeRoom, Platform
from voice.model import transfer

EXAMPLES = Path(__file__).parents[2] / "examples"
ENVIRONMENT = {
    "AGENT_ID": "agent-id",
    "AGENT_TOKEN": "agent-token",
    "PIOPIY_NUMBER": "+1 202-555-0199",
    "SUPPORT_NUMBER": "+1 202-555-0100",
    "SUPPORT_SIP_URI": "sip:front-desk@pbx.example.com",
    "SUPPORT_AGENT_ID": "3d0b6a52-7c1e-4b8a-9f60-2a1f5e9c8d47",
    "DEEPGRAM_API_KEY": "deepgram-key",
    "CARTESIA_API_KEY": "cartesia-key",
    "CARTESIA_VOICE_ID": "a-voice",
}


class AgentsPlatform(Platform):
    """Knows the agent that an example made, so that it can be stopped as SIGTERM stops it."""

    def keep(self, agent):
        self.agent = agent
        return agent

    async def __aexit__(self, *error):
        await self.agent.shutdown()
        await super().__aexit__(*error)

    async def stop(self, running):
        await self.agent.shutdown()
        async with asyncio.timeout(60):
            await running


def current_call():
    return FakeRoom.calls[piopiy.agent.ROOM_CTX.get()]


def build_ears(**arguments):
    DeepgramSTTService(**arguments)  # the real one takes these arguments; it would go on the net when started
    return current_call().ears


def build_mouth(**arguments):
    CartesiaTTSService(**arguments)
    return current_call().mouth


def load_example(name, platform):
    """Import an example, with its far ends on this machine."""
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    example = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(example)
    example.Agent = lambda *given: platform.keep(piopiy.agent.Agent(*given, signaling_url=platform.origin))
    example.DeepgramSTTService, example.CartesiaTTSService = build_ears, build_mouth
    return example


@pytest.fixture
def environment(cluster, monkeypatch, tmp_path):
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("TRANSFER_REDIS_URL", cluster.redis_url)
    monkeypatch.setenv("TRANSFER_SIGNING_KEY", SIGNING_KEY)
    for name, value in PATIENT.items():
        monkeypatch.setenv(f"TRANSFER_{name.upper()}", str(value))
    monkeypatch.delenv("PIOPIY_TOKEN", raising=False)
    monkeypatch.chdir(tmp_path)
    return monkeypatch


async def test_the_agent_with_transfer_moves_its_caller(cluster, environment):
    async with AgentsPlatform() as platform:
        environment.setenv("OPENAI_BASE_URL", f"{platform.origin}/v1")
        call_id = str(uuid.uuid4())
        environment.setenv("OPENAI_API_KEY", call_id)
        running = asyncio.create_task(load_example("agent_with_transfer", platform).main())
        await platform.wait_for_agent()
        call = await platform.ring(transfer("support"), call_id=call_id)
        await call.hears("Hello! How can I help you")
        await call.say("A person, please.")
        await call.hears("I'm connecting you to support now")
        (post,) = await asyncio.to_thread(cluster.wait_for_posts, call_id)
        assert post.endpoint == {"type": "pstn", "number": "12025550100"}
        assert post.pipeline[0]["params"]["caller_id"] == "12025550199"
        await platform.stop(running)


@pytest.mark.parametrize(
    ("script", "kind"),
    [
        ("trigger_phone_transfer", "pstn"),
        ("trigger_sip_transfer", "sip"),
        ("trigger_agent_transfer", "agent"),
    ],
)
async def test_a_trigger_script_moves_the_phone_agents_caller(cluster, environment, capsys, script, kind):
    async with AgentsPlatform() as platform:
        environment.setenv("OPENAI_BASE_URL", f"{platform.origin}/v1")
        call_id = str(uuid.uuid4())
        environment.setenv("OPENAI_API_KEY", call_id)
        example = load_example("phone_agent", platform)
        running = asyncio.create_task(
            example.Agent("agent-id", "agent-token", example.create_session).connect()
        )
        await platform.wait_for_agent()
        call = await platform.ring(call_id=call_id)
        await call.say("Hello?")
        await call.hears("Anything else")
        assert f"Call: {call_id}" in capsys.readouterr().out
        run = await asyncio.to_thread(
            subprocess.run,
            [sys.executable, EXAMPLES / f"{script}.py", call_id],
            capture_output=True,
            text=True,
            check=False,
        )
        assert run.stdout.startswith("submitted Piopiy accepted the request"), run.stderr
        (post,) = cluster.posts(call_id)
        assert post.endpoint["type"] == kind
        await platform.stop(running)


ALL = sorted(path.stem for path in EXAMPLES.glob("*.py"))
TRIGGERS = [name for name in ALL if name.startswith("trigger")]


def run_example(name, *arguments, without=None, **changes):
    """Run an example as it is; return what it says when it ends at once."""
    given = {key: value for key, value in os.environ.items() if key not in ENVIRONMENT}
    given |= {**ENVIRONMENT, "OPENAI_API_KEY": "openai-key", **changes}
    given.pop(without, None)
    command = [sys.executable, "-W", "ignore", EXAMPLES / f"{name}.py", *arguments]
    run = subprocess.run(command, env=given, capture_output=True, text=True, check=False)
    assert run.returncode == 1
    assert "Traceback" not in run.stderr
    return run.stderr.strip().splitlines()[-1]


@pytest.mark.parametrize(
    ("name", "variable"),
    [
        *((name, "PIOPIY_NUMBER") for name in TRIGGERS),
        ("phone_agent", "AGENT_ID"),
        ("agent_with_transfer", "SUPPORT_NUMBER"),
    ],
)
def test_an_example_without_one_of_its_variables_says_which_in_one_line(environment, name, variable):
    arguments = [str(uuid.uuid4())] if name in TRIGGERS else []
    assert run_example(name, *arguments, without=variable).startswith(f"{variable} is not set.")


@pytest.mark.parametrize("name", TRIGGERS)
def test_a_trigger_script_without_a_call_says_how_it_is_used(environment, name):
    assert run_example(name) == f"Usage: python {name}.py CALL_ID"


def test_a_trigger_script_says_in_one_line_what_is_wrong_with_a_call_or_with_redis(environment):
    assert "call_id" in run_example("trigger_phone_transfer", "no call")
    refused = run_example(
        "trigger_phone_transfer", str(uuid.uuid4()), TRANSFER_REDIS_URL="redis://127.0.0.1:9"
    )
    assert "was not queued" in refused


def test_no_example_holds_the_rest_token_or_a_call_of_its_own_in_a_global():
    for path in EXAMPLES.glob("*.py"):
        code = path.read_text(encoding="utf-8")
        assert "PIOPIY_TOKEN" not in code
        assert "piopiy_voice" not in code
        assert "global " not in code
