#!/usr/bin/env python3
"""Prints what memory the running stack's services hold when they have nothing to do, and how long each takes to start.

Memory is the proportional set size of a service and its descendants, as in memory.py, after 20 seconds of rest. Time is from
the start of a second process like it to its first green /readyz, the servers being up. Usage: idle.py STACK.json
"""

import json
import os
import pathlib
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request

from memory import memory_bytes

LIMITS_MIB = {"auth": 20, "gateway": 20, "converter": 48, "notification": 20}
READY_SECONDS = 1.0
REST_SECONDS = 20
STARTS = 5


def free_address():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return "127.0.0.1:%d" % listener.getsockname()[1]


def start(pid):
    """A second process of that one's program and settings, and the seconds until it was ready."""
    variables = pathlib.Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    environment = dict(variable.decode().split("=", 1) for variable in variables if variable)
    operations = free_address()
    environment |= {"MP3_LISTEN": free_address(), "MP3_OPS_LISTEN": operations}
    began = time.monotonic()
    process = subprocess.Popen([os.readlink(f"/proc/{pid}/exe")], env=environment, stderr=subprocess.DEVNULL)
    while True:
        try:
            with urllib.request.urlopen(f"http://{operations}/readyz", timeout=5):
                return process, time.monotonic() - began
        except (urllib.error.URLError, ConnectionError):
            if process.poll() is not None or time.monotonic() - began > 60:
                sys.exit(f"error: process {pid}'s program does not become ready")
            time.sleep(0.002)


def main():
    pids = json.loads(pathlib.Path(sys.argv[1]).read_text())["pids"]
    time.sleep(REST_SECONDS)
    idle = {name: memory_bytes(pids[name]) / 2**20 for name in LIMITS_MIB}
    over = False
    print(f"{'service':<13} {'ready s, worst of ' + str(STARTS):>20} {'idle MiB':>9} {'at most':>8}")
    for name, limit in LIMITS_MIB.items():
        slowest = 0.0
        for _ in range(STARTS):
            process, seconds = start(pids[name])
            slowest = max(slowest, seconds)
            process.terminate()
            process.wait()
        over |= slowest > READY_SECONDS or idle[name] > limit
        print(f"{name:<13} {slowest:>20.3f} {idle[name]:>9.1f} {limit:>8}")
    sys.exit(1 if over else 0)


if __name__ == "__main__":
    main()
