"""What our four binaries say about themselves: which settings they know, need and default to, and which routes exist."""

import functools
import os
import pathlib
import re
import socket
import subprocess
import tempfile
import time
import urllib.error
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parents[2]
BINARIES = ROOT / os.environ.get("CARGO_TARGET_DIR", "target") / "debug"
SERVICES = ("auth", "gateway", "converter", "notification")
WRONG_USAGE = 64
# Read by the logging library, before there are settings.
LIBRARY_SETTINGS = {"RUST_LOG", "SSL_CERT_FILE"}
# The original system's ConfigMap names both queues; the notification reads one of them.
IGNORED = {("notification", "VIDEO_QUEUE")}
PATIENCE_SECONDS = 60


@functools.cache
def defaults(service):
    """The settings with a default, by the names of their environment variables: what `--help` says."""
    command = [BINARIES / service, *(["serve"] if service == "gateway" else []), "--help"]
    text = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, env={}).stdout
    found = re.findall(r"\[env: (\w+)=?[^\]]*\]\s*(?:\[default: ([^\]]*)\])?", text)
    return {name: default for name, default in found if default}


@functools.cache
def knows(service, name):
    """Whether the binary has a setting of that name: it then reads NAME_FILE, and says that it cannot."""
    if name in LIBRARY_SETTINGS or (service, name) in IGNORED:
        return True
    missing = "/nonexistent/value"
    command = [BINARIES / service, *(["serve"] if service == "gateway" else []), "--help"]
    done = subprocess.run(command, env={f"{name}_FILE": missing}, capture_output=True, text=True, check=False)
    return done.returncode == WRONG_USAGE and f"{name}_FILE" in done.stderr and missing in done.stderr


def grace_seconds(service):
    """How long the binary takes at most after SIGTERM, as its settings or its source say."""
    if grace := defaults(service).get("SHUTDOWN_GRACE"):
        return int(grace)
    for path in (ROOT / service / "src").glob("*.rs"):
        if found := re.search(r"const GRACE: Duration = Duration::from_secs\((\d+)\)", path.read_text()):
            return int(found[1])
    raise LookupError(f"no GRACE in {service}/src")


# auth: what it takes for itself, and to judge a password.
AUTH_MEBIBYTES, HASH_MEBIBYTES = 64, 19
# converter: what it takes for itself (docs/adr/0009-the-sandboxed-child.md), and how many threads of a conversion encode.
CONVERTER_MEBIBYTES, MOST_THREADS = 128, 16


def memory_mebibytes(service, setting):
    """What a service takes at most with these settings; auth or converter, whose work is what takes it."""
    if service == "auth":
        hashes = re.search(r"const MOST_AT_ONCE: usize = (\d+);", (ROOT / "auth/src/hashing.rs").read_text())
        return AUTH_MEBIBYTES + int(hashes[1]) * HASH_MEBIBYTES
    limits = (ROOT / "crates/media/src/child/limits.rs").read_text()
    child, thread = (
        int(re.search(rf"const {name}: u64 = (\d+) \* 1024 \* 1024;", limits)[1]) for name in ("DATA_BYTES", "THREAD_DATA_BYTES")
    )
    threads = min(int(setting.get("CONVERTER_THREADS") or MOST_THREADS), MOST_THREADS)
    return int(setting["CONVERTER_JOBS"]) * (child + threads * thread) + CONVERTER_MEBIBYTES


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Running:
    """A service with the environment of its manifest, listening on ports of this machine instead."""

    def __init__(self, service, environment):
        self.ports = {"operations": free_port()}
        environment = {**environment, "MP3_OPS_LISTEN": f"127.0.0.1:{self.ports['operations']}"}
        if "MP3_LISTEN" in defaults(service):
            self.ports["http"] = free_port()
            environment["MP3_LISTEN"] = f"127.0.0.1:{self.ports['http']}"
        self.log = tempfile.TemporaryFile("w+")
        self.process = subprocess.Popen([BINARIES / service], env=environment, stdout=self.log, stderr=self.log)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.terminate()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.log.close()

    def listens(self):
        """Waits until it serves its operations port; the end of its log when it ended instead."""
        give_up = time.monotonic() + PATIENCE_SECONDS
        while time.monotonic() < give_up:
            if self.process.poll() is not None:
                self.log.seek(0)
                return f"exit {self.process.returncode}: {self.log.read()[-500:].strip()}"
            if self.status("operations", "/healthz"):
                return None
            time.sleep(0.02)
        return f"does not listen after {PATIENCE_SECONDS} s"

    def status(self, port, path):
        """The status of a GET; None when nobody listens."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.ports[port]}{path}", timeout=10) as answer:
                return answer.status
        except urllib.error.HTTPError as error:
            return error.code
        except OSError:
            return None
