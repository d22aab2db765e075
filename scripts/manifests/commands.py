"""What the scripts that deploy say to programs that need an engine or a cluster. Those are replaced by one that writes down
how it is called, and knows which context is current, which workloads exist, and which one's template an apply changes."""

import os
import pathlib
import subprocess
import tempfile

import services

PROGRAMS = ("kubectl", "minikube", "docker", "podman", "buildah")
CLUSTER = services.ROOT / "scripts/cluster.sh"
STAND_IN = """#!/bin/sh
call="${0##*/} $*"
echo "$call" >> "$CALLS"
case $call in
  "kubectl config current-context") echo "$CONTEXT" ;;
  "minikube profile") echo minikube ;;
  "kubectl get "*/*)
    for one in $EXISTING; do [ "$2" != "$one" ] || echo "$one"; done
    ! { [ "$2" = "$CHANGED" ] && grep -q "^kubectl apply" "$CALLS"; } || echo "and another template" ;;
esac
"""
REFUSED = 64
NOTIFICATION, MAILPIT = "deployment/notification", "deployment/mailpit"


def called(*arguments, context="minikube", existing=(), changed="", builder="docker"):
    """The exit status of cluster.sh with these arguments, and what it calls, in order."""
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        for program in PROGRAMS:
            (folder / program).write_text(STAND_IN)
            (folder / program).chmod(0o755)
        calls = folder / "calls"
        environment = {**os.environ, "PATH": f"{folder}:{os.environ['PATH']}", "CALLS": str(calls), "CONTEXT": context,
                       "EXISTING": " ".join(existing), "CHANGED": changed, "BUILDER": builder}
        done = subprocess.run([CLUSTER, *arguments], env=environment, capture_output=True, check=False)
        return done.returncode, calls.read_text().splitlines() if calls.exists() else []


def check():
    """The faults, one a line."""
    for what, (status, calls), expected, wanted, unwanted in cases():
        if status != expected:
            yield f"cluster.sh, {what}: ends with status {status}"
        for call in wanted:
            if not any(one.startswith(call) for one in calls):
                yield f"cluster.sh, {what}: does not call `{call}`"
        for call in unwanted:
            if any(one.startswith(call) for one in calls):
                yield f"cluster.sh, {what}: calls `{call}`"


def cases():
    """What is done, what came of it, the status it should have, calls that belong to it, and calls that do not."""
    restart, load = f"kubectl rollout restart {NOTIFICATION}", "minikube image load"
    alone = "kubectl apply -f manifests/notification/"
    of_overlay = "kubectl apply -k manifests/overlays/minikube --selector app=notification"
    yield ("a first deployment", called("deploy", "notif"), 0,
           [load, alone, f"kubectl rollout status {NOTIFICATION}"], [restart, of_overlay])
    yield ("code that changed", called("deploy", "notif", existing=[NOTIFICATION]), 0, [load, alone, restart], [])
    yield ("a template that changed", called("deploy", "notif", existing=[NOTIFICATION], changed=NOTIFICATION), 0,
           [load, alone, f"kubectl rollout status {NOTIFICATION}"], [restart])
    yield ("a service of `minikube-up`", called("deploy", "notif", existing=[NOTIFICATION, MAILPIT]), 0,
           [load, of_overlay, restart], [alone])
    yield ("a service of another cluster", called("deploy", "notif", context="production", existing=[NOTIFICATION]), 0,
           [alone, restart], [load, "docker"])
    broker = "kubectl rollout restart statefulset/rabbitmq"
    yield "a server", called("deploy", "rabbitmq", existing=["statefulset/rabbitmq"]), 0, [broker], [load]
    yield ("minikube-up", called("minikube-up", existing=[NOTIFICATION, MAILPIT, "statefulset/rabbitmq"]), 0,
           ["kubectl create", load, "kubectl apply -k manifests/overlays/minikube", restart, broker, f"kubectl rollout status {MAILPIT}"],
           ["kubectl rollout restart deployment/auth", f"kubectl rollout restart {MAILPIT}"])
    yield ("minikube-up beside another cluster", called("minikube-up", context="production"), REFUSED,
           [], ["kubectl apply", "kubectl create", load])
    yield ("images of podman", called("deploy", "auth", builder="podman"), 0,
           ["podman build --format docker", "podman save", load], ["docker", "buildah"])
    yield ("images of buildah", called("deploy", "auth", builder="buildah"), 0,
           ["buildah build --layers --format docker", "buildah push", load], ["docker", "podman"])
