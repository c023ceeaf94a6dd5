"""Run `make test` where nothing is as usual.

Under nohup, in a path with a blank, by a user without a home or a name (if root starts us), with another
locale and time zone, and behind a proxy that leads out but never back to this machine.

Usage: python .ci/elsewhere.py [STAGE ...]
"""

from __future__ import annotations

import os
import shutil
import socket
import socketserver
import subprocess
import sys
import threading
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory

ROOT = Path(__file__).resolve().parent.parent
USER_ID = 61234


class Proxy(socketserver.ThreadingTCPServer):
    """An HTTP proxy for CONNECT alone, so that pip gets out; a context manager."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Tunnel)
        threading.Thread(target=self.serve_forever, daemon=True).start()

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.server_address[1]}"


class Tunnel(socketserver.StreamRequestHandler):
    """One connection. Who asks for this machine has taken the proxy where it should not."""

    def handle(self) -> None:
        """Refuse, or hand on bytes in both directions."""
        method, target, *_ = (self.rfile.readline().decode("latin-1") + " ? ?").split()
        while self.rfile.readline().strip():
            pass
        host, _, port = target.rpartition(":")
        if method != "CONNECT" or host in {"localhost", "127.0.0.1", "[::1]"}:
            self.wfile.write(b"HTTP/1.1 403 Not through this proxy\r\nContent-Length: 0\r\n\r\n")
            return
        with suppress(OSError), socket.create_connection((host.strip("[]"), int(port)), 30) as far:
            far.settimeout(None)
            self.wfile.write(b"HTTP/1.1 200 OK\r\n\r\n")
            back = threading.Thread(target=_pump, args=(far, self.connection), daemon=True)
            back.start()
            _pump(self.connection, far)
            back.join()


def _pump(source: socket.socket, sink: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(65536):
            sink.sendall(data)
    with suppress(OSError):
        sink.shutdown(socket.SHUT_WR)


def copy_tree(target: Path) -> None:
    """Copy what git knows or would take in."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        check=True,
    ).stdout.decode()
    for name in filter(None, listed.split("\0")):
        if (ROOT / name).is_file():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, target / name, follow_symlinks=False)


def main(stages: list[str]) -> int:
    """Run the stages there, without names all of them; return the exit code."""
    is_root = os.geteuid() == 0
    if not is_root:
        print("We are not root, so the user stays who it is.", flush=True)
    if not stages or "browser" in stages:  # who has no home can't install it
        subprocess.run(["/bin/sh", ".ci/browser"], cwd=ROOT, check=True)
    with TemporaryDirectory(prefix="call transfer ") as scratch, Proxy() as proxy:
        tree = Path(scratch) / "a tree"
        copy_tree(tree)
        (Path(scratch) / "tmp").mkdir()
        if is_root:
            for path in (Path(scratch), *Path(scratch).rglob("*")):
                os.chown(path, USER_ID, USER_ID, follow_symlinks=False)
        return subprocess.run(
            ["nohup", "make", "test", f"STAGES={' '.join(stages)}"],
            cwd=tree,
            env={name: value for name, value in os.environ.items() if name.startswith("PIP_")}
            | {
                "PATH": "/usr/local/bin:/usr/bin:/bin",
                "HOME": "/nonexistent",
                "TMPDIR": str(Path(scratch) / "tmp"),
                "LC_ALL": "C",
                "TZ": "Asia/Kolkata",
                "HTTP_PROXY": proxy.url,
                "HTTPS_PROXY": proxy.url,
            },
            stdin=subprocess.DEVNULL,
            **({"user": USER_ID, "group": USER_ID, "extra_groups": []} if is_root else {}),
            check=False,
        ).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
