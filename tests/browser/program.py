"""Starts nowcxr for a test and ends it again: a demo that runs, or a recording that is served."""

import json
import os
import pathlib
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parents[2]
# How long a program may take to answer first.
PATIENCE_S = 60


def free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


class Program:
    """A running nowcxr; ends with the block that it is used in."""

    def __init__(self, binary, work, *args, settings=()):
        self.port = free_port()
        self.base = f"http://127.0.0.1:{self.port}"
        sets = [f"http.listen=127.0.0.1:{self.port}", f"predict.model={ROOT / 'models/demo'}"]
        flags = [word for one in [*sets, *settings] for word in ("--set", one)]
        ours = {name: value for name, value in os.environ.items() if not name.startswith("NOWCXR_")}
        self.said = open(work / f"program-{self.port}.log", "wb")
        self.process = subprocess.Popen(
            [binary, *args, *flags], cwd=work, env=ours, stdin=subprocess.DEVNULL,
            stdout=self.said, stderr=self.said,
        )

    def __enter__(self):
        until = time.monotonic() + PATIENCE_S
        while True:
            try:
                with urllib.request.urlopen(f"{self.base}/healthz", timeout=5) as answer:
                    assert json.load(answer)["status"] == "alive"
                    return self
            except (urllib.error.URLError, ConnectionError, TimeoutError):
                if self.process.poll() is not None or time.monotonic() > until:
                    self.end(signal.SIGKILL)
                    raise RuntimeError(f"nowcxr does not answer; see {self.said.name}") from None
                time.sleep(0.1)

    def __exit__(self, *_):
        self.end(signal.SIGKILL)

    def end(self, how):
        """Sends `how` and waits for the end."""
        if self.process.poll() is None:
            self.process.send_signal(how)
        self.process.wait()
        self.said.close()


def token(binary, work, name, role):
    """A new token in tokens.txt."""
    made = [binary, "token", name, "--role", role, "--file", "tokens.txt", "--json"]
    return json.loads(subprocess.run(made, cwd=work, check=True, stdout=subprocess.PIPE).stdout)[
        "token"
    ]
