#!/usr/bin/env python3
"""Opens stalled connections to a gateway and prints how quick a new request is beside them, and the gateway's memory.

Half of the connections stop within an upload's body, half within a request's head. New requests, one connection each, are
timed before and meanwhile. Usage: stalled.py STACK.json [CONNECTIONS]
"""

import base64
import json
import pathlib
import resource
import socket
import sys
import time
import urllib.parse

from memory import memory_bytes

LIMIT_SECONDS = 0.100
LIMIT_MIB = 100
REQUESTS = 300
# Of the stalled connections, at the end of the measurement: beside fewer it would prove nothing.
MIN_OPEN_SHARE = 0.9


def ask(address, request):
    """Sends a request and waits for the first bytes of its answer."""
    stream = socket.create_connection(address, timeout=30)
    stream.sendall(request)
    return stream, stream.recv(65536)


def head(method, path, *headers):
    return "\r\n".join([f"{method} {path} HTTP/1.1", "Host: gateway", *headers, "", ""]).encode()


def login(address, email, password):
    credentials = base64.b64encode(f"{email}:{password}".encode()).decode()
    stream, answer = ask(address, head("POST", "/login", f"Authorization: Basic {credentials}", "Connection: close"))
    while more := stream.recv(65536):
        answer += more
    if not answer.startswith(b"HTTP/1.1 200"):
        sys.exit(f"error: cannot log in: {answer.splitlines()[0].decode()}")
    return answer.split(b"\r\n\r\n", 1)[1].decode()


def stall(address, kind, token):
    """A connection that goes no further."""
    stream = socket.create_connection(address, timeout=30)
    if kind == "head":
        stream.sendall(b"GET /api/v1/jobs HTTP/1.1\r\nHost: gateway\r\nX-Slow: ")
    else:
        headers = (f"Authorization: Bearer {token}", "Content-Type: multipart/form-data; boundary=B", "Content-Length: 1000000")
        part = b'--B\r\nContent-Disposition: form-data; name="file"; filename="slow.mp4"\r\n\r\n' + b"x" * 1000
        stream.sendall(head("POST", "/upload", *headers) + part)
    return stream


def percentile(values, share):
    return sorted(values)[min(len(values) - 1, int(share * len(values)))]


def measure(name, address, request):
    seconds = []
    for _ in range(REQUESTS):
        began = time.monotonic()
        stream, answer = ask(address, request)
        seconds.append(time.monotonic() - began)
        stream.close()
        if not answer.startswith(b"HTTP/1.1 200"):
            sys.exit(f"error: {answer[:100]!r}")
    print(f"{name:<26} p50 {1000 * percentile(seconds, 0.5):7.1f} ms   p99 {1000 * percentile(seconds, 0.99):7.1f} ms   "
          f"max {1000 * max(seconds):7.1f} ms")
    return percentile(seconds, 0.99)


def is_closed(stream):
    stream.setblocking(False)
    try:
        stream.recv(65536)
        return True
    except BlockingIOError:
        return False
    except OSError:
        return True
    finally:
        stream.setblocking(True)


def main():
    stack = json.loads(pathlib.Path(sys.argv[1]).read_text())
    connections = int(sys.argv[2] if len(sys.argv) > 2 else 2000)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, max(soft, 2 * connections + 100)), hard))
    url = urllib.parse.urlsplit(stack["gateway_url"])
    address, gateway = (url.hostname, url.port), stack["pids"]["gateway"]
    token = login(address, stack["email"], stack["password"])
    request = head("GET", "/api/v1/jobs?limit=1", f"Authorization: Bearer {token}")
    measure("alone", address, request)

    # The heads last: a head has ten seconds.
    kinds = ["body"] * (connections // 2) + ["head"] * (connections - connections // 2)
    stalled = [(kind, stall(address, kind, token)) for kind in kinds]
    print(f"{len(stalled)} stalled connections: {sum(kind == 'head' for kind, _ in stalled)} in a head, "
          f"{sum(kind == 'body' for kind, _ in stalled)} in a body")
    p99 = measure("beside the stalled", address, request)
    open_still = {kind: sum(not is_closed(stream) for other, stream in stalled if other == kind) for kind in ("head", "body")}
    used_mib = memory_bytes(gateway) / 2**20
    print(f"still open: {open_still['head']} in a head (they have 10 s), {open_still['body']} in a body (they have a minute)")
    print(f"gateway: {used_mib:.1f} MiB (limit {LIMIT_MIB})")
    for _, stream in stalled:
        stream.close()
    if sum(open_still.values()) < MIN_OPEN_SHARE * connections:
        sys.exit(f"error: only {sum(open_still.values())} of {connections} stalled connections are still open: this proves nothing")
    sys.exit(0 if p99 <= LIMIT_SECONDS and used_mib <= LIMIT_MIB else 1)


if __name__ == "__main__":
    main()
