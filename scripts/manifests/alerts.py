"""What must be true of the alert rules and the dashboard, which no Prometheus reads here: each rule can fire, and none fires
for ever. That the metrics and their labels exist, a test of `crates/standalone` sees in a running suite."""

import functools
import json
import re

import yaml

import services

MONITORING = services.ROOT / "monitoring"
SELECTOR = re.compile(r"(mp3_\w+)(?:\{([^}]*)\})?")
MATCHER = re.compile(r'(\w+)(=~|!~|!=|=)"([^"]*)"')
# Made of numbers where they are exported.
UNWRITTEN = {"status"}


@functools.cache
def sources():
    """The text of what we export metrics from, without its tests."""
    paths = [path for folder in (*services.SERVICES, "crates") for path in sorted((services.ROOT / folder).glob("**/src/**/*.rs"))]
    return "".join(path.read_text().partition("#[cfg(test)]")[0] for path in paths)


@functools.cache
def literals():
    return set(re.findall(r'"([^"\\\n]+)"', sources()))


@functools.cache
def dependencies():
    """The names under which services export what they need."""
    return set(re.findall(r'\.(?:requires|degraded_by)\(\s*"([^"]+)"', sources())) | {one for one in literals() if lasts(one)}


def lasts(dependency):
    """Whether it may be 0 for as long as a machine is as it is: what its kernel lacks, and a disk that is full."""
    return dependency.startswith("sandbox: ") or dependency == "space"


def selects(matchers, label, value):
    """Whether a selector takes a series whose label has that value."""
    for name, kind, wanted in MATCHER.findall(matchers):
        if name == label:
            same = re.fullmatch(wanted, value) if kind.endswith("~") else wanted == value
            if bool(same) == kind.startswith("!"):
                return False
    return True


def check(text=None):
    """The faults, one a line; `text` is what alerts.yaml holds."""
    text = text or (MONITORING / "alerts.yaml").read_text()
    rules = [rule for group in yaml.safe_load(text)["groups"] for rule in group["rules"]]
    panels = json.loads((MONITORING / "dashboard.json").read_text())["panels"]
    queries = [(rule["alert"], rule["expr"]) for rule in rules]
    queries += [(panel["title"], target["expr"]) for panel in panels for target in panel["targets"]]
    for name, query in queries:
        for label, kind, value in MATCHER.findall(query):
            for one in value.split("|") if kind.endswith("~") else [value]:
                if label not in UNWRITTEN and not any(selects(f'{label}={"~" if kind.endswith("~") else ""}"{one}"', label, each) for each in literals()):
                    yield f"{name}: no {label} is {one}"
        if "mp3_queue_messages" in query and "by (queue)" not in query:
            yield f"{name}: adds dead letters to messages"
    # What only the gateway measures, the other rules cannot miss.
    if not any(rule["expr"] == "absent(mp3_oldest_due_job_seconds)" for rule in rules):
        yield "nobody notices that the gateway is gone"
    for rule in rules:
        yield from compares(rule)
    for dependency in sorted(dependencies()):
        watching = [
            rule for rule in rules for metric, matchers in SELECTOR.findall(rule["expr"])
            if metric == "mp3_dependency_up" and selects(matchers, "dependency", dependency)
        ]
        severities = [rule["labels"]["severity"] for rule in watching]
        if severities != ["warning" if lasts(dependency) else "critical"]:
            yield f"{dependency}: what watches it is {severities}"


def compares(rule):
    """A series that is not there yet is not zero: nothing is greater than it, so the greater side must have the other's."""
    for condition in rule["expr"].split(" and "):
        left, _, right = condition.partition(" > ")
        for metric, matchers in SELECTOR.findall(left):
            for other, others in SELECTOR.findall(right):
                for label, kind, value in MATCHER.findall(matchers):
                    taken = value.split("|") if kind == "=~" else [value]
                    if metric == other and not all(selects(others, label, one) for one in taken):
                        yield f"{rule['alert']}: cannot fire before there was any {others}"
