"""Pin the image's Python packages by hash: a file for each architecture, and one for the build of the wheel.

Usage: python .ci/pin_image.py        (a part of `make constraints`)

The Python is the one that the Dockerfile names, the versions are those of constraints/worker.txt. uv resolves
for a machine that is not this one, which pip can't; only wheels count. No index's address is written down.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / "constraints" / "image"
ARCHITECTURES = ("x86_64", "aarch64")
HEAD = """\
# {what}, by hash. Written by `make constraints`.
"""


def resolve(uv: Path, *requirements: str, python: str, architecture: str) -> str:
    """Return the wheels that meet the requirements there, as lines of a requirements file."""
    locked = subprocess.run(
        [uv, "--system-certs", "pip", "compile", "--quiet",
         "--format", "pylock.toml", "--only-binary", ":all:",
         "--python-version", python, "--python-platform", f"{architecture}-manylinux_2_28",
         "--constraint", "constraints/worker.txt", *requirements],
        cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True,
    ).stdout  # fmt: skip
    lines = []
    for package in tomllib.loads(locked)["packages"]:
        hashes = sorted({wheel["hashes"]["sha256"] for wheel in package["wheels"]})
        pin = f"{package['name']}=={package['version']}"
        lines.append(" \\\n    ".join([pin, *(f"--hash=sha256:{value}" for value in hashes)]) + "\n")
    return "".join(lines)


def main() -> None:
    """Write all files anew."""
    found = re.search(r"^FROM python:(3\.\d+)", (ROOT / "Dockerfile").read_text("utf-8"), re.MULTILINE)
    if found is None:
        sys.exit("The Dockerfile names no Python.")
    python = found[1]
    build_system = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["build-system"]
    with tempfile.TemporaryDirectory() as scratch:
        venv = Path(scratch, "venv")
        subprocess.run([sys.executable, "-m", "venv", venv], check=True)
        subprocess.run([venv / "bin" / "pip", "install", "--quiet", "uv"], check=True)
        wanted = Path(scratch, "build.in")
        wanted.write_text("\n".join(build_system["requires"]))
        uv = venv / "bin" / "uv"
        texts = {"build.txt": HEAD.format(what="What builds the wheel")}
        texts["build.txt"] += resolve(uv, str(wanted), python=python, architecture=ARCHITECTURES[0])
        for architecture in ARCHITECTURES:
            lines = resolve(
                uv,
                "pyproject.toml",
                "--extra",
                "worker",
                "--extra",
                "webhooks",
                python=python,
                architecture=architecture,
            )
            what = f"What .[worker,webhooks] needs on Python {python}, {architecture} with glibc"
            texts[f"python{python}-{architecture}.txt"] = HEAD.format(what=what) + lines
    FOLDER.mkdir(exist_ok=True)
    for old in FOLDER.iterdir():
        old.unlink()
    for name, text in texts.items():
        (FOLDER / name).write_text(text)


if __name__ == "__main__":
    main()
