"""What must be true of compose.yaml, which no engine reads here."""

import yaml

import services
import suite

ROOT = services.ROOT
SECRETS = ".secrets/"
OURS = "mp3converter/"


def check(secrets):
    """The faults, one a line; `secrets` are what `make compose-secrets` makes."""
    document = yaml.safe_load((ROOT / "compose.yaml").read_text())
    version = suite.version()
    declared = document["secrets"]
    for name, secret in declared.items():
        folder, _, key = secret["file"].removeprefix(SECRETS).partition("/")
        if key not in secrets.get(folder, {}):
            yield f"compose.yaml: nothing makes {secret['file']}"
    for name, service in document["services"].items():
        for needed in service.get("depends_on", {}):
            if needed not in document["services"]:
                yield f"compose.yaml: {name} depends on {needed}, which does not exist"
        for mounted in service.get("volumes", []):
            source = mounted.partition(":")[0]
            made = source.removeprefix("./" + SECRETS).split("/")
            exists = (
                made[1] in secrets.get(made[0], {}) if source.startswith("./" + SECRETS)
                else (ROOT / source).exists() if source.startswith(".") else source in document["volumes"]
            )
            if not exists:
                yield f"compose.yaml: {name} mounts {source}, which does not exist"
        given = service.get("secrets", [])
        for secret in given:
            if secret not in declared:
                yield f"compose.yaml: {name} takes {secret}, which does not exist"
        for variable, value in service.get("environment", {}).items():
            if variable.endswith("_FILE") and value.removeprefix("/run/secrets/") not in given:
                yield f"compose.yaml: {name} does not take {value}"
            if service["image"].startswith(OURS) and not services.knows(name, variable.removesuffix("_FILE")):
                yield f"compose.yaml: {name} knows no {variable}"
        if service["image"].startswith(OURS):
            if service["image"] != f"{OURS}{name}:{version}":
                yield f"compose.yaml: {service['image']}, and Cargo.toml says {version}"
            stops_within = int(service.get("stop_grace_period", "10s").removesuffix("s"))
            if name in services.SERVICES and stops_within <= services.grace_seconds(name):
                yield f"compose.yaml: {name} is killed while it finishes, which may take {services.grace_seconds(name)} s"
            if not service.get("read_only") or service.get("cap_drop") != ["ALL"]:
                yield f"compose.yaml: {name} is not restricted"
