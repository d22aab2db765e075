#!/usr/bin/env python3
"""Makes the Secrets that the manifests name, with random passwords.

    scripts/make-secrets.py                 in the cluster and namespace that kubectl talks to
    OUT=folder scripts/make-secrets.py      as files in a folder of its own: kubectl create -f folder/
    PLAIN=folder scripts/make-secrets.py    every value as a file, folder/SECRET/KEY, for compose.yaml

A value that exists stays: keys that a Secret lacks are added to it, nothing is changed. GMAIL_ADDRESS and
GMAIL_PASSWORD are taken from the environment, also later, as long as they are empty; and so are MP3_ADMIN_EMAIL, the
first account's address, and for files NAMESPACE, where they will be applied (`default`).
"""

import base64
import hashlib
import json
import os
import pathlib
import secrets
import subprocess
import sys
from urllib.parse import unquote, urlsplit

ADMINISTRATOR = "admin"
DEFAULT_EXCHANGE = r"amq\.default"
DEAD_LETTERS = r"jobs\.dlx"
# What each service consumes or publishes to. It may declare these with their dead letters, and use no other.
QUEUES = {"gateway": ["video"], "converter": ["video", "mp3"], "notification": ["mp3"]}

MAIL_ACCOUNT = ("GMAIL_ADDRESS", "GMAIL_PASSWORD")


def password():
    return secrets.token_urlsafe(24)


def rabbitmq_hash(plain):
    """base64(salt + SHA-256(salt + password)), four bytes of salt: RabbitMQ's rabbit_password_hashing_sha256."""
    salt = secrets.token_bytes(4)
    return base64.b64encode(salt + hashlib.sha256(salt + plain.encode()).digest()).decode()


def user(name, plain, tags=()):
    return {
        "name": name,
        "password_hash": rabbitmq_hash(plain),
        "hashing_algorithm": "rabbit_password_hashing_sha256",
        "tags": list(tags),
    }


def rights(name, queues):
    """A queue that names a dead-letter exchange takes the right to write there, and its binding to read from it."""
    def exactly(*names):
        return f"^({'|'.join(names)})$"

    dead = [rf"{queue}\.dead" for queue in queues]
    return {
        "user": name,
        "vhost": "/",
        "configure": exactly(*queues, *dead, DEAD_LETTERS),
        "write": exactly(DEFAULT_EXCHANGE, *dead, DEAD_LETTERS),
        "read": exactly(*queues, DEAD_LETTERS),
    }


def broker_users(passwords, administrator):
    """The second of the broker's definition files: who may log in, and what for."""
    everything = {"configure": ".*", "write": ".*", "read": ".*"}
    services = list(passwords.items())
    return {
        "users": [user(ADMINISTRATOR, administrator, ["administrator"])] + [user(*service) for service in services],
        "permissions": [{"user": ADMINISTRATOR, "vhost": "/", **everything}]
        + [rights(name, QUEUES[name]) for name, _ in services],
    }


def wanted(existing, namespace):
    """All Secrets with all their keys, made from what exists already; `existing` gives a Secret's values by its name."""
    broker = existing("rabbitmq-secret")
    passwords = {}
    for service in QUEUES:
        # The broker and the service must agree, whichever of their Secrets is there.
        url = existing(f"{service}-secret").get("QUEUE_URL", "")
        passwords[service] = unquote(urlsplit(url).password or "") or broker.get(service) or password()
    administrator = broker.get("MANAGEMENT_PASSWORD") or password()
    queue_url = {service: f"amqp://{service}:{plain}@rabbitmq:5672" for service, plain in passwords.items()}
    given = os.environ.get
    return {
        "auth-secret": {
            "MYSQL_PASSWORD": password(),
            "JWT_SECRET": secrets.token_urlsafe(48),
            "MP3_ADMIN_EMAIL": given("MP3_ADMIN_EMAIL") or "admin@mp3converter.com",
            "MP3_ADMIN_PASSWORD": password(),
        },
        "mysql-secret": {"MYSQL_ROOT_PASSWORD": password()},
        "gateway-secret": {"QUEUE_URL": queue_url["gateway"]},
        "converter-secret": {"QUEUE_URL": queue_url["converter"]},
        "notification-secret": {
            **{key: given(key) or "" for key in MAIL_ACCOUNT},
            "QUEUE_URL": queue_url["notification"],
        },
        # What KEDA asks for the depth of `video` with, from a namespace of its own.
        "scaler-secret": {
            "QUEUE_URL": f"amqp://converter:{passwords['converter']}@rabbitmq.{namespace}.svc.cluster.local:5672/"
        },
        "rabbitmq-secret": {
            "MANAGEMENT_USER": ADMINISTRATOR,
            "MANAGEMENT_PASSWORD": administrator,
            "ERLANG_COOKIE": secrets.token_hex(32),
            "users.json": json.dumps(broker_users(passwords, administrator), indent=2) + "\n",
            **passwords,
        },
    }


def lacking(values, there):
    """What to add to what is there: other keys, and a mail account that was not known when the Secret was made."""
    return {
        key: value
        for key, value in values.items()
        if key not in there or (key in MAIL_ACCOUNT and value and not there[key])
    }


def manifest(name, values):
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": name, "labels": {"app.kubernetes.io/part-of": "mp3converter"}},
        "type": "Opaque",
        "data": {key: base64.b64encode(value.encode()).decode() for key, value in values.items()},
    }


def values_of(secret):
    return {key: base64.b64decode(value).decode() for key, value in (secret.get("data") or {}).items()}


class Folder:
    """Secrets as files that only their owner can read."""

    def __init__(self, path):
        self.path = pathlib.Path(path)
        self.path.mkdir(mode=0o700, parents=True, exist_ok=True)

    @staticmethod
    def namespace():
        return "default"

    def get(self, name):
        try:
            return values_of(json.loads((self.path / f"{name}.json").read_text()))
        except FileNotFoundError:
            return None

    def put(self, name, there, missing):
        whole = {**(there or {}), **missing}
        path = self.path / f"{name}.json"
        with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
            file.write(json.dumps(manifest(name, whole), indent=2) + "\n")


class Plain:
    """Every value as a file. Containers mount single files as a user of their own, so only the folder is closed."""

    def __init__(self, path):
        self.path = pathlib.Path(path)
        self.path.mkdir(mode=0o700, parents=True, exist_ok=True)

    @staticmethod
    def namespace():
        return "default"

    def get(self, name):
        files = self.path / name
        return {file.name: file.read_text() for file in files.iterdir()} if files.is_dir() else None

    def put(self, name, _, missing):
        files = self.path / name
        files.mkdir(exist_ok=True)
        for key, value in missing.items():
            (files / key).write_text(value)
            (files / key).chmod(0o644)


class Cluster:
    """Secrets in the namespace that kubectl talks to; values never appear in an argument."""

    def namespace(self):
        return self.kubectl("config", "view", "--minify", "--output=jsonpath={..namespace}").strip() or "default"

    def get(self, name):
        text = self.kubectl("get", "secret", name, "--ignore-not-found", "--output=json")
        return values_of(json.loads(text)) if text.strip() else None

    def put(self, name, there, missing):
        if there is None:
            # Refused when somebody else was faster.
            self.kubectl("create", "--filename=-", stdin=json.dumps(manifest(name, missing)))
            return
        patch = json.dumps({"data": manifest(name, missing)["data"]})
        self.kubectl("patch", "secret", name, "--type=merge", "--patch-file=/dev/stdin", stdin=patch)

    @staticmethod
    def kubectl(*arguments, stdin=None):
        command = [os.environ.get("KUBECTL", "kubectl"), *arguments]
        try:
            done = subprocess.run(command, input=stdin, stdout=subprocess.PIPE, text=True, check=True)
        except FileNotFoundError:
            sys.exit("error: no kubectl here; OUT=folder writes files instead")
        except subprocess.CalledProcessError as error:
            sys.exit(f"error: kubectl {' '.join(arguments[:3])} ended with status {error.returncode}")
        return done.stdout


def main():
    given = os.environ.get
    store = Folder(given("OUT")) if given("OUT") else Plain(given("PLAIN")) if given("PLAIN") else Cluster()
    namespace = os.environ.get("NAMESPACE") or store.namespace()
    known = {}

    def existing(name):
        if name not in known:
            known[name] = store.get(name)
        return known[name] or {}

    for name, values in wanted(existing, namespace).items():
        missing = lacking(values, existing(name))
        if missing:
            store.put(name, known[name], missing)
        state = "made" if known[name] is None else "completed" if missing else "is there"
        print(f"secret {name}: {state}")
        whole = {**existing(name), **missing}
        if not all(whole[key] for key in MAIL_ACCOUNT if key in values):
            print(f"secret {name}: without a mail account (GMAIL_ADDRESS, GMAIL_PASSWORD); see docs/DEPLOY.md")


if __name__ == "__main__":
    main()
