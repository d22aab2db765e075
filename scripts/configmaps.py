#!/usr/bin/env python3
"""Writes the ConfigMaps whose contents live elsewhere: rabbit/ and init.sql are the only sources.

    scripts/configmaps.py            writes them into manifests/
    scripts/configmaps.py --check    only says by its exit status whether they are up to date
"""

import pathlib
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
# Where it goes, the name of what it is for, and its keys with their sources.
CONFIGMAPS = [
    ("rabbit", "rabbitmq", ["rabbit/rabbitmq.conf", "rabbit/definitions.json", "rabbit/enabled_plugins"]),
    ("mysql", "mysql", ["init.sql"]),
]


def block(text):
    """YAML's literal block, the first line's indentation given by the key."""
    return "".join(f"    {line}\n" if line else "\n" for line in text.splitlines())


def configmap(app, sources):
    lines = [
        f"# Made from {', '.join(sources)} by scripts/configmaps.py; change it there.\n",
        "apiVersion: v1\nkind: ConfigMap\nmetadata:\n",
        f"  name: {app}-configmap\n  labels:\n    app: {app}\n    app.kubernetes.io/name: {app}\n",
        "    app.kubernetes.io/part-of: mp3converter\ndata:\n",
    ]
    for source in sources:
        path = ROOT / source
        lines.append(f"  {path.name}: |\n{block(path.read_text())}")
    return "".join(lines)


def main():
    stale = []
    for folder, app, sources in CONFIGMAPS:
        path = ROOT / "manifests" / folder / "configmap.yaml"
        text = configmap(app, sources)
        if not path.exists() or path.read_text() != text:
            stale.append(path)
            if "--check" not in sys.argv[1:]:
                path.write_text(text)
    if stale and "--check" in sys.argv[1:]:
        names = ", ".join(str(path.relative_to(ROOT)) for path in stale)
        sys.exit(f"error: stale: {names}; run scripts/configmaps.py")


if __name__ == "__main__":
    main()
