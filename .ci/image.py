"""Run a command in an image that .ci/machines.py built: its user, a read-only root, /tmp in memory.

Usage: python .ci/image.py IMAGE.json [--env NAME=VALUE] [--mount SOURCE:TARGET[:ro]] [-- PROGRAM ...]
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from dataclasses import asdict
from pathlib import Path

from chroot import Chroot, Mount
from dockerfile import Image


def save(image: Image, file: Path) -> None:
    """Write down what an image is."""
    file.write_text(json.dumps(asdict(image), default=str), "utf-8")


def load(file: Path) -> Image:
    """Read what `save` wrote."""
    fields = json.loads(file.read_text("utf-8"))
    system = fields.pop("system")
    return Image(Chroot(Path(system["root"]), system["environment"]), **fields)


def read_mount(text: str) -> Mount:
    """Read `SOURCE:TARGET[:ro]`, as `docker run --volume` takes it."""
    source, target, *mode = text.split(":")
    return Mount(Path(source), target, is_read_only=mode == ["ro"])


def main(arguments: list[str]) -> None:
    """Become the command."""
    options, command = arguments, []
    if "--" in arguments:
        options, command = arguments[: arguments.index("--")], arguments[arguments.index("--") + 1 :]
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("image", type=Path)
    parser.add_argument("--env", action="append", default=[], metavar="NAME=VALUE")
    parser.add_argument("--mount", action="append", default=[], type=read_mount, metavar="SOURCE:TARGET[:ro]")
    asked = parser.parse_args(options)
    image = load(asked.image)
    environment = dict(pair.split("=", 1) for pair in asked.env)
    call = image.make_command(command or image.command, environment, asked.mount)
    os.execvp(call[0], call)  # noqa: S606 - that is what it is for


if __name__ == "__main__":
    main(sys.argv[1:])
