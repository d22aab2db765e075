#!/usr/bin/env python3
"""Checks manifests/, Dockerfiles/, compose.yaml, monitoring/ and what cluster.sh calls, without a cluster or an engine;
`make manifests-check` runs it.

Each kustomization is rendered, validated against the schemas of the oldest and the newest Kubernetes we support, scanned
for bad practice (exceptions and their reasons: checkov.yaml), and held against itself and the binaries (suite.py).
"""

import json
import pathlib
import shutil
import subprocess
import sys
import tempfile

import jsonschema
import yaml

import alerts
import commands
import compose
import services
import suite
from render import Unknown, render

HERE = pathlib.Path(__file__).resolve().parent
TOOLS = pathlib.Path(sys.executable).parent
MANIFESTS = services.ROOT / "manifests"
FOLDERS = ["auth", "gateway", "converter", "notification", "rabbit", "mysql", "mongodb"]
KUBERNETES = ["1.30", "1.37"]


def kustomizations():
    yield "manifests", MANIFESTS
    for path in sorted((MANIFESTS / "overlays").iterdir()):
        yield f"overlays/{path.name}", path


def run(*command):
    return subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)


def validate(name, objects, folder):
    """Against the bundled schemas, strictly; our own small ones for kinds that a cluster learns from others."""
    schemas = json.loads((HERE / "custom-resources.json").read_text())
    native = [one for one in objects if one["kind"] not in schemas]
    path = folder / f"{name.replace('/', '-')}.yaml"
    path.write_text(yaml.safe_dump_all(native))
    for version in KUBERNETES:
        done = run(TOOLS / "kubernetes-validate", "--strict", "--quiet", "-k", version, path)
        if done.returncode or done.stdout.strip():
            yield f"{name}: Kubernetes {version}: {done.stdout.strip()}"
    for one in objects:
        if one["kind"] in schemas:
            for error in jsonschema.Draft202012Validator(schemas[one["kind"]]).iter_errors(one):
                yield f"{name}: {one['kind']} {one['metadata']['name']}: {error.json_path}: {error.message}"


def as_kubectl(name, folder, objects):
    """Where kubectl is installed, its rendering must be ours."""
    if not shutil.which("kubectl"):
        return
    done = subprocess.run(["kubectl", "kustomize", folder], capture_output=True, text=True, check=False)
    if done.returncode:
        yield f"{name}: kubectl kustomize: {done.stderr.strip()}"
        return
    theirs = [json.dumps(one, sort_keys=True) for one in yaml.safe_load_all(done.stdout)]
    ours = [json.dumps(one, sort_keys=True) for one in objects]
    if sorted(theirs) != sorted(ours):
        yield f"{name}: kubectl renders something else"


def listed():
    """`kubectl apply -f` on a folder and the kustomization there must mean the same."""
    for folder in FOLDERS:
        path = MANIFESTS / folder
        named = set(yaml.safe_load((path / "Kustomization").read_text())["resources"])
        there = {file.name for file in path.iterdir() if file.suffix in (".yaml", ".yml", ".json")}
        if named != there:
            yield f"manifests/{folder}: the Kustomization and the folder differ: {sorted(named ^ there)}"


def secrets_stay():
    """A mail account may come later than the Secrets, once; nothing else ever changes in them."""
    with tempfile.TemporaryDirectory() as folder:
        without = suite.make_secrets(folder, {})
        completed = suite.make_secrets(folder, suite.MAIL_ACCOUNT)
        again = suite.make_secrets(folder, {"GMAIL_ADDRESS": "other@example.com", "GMAIL_PASSWORD": "y"})
    without["notification-secret"] |= suite.MAIL_ACCOUNT
    if completed != without:
        yield "make-secrets: a mail account that came later is not taken, or more was changed than that"
    if again != completed:
        yield "make-secrets: a value that existed was changed"


def alone(secrets):
    """A folder refers to nothing of another one: each is applied by itself, and taken away by itself."""
    for folder in FOLDERS:
        one = suite.Suite(f"manifests/{folder} alone", render(MANIFESTS / folder), secrets)
        one.references()
        yield from one.faults
        # The label by which cluster.sh takes one service out of an overlay.
        labels = {json.dumps(each["metadata"].get("labels", {}).get("app")) for each in one.objects}
        if labels != {json.dumps(each["metadata"]["name"]) for each in one.workloads}:
            yield f"manifests/{folder}: objects are labelled app: {', '.join(sorted(labels))}"


def scan(folder):
    """The policy scan of everything that was rendered, and of the Dockerfiles."""
    settings = HERE / "checkov.yaml"
    done = run(TOOLS / "checkov", "--config-file", settings, "--framework", "kubernetes", "-d", folder)
    if done.returncode:
        yield f"checkov: {done.stdout.strip()[-4000:]}"
    dockerfiles = sorted((services.ROOT / "Dockerfiles").glob("*.Dockerfile"))
    if not dockerfiles:
        return
    done = run(TOOLS / "checkov", "--config-file", settings, "--framework", "dockerfile", "-d", services.ROOT / "Dockerfiles")
    if done.returncode:
        yield f"checkov: {done.stdout.strip()[-4000:]}"
    done = run(TOOLS / "hadolint", "--config", HERE / "hadolint.yaml", *dockerfiles)
    if done.returncode:
        yield f"hadolint: {done.stdout.strip()}"


def one_builder():
    """The lines that build are the same in every Dockerfile, so that one build serves all; and the version is ours."""
    version = suite.version()
    builders = {}
    for path in sorted((services.ROOT / "Dockerfiles").glob("*.Dockerfile")):
        text = path.read_text()
        builder, runtime, _ = text.partition("\nFROM gcr.io/")
        builders.setdefault(builder, []).append(path.name)
        if f"ARG VERSION={version}\n" not in text or not runtime:
            yield f"{path.name}: is not for version {version}"
    if len(builders) != 1:
        yield f"the builder stages differ: {' and '.join(map(str, builders.values()))}"


def main():
    missing = [name for name in services.SERVICES if not (services.BINARIES / name).exists()]
    if missing:
        sys.exit(f"error: not built: {', '.join(missing)}; run `make manifests-check`")
    faults = [*listed(), *one_builder(), *secrets_stay()]
    secrets = suite.made_secrets()
    faults += alone(secrets)
    faults += compose.check(secrets)
    faults += commands.check()
    faults += alerts.check()
    with tempfile.TemporaryDirectory() as scratch:
        scratch = pathlib.Path(scratch)
        for name, folder in kustomizations():
            try:
                objects = render(folder)
            except (Unknown, KeyError, IndexError) as error:
                faults.append(f"{name}: cannot be rendered: {error!r}")
                continue
            faults += validate(name, objects, scratch)
            faults += as_kubectl(name, folder, objects)
            faults += suite.Suite(name, objects, secrets).check()
        faults += scan(scratch)
    for fault in faults:
        print(f"manifests: {fault}", file=sys.stderr)
    if faults:
        sys.exit(1)
    print(f"manifests: as they should be, for Kubernetes {KUBERNETES[0]} to {KUBERNETES[-1]}")


if __name__ == "__main__":
    main()
