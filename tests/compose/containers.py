"""Runs the commands of docker-compose.yml's containers of ours, in its order, without an engine.

A container becomes a process with its command, its environment's addresses replaced by those of
this machine and its volumes by directories. What it is asked is what people see: that one-shot
containers succeed, that health checks turn good, that a page is shown for the token, and that
metrics, alerts and controls say what they should.
"""

import argparse
import pathlib
import re
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request

from ruamel.yaml import YAML

ROOT = pathlib.Path(__file__).resolve().parents[2]
STATE = "/var/lib/nowcxr"
# A container of ours may take so long to become healthy or to end.
PATIENCE_S = 120
# The service has so long between SIGTERM and its end.
GRACE_S = 30


class Containers:
    """The processes, and what stands for the addresses and paths that they know."""

    def __init__(self, asked, file):
        self.asked, self.services = asked, file["services"]
        with socket.socket() as one:
            one.bind(("127.0.0.1", 0))
            self.port = one.getsockname()[1]
        self.config = (ROOT / file["configs"]["nowcxr"]["file"]).read_text()
        self.running = {}
        # By the name that the commands know.
        self.bin = asked.work / "bin"
        self.bin.mkdir()
        (self.bin / "nowcxr").symlink_to(asked.program)

    def volume(self, name):
        mounts = self.services[name].get("volumes", [])
        mounts = [text.split(":") for text in mounts if isinstance(text, str)]
        home = next((source for source, target, *_ in mounts if target == STATE), f"of-{name}")
        place = self.asked.work / home
        place.mkdir(exist_ok=True)
        return place

    def here(self, text, name):
        for there, ours in {
            "kafka:9092": self.asked.broker,
            "registry:8080": self.asked.registry,
            "0.0.0.0:8080": f"127.0.0.1:{self.port}",
            "127.0.0.1/8080": f"127.0.0.1/{self.port}",
            "/usr/share/nowcxr/models": str(ROOT / "models"),
            "/etc/nowcxr.toml": str(self.asked.work / f"{name}.toml"),
            STATE: str(self.volume(name)),
        }.items():
            text = text.replace(there, ours)
        return text

    def start(self, name, words=None):
        service = self.services[name]
        (self.asked.work / f"{name}.toml").write_text(self.here(self.config, name))
        entry = service.get("entrypoint", ["nowcxr"])
        words = [self.here(str(word), name) for word in words or [*entry, *service["command"]]]
        path = f"{self.bin}:/usr/bin:/bin"
        log = open(self.log(name), "ab")
        process = subprocess.Popen(
            words, cwd=self.volume(name), env={"PATH": path}, stdin=subprocess.DEVNULL,
            stdout=log, stderr=log,
        )
        log.close()
        self.running[name] = process
        return process

    def log(self, name):
        return self.asked.work / f"{name}.log"

    def said(self, name):
        return self.log(name).read_text(errors="replace")

    def completes(self, name, words=None, patience=PATIENCE_S):
        code = self.start(name, words).wait(patience)
        assert code == 0, f"{name} ended with {code}:\n{self.said(name)}"

    def becomes_healthy(self, name):
        kind, *words = self.services[name]["healthcheck"]["test"]
        assert kind == "CMD", kind
        words = [self.here(word, name) for word in words]
        self.until(name, lambda: subprocess.run(words, stderr=subprocess.DEVNULL).returncode == 0)

    def until(self, name, is_so):
        end = time.monotonic() + PATIENCE_S
        while not is_so():
            process = self.running[name]
            assert process.poll() is None, f"{name} ended by itself:\n{self.said(name)}"
            assert time.monotonic() < end, f"{name} takes too long:\n{self.said(name)[-4000:]}"
            time.sleep(0.2)

    def page(self, path, token=""):
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}{path}")
        request.add_header("Authorization", f"Bearer {token}")
        try:
            with urllib.request.urlopen(request, timeout=20) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, ""

    def stops(self, name):
        self.running[name].send_signal(signal.SIGTERM)
        code = self.running.pop(name).wait(GRACE_S)
        assert code == 0, f"{name} ended with {code}:\n{self.said(name)}"

    def end(self):
        for process in self.running.values():
            process.kill()
            process.wait()


def await_registry(address):
    end = time.monotonic() + PATIENCE_S
    while True:
        try:
            with urllib.request.urlopen(f"http://{address}/health/ready", timeout=5):
                return
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            assert time.monotonic() < end, "the registry does not become ready"
            time.sleep(0.5)


def scored(metrics):
    found = re.findall(r'^nowcxr_risk_events_total\{[^}]*"scored"[^}]*\} (\d+)', metrics, re.M)
    return sum(int(number) for number in found)


def stays_shown(containers, token):
    status, ward = containers.page("/ward?show=all", token)
    assert status == 200, status
    return set(re.findall(r'href="(/stay/\d+)', ward))


def up(containers):
    """What `docker compose up` does, and what people do then."""
    containers.completes("token")
    token = re.search(r"nowcxr_[A-Za-z0-9_-]{43}", containers.said("token"))[0]
    containers.completes("token")
    assert containers.said("token").count(token) == 1, "a second up makes no second token"
    containers.completes("ward")
    containers.start("nowcxr")
    containers.becomes_healthy("nowcxr")
    containers.start("replay")
    containers.start("alerts")

    def control(*wish):
        return ["nowcxr", "control", *wish]

    containers.until("replay", lambda: "control" in {p.name for p in replayed(containers)})
    replay = containers.running["replay"]
    # At ten minutes a second the ward would take some twenty minutes.
    containers.completes("replay", control("speed", "max"))
    containers.running["replay"] = replay
    assert replay.wait(PATIENCE_S) == 0, containers.said("replay")
    del containers.running["replay"]
    containers.until("nowcxr", lambda: scored(containers.page("/metrics")[1]) > 50)
    assert containers.page("/ward")[0] in (401, 403), "the ward is shown to nobody without a token"
    containers.until("nowcxr", lambda: len(stays_shown(containers, token)) == 8)
    stays = stays_shown(containers, token)
    assert containers.page(min(stays), token)[0] == 200
    shown = "silent mode, would have alerted"
    containers.until("alerts", lambda: shown in containers.said("alerts"))
    containers.stops("alerts")
    containers.stops("nowcxr")
    print(f"compose: {len(stays)} stays on the page, alerts shown, every container ended well")


def replayed(containers):
    return (containers.volume("replay") / "nowcxr-replay").glob("*")


def mounts_what_it_may(file):
    """An engine puts a config's content into the container, unless its file system is read-only."""
    for name, service in file["services"].items():
        given = [one["source"] for one in service.get("configs", [])]
        content = [source for source in given if "content" in file["configs"][source]]
        assert not (service.get("read_only") and content), f"{name}: {content} must be files"


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--program", required=True)
    parser.add_argument("--broker", required=True)
    parser.add_argument("--registry", required=True)
    parser.add_argument("--work", required=True, type=pathlib.Path)
    asked = parser.parse_args()
    file = YAML(typ="safe").load(ROOT / "docker-compose.yml")
    mounts_what_it_may(file)
    containers = Containers(asked, file)
    await_registry(asked.registry)
    try:
        up(containers)
    finally:
        containers.end()


main()
