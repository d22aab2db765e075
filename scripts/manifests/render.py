"""Renders the kustomizations of manifests/ as `kubectl kustomize` does, as far as these use it.

Known are `resources`, `components`, and `patches` that are JSON patches with a target by kind and name, or delete an object.
Anything else is refused, so that nothing passes unseen.
"""

import copy
import pathlib

import yaml

KNOWN = {"apiVersion", "kind", "resources", "components", "patches"}


class Unknown(Exception):
    """A kustomization uses what this renderer does not know, or names what is not there."""


def load(path):
    return [document for document in yaml.safe_load_all(path.read_text()) if document]


def render(folder):
    """The objects of the kustomization in `folder`, in the order it lists them."""
    return added([], pathlib.Path(folder))


def added(objects, folder):
    """What the kustomization or the component in `folder` makes of the objects that are there."""
    [path] = [folder / name for name in ("kustomization.yaml", "Kustomization") if (folder / name).exists()]
    kustomization = yaml.safe_load(path.read_text())
    if unknown := set(kustomization) - KNOWN:
        raise Unknown(f"{path}: {unknown}")
    for resource in kustomization.get("resources", []):
        below = folder / resource
        objects = objects + (render(below) if below.is_dir() else load(below))
    for component in kustomization.get("components", []):
        objects = added(objects, folder / component)
    for patch in kustomization.get("patches", []):
        objects = patched(objects, patch, folder)
    return objects


def patched(objects, patch, folder):
    text = (folder / patch["path"]).read_text() if "path" in patch else patch["patch"]
    content = yaml.safe_load(text)
    if isinstance(content, dict):
        if content.pop("$patch", None) != "delete":
            raise Unknown(f"{folder}: a patch that is no list and deletes nothing")
        target = {"kind": content["kind"], "name": content["metadata"]["name"]}
    else:
        target = patch["target"]
    if set(target) != {"kind", "name"}:
        raise Unknown(f"{folder}: target {target}")
    chosen = [one for one in objects if one["kind"] == target["kind"] and one["metadata"]["name"] == target["name"]]
    if len(chosen) != 1:
        raise Unknown(f"{folder}: {len(chosen)} objects are {target}")
    if isinstance(content, dict):
        return [one for one in objects if one is not chosen[0]]
    changed = copy.deepcopy(chosen[0])
    for operation in content:
        apply(changed, operation)
    return [changed if one is chosen[0] else one for one in objects]


def apply(document, operation):
    """One operation of a JSON patch (RFC 6902): add, replace, remove."""
    *steps, last = [step.replace("~1", "/").replace("~0", "~") for step in operation["path"].split("/")[1:]]
    place = document
    for step in steps:
        place = place[int(step)] if isinstance(place, list) else place[step]
    kind, value = operation["op"], copy.deepcopy(operation.get("value"))
    if isinstance(place, list):
        index = len(place) if last == "-" else int(last)
        if kind == "add":
            place.insert(index, value)
        elif kind == "replace":
            place[index] = value
        elif kind == "remove":
            del place[index]
        else:
            raise Unknown(kind)
    elif kind in ("replace", "remove") and last not in place:
        raise Unknown(f"nothing at {operation['path']}")
    elif kind in ("add", "replace"):
        place[last] = value
    elif kind == "remove":
        del place[last]
    else:
        raise Unknown(kind)
