"""What must be true of the objects of one kustomization, taken together."""

import base64
import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile
from urllib.parse import urlsplit

import services

ROOT = services.ROOT
STANDARD_PORTS = {"JOBS_URL": 27017, "BLOBS_URL": 27017, "QUEUE_URL": 5672, "SMTP_URL": 587, "OTEL_EXPORTER_OTLP_ENDPOINT": 4318}
WORKLOADS = ("Deployment", "StatefulSet")
DNS = "dns"
OUTSIDE = "outside"
METRICS = {"operations", "metrics"}
# What the original system's users apply over, and read from: kind, name and keys.
ORIGINAL = {
    "Deployment": ["auth", "gateway", "converter", "notification"],
    "StatefulSet": ["rabbitmq"],
    "Service": ["auth", "gateway", "rabbitmq"],
    "Ingress": ["gateway-ingress", "rabbitmq-ingress"],
    "ConfigMap": [f"{name}-configmap" for name in ("auth", "gateway", "converter", "notification", "rabbitmq")],
}
ORIGINAL_KEYS = {
    "auth-configmap": {"MYSQL_HOST", "MYSQL_USER", "MYSQL_DB", "MYSQL_PORT"},
    "gateway-configmap": {"AUTH_SVC_ADDRESS"},
    "converter-configmap": {"MP3_QUEUE", "VIDEO_QUEUE"},
    "notification-configmap": {"MP3_QUEUE", "VIDEO_QUEUE"},
    "auth-secret": {"MYSQL_PASSWORD", "JWT_SECRET"},
    "notification-secret": {"GMAIL_ADDRESS", "GMAIL_PASSWORD"},
    "gateway-secret": set(),
    "converter-secret": set(),
    "rabbitmq-secret": set(),
}
REPLICAS_AND_SURGE = {"auth": (2, 3), "gateway": (2, 3), "converter": (4, 8), "notification": (4, 8)}
# Every address of a family, and what of it is inside.
PRIVATE = {
    "0.0.0.0/0": {"10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "169.254.0.0/16"},
    "::/0": {"fc00::/7", "fe80::/10"},
}
UNLIMITED_UPLOADS = {"proxy-body-size": "0", "proxy-request-buffering": "off", "proxy-read-timeout": "600", "proxy-send-timeout": "600"}


def version():
    """The version of the workspace, which the images are called by."""
    return re.search(r'^version = "(.*)"', (ROOT / "Cargo.toml").read_text(), re.M)[1]


MAIL_ACCOUNT = {"GMAIL_ADDRESS": "robot@example.com", "GMAIL_PASSWORD": "x"}


def make_secrets(folder, account):
    """The Secrets in that folder, after `make secrets` with that mail account in its environment."""
    others = {key: value for key, value in os.environ.items() if key not in MAIL_ACCOUNT}
    command = [sys.executable, ROOT / "scripts/make-secrets.py"]
    subprocess.run(command, env={**others, **account, "OUT": folder}, check=True, stdout=subprocess.DEVNULL)
    secrets = {}
    for path in pathlib.Path(folder).glob("*.json"):
        data = json.loads(path.read_text())["data"]
        secrets[path.stem] = {key: base64.b64decode(value).decode() for key, value in data.items()}
    return secrets


def made_secrets():
    """The Secrets as `make secrets` makes them, with a mail account."""
    with tempfile.TemporaryDirectory() as folder:
        return make_secrets(folder, MAIL_ACCOUNT)


def mebibytes(quantity):
    """A quantity of memory as these manifests write it."""
    return int(quantity[:-2]) * {"Mi": 1, "Gi": 1024}[quantity[-2:]]


class Suite:
    def __init__(self, name, objects, secrets):
        self.name = name
        self.objects = objects
        self.secrets = secrets
        self.faults = []
        self.workloads = [one for one in objects if one["kind"] in WORKLOADS]

    def fault(self, what):
        self.faults.append(f"{self.name}: {what}")

    def of(self, kind):
        return [one for one in self.objects if one["kind"] == kind]

    def named(self, kind, name):
        return next((one for one in self.of(kind) if one["metadata"]["name"] == name), None)

    def check(self):
        for check in (
            self.no_secrets, self.names_of_the_original, self.selectors, self.references, self.account, self.mail_login, self.pods, self.scraping, self.ports,
            self.requests, self.memory, self.disruptions, self.members, self.scaling, self.policies, self.ingresses, self.binaries,
        ):
            check()
        return self.faults

    # --- What there is ----------------------------------------------------------------------------------------------

    def no_secrets(self):
        if self.of("Secret"):
            self.fault("a Secret is listed; `make secrets` makes them")

    def names_of_the_original(self):
        for kind, names in ORIGINAL.items():
            for name in names:
                if not self.named(kind, name):
                    self.fault(f"{kind} {name} is missing")
        for name, keys in ORIGINAL_KEYS.items():
            there = self.secrets.get(name) if name.endswith("-secret") else (self.named("ConfigMap", name) or {}).get("data")
            if there is None or not keys <= set(there):
                self.fault(f"{name} lacks keys: {keys - set(there or ())}")
        scaled = {one["spec"]["scaleTargetRef"]["name"] for one in self.objects if "scaleTargetRef" in one.get("spec", {})}
        for name, (replicas, surge) in REPLICAS_AND_SURGE.items():
            deployment = self.named("Deployment", name)
            spec = deployment["spec"] if deployment else {}
            if spec.get("selector") != {"matchLabels": {"app": name}}:
                self.fault(f"{name}: the selector can never be changed and must be the original's")
            if spec.get("strategy", {}).get("rollingUpdate", {}).get("maxSurge") != surge:
                self.fault(f"{name}: maxSurge is not {surge}")
            if spec.get("replicas") != (None if name in scaled else replicas):
                self.fault(f"{name}: replicas is {spec.get('replicas')}")

    # --- Who belongs to whom ----------------------------------------------------------------------------------------

    def selected(self, selector):
        def matches(labels):
            return all(labels.get(key) == value for key, value in selector.items())

        return [one for one in self.workloads if matches(one["spec"]["template"]["metadata"]["labels"])]

    def selectors(self):
        for one in self.workloads:
            labels = one["spec"]["template"]["metadata"]["labels"]
            selectors = [one["spec"]["selector"]["matchLabels"]]
            spreads = one["spec"]["template"]["spec"].get("topologySpreadConstraints", [])
            selectors += [spread["labelSelector"]["matchLabels"] for spread in spreads]
            for selector in selectors:
                if not selector.items() <= labels.items():
                    self.fault(f"{one['kind']} {one['metadata']['name']}: {selector} is not among its pods' labels")
        for kind, at in (("Service", ["selector"]), ("PodDisruptionBudget", ["selector", "matchLabels"]), ("NetworkPolicy", ["podSelector", "matchLabels"])):
            for one in self.of(kind):
                selector = one["spec"]
                for step in at:
                    selector = selector.get(step, {})
                if len(self.selected(selector)) != 1:
                    self.fault(f"{kind} {one['metadata']['name']}: {selector} selects no single workload")
        for one in self.workloads:
            name = one["metadata"]["name"]
            if not any(policy["spec"]["podSelector"].get("matchLabels") == {"app": name} for policy in self.of("NetworkPolicy")):
                self.fault(f"{name} has no NetworkPolicy")
        for one in self.objects:
            target = one.get("spec", {}).get("scaleTargetRef")
            if target and not self.named(target.get("kind", "Deployment"), target["name"]):
                self.fault(f"{one['kind']} {one['metadata']['name']} scales nothing")

    def keys(self, kind, name, where):
        """The keys of a ConfigMap or Secret; an unknown one is a fault."""
        there = self.secrets.get(name) if kind == "Secret" else (self.named("ConfigMap", name) or {}).get("data")
        if there is None:
            self.fault(f"{where}: {kind} {name} does not exist")
        return there or {}

    def references(self):
        for one in self.workloads:
            where = one["metadata"]["name"]
            pod = one["spec"]["template"]["spec"]
            mounted = {claim["metadata"]["name"]: None for claim in one["spec"].get("volumeClaimTemplates", [])}
            for volume in pod.get("volumes", []):
                mounted[volume["name"]] = self.volume(volume, where)
            for container in [*pod.get("initContainers", []), *pod["containers"]]:
                self.environment(container, where)
                for mount in container.get("volumeMounts", []):
                    if mount["name"] not in mounted:
                        self.fault(f"{where}: volume {mount['name']} does not exist")
                    files = mounted.get(mount["name"])
                    if "subPath" in mount and files is not None and mount["subPath"] not in files:
                        self.fault(f"{where}: {mount['subPath']} is not in volume {mount['name']}")
            service = one["spec"].get("serviceName", "not-applicable")
            if service != "not-applicable" and not self.named("Service", service):
                self.fault(f"{where}: Service {service} does not exist")
        for one in self.of("TriggerAuthentication"):
            for reference in one["spec"]["secretTargetRef"]:
                keys = self.keys("Secret", reference["name"], "TriggerAuthentication")
                if reference["key"] not in keys:
                    self.fault(f"TriggerAuthentication: no {reference['key']} in {reference['name']}")
                elif reference["parameter"] == "host" and not urlsplit(keys[reference["key"]]).path:
                    self.fault(f"TriggerAuthentication: {reference['key']} in {reference['name']} names no virtual host")

    def volume(self, volume, where):
        """The files in a volume, None where anything may be."""
        if "persistentVolumeClaim" in volume and not self.named("PersistentVolumeClaim", volume["persistentVolumeClaim"]["claimName"]):
            self.fault(f"{where}: claim {volume['persistentVolumeClaim']['claimName']} does not exist")
        for kind, field, name in (("ConfigMap", "configMap", "name"), ("Secret", "secret", "secretName")):
            if field in volume:
                keys = self.keys(kind, volume[field][name], where)
                items = volume[field].get("items", [{"key": key, "path": key} for key in keys])
                for item in items:
                    if item["key"] not in keys:
                        self.fault(f"{where}: no {item['key']} in {volume[field][name]}")
                return {item["path"] for item in items}
        return None

    def environment(self, container, where):
        """The environment that a container gets, as the kubelet would make it."""
        found = {}
        for source in container.get("envFrom", []):
            for kind, field in (("ConfigMap", "configMapRef"), ("Secret", "secretRef")):
                if field in source:
                    found |= self.keys(kind, source[field]["name"], where)
        for variable in container.get("env", []):
            found[variable["name"]] = variable.get("value", "")
            for kind, field in (("ConfigMap", "configMapKeyRef"), ("Secret", "secretKeyRef")):
                reference = variable.get("valueFrom", {}).get(field)
                if reference:
                    keys = self.keys(kind, reference["name"], where)
                    if reference["key"] not in keys:
                        self.fault(f"{where}: no {reference['key']} in {reference['name']}")
                    found[variable["name"]] = keys.get(reference["key"], "")
        return found

    def account(self):
        """MySQL makes the database and the account that auth asks for; neither's folder refers to the other's."""
        if not (mysql := self.named("StatefulSet", "mysql")):
            return
        made = self.environment(mysql["spec"]["template"]["spec"]["containers"][0], "mysql")
        wanted = self.keys("ConfigMap", "auth-configmap", "mysql")
        for own, key in (("MYSQL_DATABASE", "MYSQL_DB"), ("MYSQL_USER", "MYSQL_USER")):
            if made.get(own) != wanted.get(key):
                self.fault(f"mysql: {own} is {made.get(own)}, and auth's {key} is {wanted.get(key)}")

    def mail_login(self):
        """A mail server of our own is a catcher, which refuses every login."""
        if not (notification := self.named("Deployment", "notification")):
            return
        setting = self.environment(notification["spec"]["template"]["spec"]["containers"][0], "notification")
        host = urlsplit(setting.get("SMTP_URL", "")).hostname
        if host and self.named("Service", host) and setting.get("GMAIL_ADDRESS"):
            self.fault(f"notification: logs in to {host}")

    # --- Pods -------------------------------------------------------------------------------------------------------

    def pods(self):
        ours = version()
        for one in self.workloads:
            name = one["metadata"]["name"]
            pod = one["spec"]["template"]["spec"]
            for field in ("enableServiceLinks", "automountServiceAccountToken"):
                if pod.get(field) is not False:
                    self.fault(f"{name}: {field} is not false")
            context = pod.get("securityContext", {})
            if not context.get("runAsNonRoot") or context.get("seccompProfile") != {"type": "RuntimeDefault"}:
                self.fault(f"{name}: the pod is not restricted")
            for container in [*pod.get("initContainers", []), *pod["containers"]]:
                wanted = {"allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]}}
                if container.get("securityContext") != wanted:
                    self.fault(f"{name}: container {container['name']} is not restricted")
                image, _, tag = container["image"].partition(":")
                if not tag or tag == "latest":
                    self.fault(f"{name}: {image} has no version")
                if image.startswith("mp3converter/"):
                    if tag != ours:
                        self.fault(f"{name}: {container['image']}, and Cargo.toml says {ours}")
                    if context.get("runAsUser", 0) < 10000:
                        self.fault(f"{name}: runs as user {context.get('runAsUser')}")
            if name in services.SERVICES:
                pause = pod["containers"][0].get("lifecycle", {}).get("preStop", {}).get("sleep", {}).get("seconds", 0)
                needs = services.grace_seconds(name) + pause
                if pod.get("terminationGracePeriodSeconds", 30) <= needs:
                    self.fault(f"{name}: is killed while it finishes, which may take {needs} s")

    def requests(self):
        """Without autoscalers, what everything requests together must fit on a plain `minikube start`."""
        if self.of("HorizontalPodAutoscaler"):
            return
        cores, bytes_ = 0.0, 0
        for one in self.workloads:
            pod = one["spec"]["template"]["spec"]
            for container in pod["containers"]:
                wanted = container["resources"]["requests"]
                cores += one["spec"]["replicas"] * int(wanted["cpu"].removesuffix("m")) / 1000
                bytes_ += one["spec"]["replicas"] * int(wanted["memory"].removesuffix("Mi")) << 20
        if cores > 1 or bytes_ > 2 << 30:
            self.fault(f"requests {cores:.2f} CPU and {bytes_ >> 20} MiB together; at most 1 and 2048")

    def memory(self):
        """A limit holds what its process takes at most: what is killed for want of memory is tried again, in vain."""
        for name in ("auth", "converter"):
            if not (deployment := self.named("Deployment", name)):
                continue
            [container] = deployment["spec"]["template"]["spec"]["containers"]
            setting = {**services.defaults(name), **self.environment(container, name)}
            needs, limit = services.memory_mebibytes(name, setting), mebibytes(container["resources"]["limits"]["memory"])
            if limit < needs:
                self.fault(f"{name}: may take {needs} MiB, and its limit is {limit}")

        if rabbitmq := self.named("StatefulSet", "rabbitmq"):
            [container] = rabbitmq["spec"]["template"]["spec"]["containers"]
            limit = mebibytes(container["resources"]["limits"]["memory"]) << 20
            conf = self.keys("ConfigMap", "rabbitmq-configmap", "rabbitmq").get("rabbitmq.conf", "")
            watermark = re.search(r"^vm_memory_high_watermark\.absolute = (\d+)MB$", conf, re.M)
            if not watermark or not 0.5 * limit < int(watermark[1]) * 10**6 < 0.65 * limit:
                self.fault(f"rabbitmq: the alarm is not at about 60 % of its limit of {limit} bytes")

    def disruptions(self):
        """A pod that is never ready serves nobody and must not keep a node from being drained; a database's may hold data."""
        for one in self.of("PodDisruptionBudget"):
            name, policy = one["metadata"]["name"], one["spec"].get("unhealthyPodEvictionPolicy")
            if policy != ("AlwaysAllow" if name in services.SERVICES else None):
                self.fault(f"PodDisruptionBudget {name}: unhealthyPodEvictionPolicy is {policy}")

    def members(self):
        """A member of the replica set is ready when it serves, and is found by the others before."""
        if not (mongodb := self.named("StatefulSet", "mongodb")):
            return
        [container] = mongodb["spec"]["template"]["spec"]["containers"]
        if "secondary" not in str(container["readinessProbe"].get("exec")):
            self.fault("mongodb: is ready while it syncs")
        service = self.named("Service", mongodb["spec"]["serviceName"]) or {"spec": {}}
        if not service["spec"].get("publishNotReadyAddresses") or mongodb["spec"].get("podManagementPolicy") != "Parallel":
            self.fault("mongodb: members that are not ready do not find each other")

    def scraping(self):
        """A scraper finds the metrics of each pod by the annotations that the usual configurations go by."""
        for one in self.workloads:
            ports = [str(port) for name, port in self.ports_of(one).items() if name in METRICS]
            if not ports:
                continue
            annotations = one["spec"]["template"]["metadata"].get("annotations", {})
            found = {key: annotations.get(f"prometheus.io/{key}") for key in ("scrape", "port", "path")}
            if found != {"scrape": "true", "port": ports[0], "path": "/metrics"}:
                self.fault(f"{one['metadata']['name']}: metrics are on port {ports[0]}, and scrapers are told {found}")

    def scaling(self):
        """The depth of a queue says nothing of what is being converted: converters must go slowly."""
        for one in self.of("ScaledObject"):
            autoscaler = one["spec"].get("advanced", {}).get("horizontalPodAutoscalerConfig", {})
            down = autoscaler.get("behavior", {}).get("scaleDown", {})
            slowest = {"type": "Pods", "value": 1, "periodSeconds": 60}
            if down.get("stabilizationWindowSeconds", 0) < 1800 or down.get("policies") != [slowest]:
                self.fault(f"ScaledObject {one['metadata']['name']}: takes busy pods away")

    # --- Ports and connections --------------------------------------------------------------------------------------

    def ports_of(self, workload):
        """The ports of a workload's containers by name."""
        containers = workload["spec"]["template"]["spec"]["containers"]
        return {port["name"]: port["containerPort"] for one in containers for port in one.get("ports", [])}

    def ports(self):
        for service in self.of("Service"):
            for workload in self.selected(service["spec"]["selector"]):
                ports = self.ports_of(workload)
                for port in service["spec"]["ports"]:
                    if ports.get(port["targetPort"]) != port["port"]:
                        self.fault(f"Service {service['metadata']['name']}: {port['port']} leads to {port['targetPort']}, {ports}")
        for name in services.SERVICES:
            if not (workload := self.named("Deployment", name)):
                continue
            ports = self.ports_of(workload)
            for port, setting in (("http", "MP3_LISTEN"), ("operations", "MP3_OPS_LISTEN")):
                address = services.defaults(name).get(setting)
                listens = int(address.rpartition(":")[2]) if address else None
                if ports.get(port) != listens:
                    self.fault(f"{name}: port {port} is {ports.get(port)}, the binary listens on {listens}")

    def endpoint(self, host, port):
        """Who answers there: the workload behind a Service, another namespace, or somebody outside; with the container's port."""
        service = self.named("Service", host)
        if not service:
            _, _, namespace = host.partition(".")
            return f"namespace {namespace}" if namespace and "." not in namespace else OUTSIDE, port
        found = [one["targetPort"] for one in service["spec"]["ports"] if one["port"] == port]
        workloads = self.selected(service["spec"]["selector"])
        if not found or not workloads:
            self.fault(f"Service {host} has no port {port}")
            return host, port
        return workloads[0]["metadata"]["name"], self.ports_of(workloads[0]).get(found[0])

    def configured(self, name):
        """Where a service connects to, from its settings and its defaults."""
        container = self.named("Deployment", name)["spec"]["template"]["spec"]["containers"][0]
        given = {key: value for key, value in self.environment(container, name).items() if value}
        setting = {**services.defaults(name), **given}
        addresses = []
        for key, standard in STANDARD_PORTS.items():
            if key in setting:
                url = urlsplit(setting[key])
                addresses.append((url.hostname, url.port or standard))
        if name == "auth":
            addresses.append((setting["MYSQL_HOST"], int(setting.get("MYSQL_PORT", 3306))))
        if name == "gateway":
            host, _, port = setting["AUTH_SVC_ADDRESS"].partition(":")
            addresses.append((host, int(port)))
        if name == "notification" and "SMTP_URL" not in setting:
            addresses.append(("smtp.gmail.com", 587))
        return {(name, *self.endpoint(*address)) for address in addresses}

    def edges(self, direction):
        """What the policies allow between our workloads, as (from, to, port); outside and DNS as names of their own."""
        found = set()
        for policy in self.of("NetworkPolicy"):
            if set(policy["spec"].get("policyTypes", [])) != {"Ingress", "Egress"}:
                self.fault(f"NetworkPolicy {policy['metadata']['name']} leaves a direction open")
            own = next(iter(self.selected(policy["spec"]["podSelector"]["matchLabels"])), None)
            if not own:
                continue
            for rule in policy["spec"].get(direction) or []:
                ports = [port["port"] for port in rule.get("ports", [])] or ["every"]
                for peer in rule.get("to" if direction == "egress" else "from") or [{}]:
                    for port in ports:
                        other = self.peer(peer, port)
                        mine = own["metadata"]["name"]
                        found.add((mine, other, port) if direction == "egress" else (other, mine, port))
        return found

    def everywhere(self, name, peers):
        """Who may go anywhere outside may do so by IPv6, too, and nowhere inside by either."""
        blocks = {peer["ipBlock"]["cidr"]: set(peer["ipBlock"].get("except", [])) for peer in peers if "ipBlock" in peer}
        if blocks.keys() & PRIVATE.keys() and not all(inside <= blocks.get(all_, set()) for all_, inside in PRIVATE.items()):
            self.fault(f"NetworkPolicy {name}: anywhere outside is not {', '.join(PRIVATE)} less what is private")

    @staticmethod
    def peer(peer, port):
        if "namespaceSelector" in peer:
            namespace = peer["namespaceSelector"]["matchLabels"]["kubernetes.io/metadata.name"]
            return DNS if namespace == "kube-system" and port == 53 else f"namespace {namespace}"
        if "podSelector" in peer:
            return peer["podSelector"]["matchLabels"]["app"]
        return OUTSIDE if "ipBlock" in peer else "everybody"

    def policies(self):
        for policy in self.of("NetworkPolicy"):
            for rule in policy["spec"].get("egress", []):
                self.everywhere(policy["metadata"]["name"], rule.get("to", []))
        connections = set()
        for name in services.SERVICES:
            if self.named("Deployment", name):
                connections |= self.configured(name)
        among = {one["metadata"]["name"] for one in self.workloads}
        # Members of one set talk to each other.
        peers = {(name, name) for name in ("rabbitmq", "mongodb")}
        outward = {edge for edge in self.edges("egress") if edge[1] != DNS and edge[:2] not in peers}
        inward = {edge for edge in self.edges("ingress") if edge[0] in among and edge[:2] not in peers}
        self.equal("egress", outward, connections)
        self.equal("ingress", inward, {edge for edge in connections if edge[1] in among})

        doors = {(self.endpoint(service, port)) for service, port in self.published()}
        entered = {edge[1:] for edge in self.edges("ingress") if edge[0] in ("namespace ingress-nginx", "namespace gateway-system")}
        self.equal("entrances", entered, doors)
        scraped = {edge[1:] for edge in self.edges("ingress") if edge[0] == "namespace monitoring"}
        exported = {(one["metadata"]["name"], port) for one in self.workloads for key, port in self.ports_of(one).items() if key in METRICS}
        self.equal("scraped ports", scraped, exported)
        speaking = {edge[0] for edge in outward} | {name for name, _ in peers}
        resolving = {edge[0] for edge in self.edges("egress") if edge[1] == DNS}
        self.equal("DNS", resolving, speaking & among)

    def equal(self, what, allowed, needed):
        if allowed - needed:
            self.fault(f"NetworkPolicy, {what}: allowed and not needed: {sorted(allowed - needed, key=str)}")
        if needed - allowed:
            self.fault(f"NetworkPolicy, {what}: needed and not allowed: {sorted(needed - allowed, key=str)}")

    def published(self):
        """Services and ports that ingresses and routes lead to."""
        for ingress in self.of("Ingress"):
            for rule in ingress["spec"]["rules"]:
                for path in rule["http"]["paths"]:
                    yield path["backend"]["service"]["name"], path["backend"]["service"]["port"]["number"]
        for route in self.of("HTTPRoute"):
            for rule in route["spec"]["rules"]:
                for backend in rule["backendRefs"]:
                    yield backend["name"], backend["port"]

    def ingresses(self):
        hosts = {"gateway-ingress": "mp3converter.com", "rabbitmq-ingress": "rabbitmq-manager.com"}
        for name, host in hosts.items():
            ingress = self.named("Ingress", name)
            if ingress and [rule["host"] for rule in ingress["spec"]["rules"]] != [host]:
                self.fault(f"Ingress {name} is not for {host}")
        for ingress in self.of("Ingress"):
            # Without TLS it is for minikube, whose only class is the default.
            if "tls" in ingress["spec"] and ingress["spec"].get("ingressClassName") != "nginx":
                self.fault(f"Ingress {ingress['metadata']['name']}: has no class, and its annotations are nginx's")
        for service, port in self.published():
            if not self.named("Service", service):
                self.fault(f"an ingress leads to Service {service}, which does not exist")
        annotations = (self.named("Ingress", "gateway-ingress") or {}).get("metadata", {}).get("annotations", {})
        for key, value in UNLIMITED_UPLOADS.items():
            if annotations.get(f"nginx.ingress.kubernetes.io/{key}") != value:
                self.fault(f"gateway-ingress: {key} is not {value}")

    # --- What the binaries say --------------------------------------------------------------------------------------

    def binaries(self):
        for name in services.SERVICES:
            if not (workload := self.named("Deployment", name)):
                continue
            container = workload["spec"]["template"]["spec"]["containers"][0]
            environment = self.environment(container, name)
            for variable in sorted(environment):
                if not services.knows(name, variable):
                    self.fault(f"{name}: the binary knows no {variable}")
            with services.Running(name, environment) as running:
                if trouble := running.listens():
                    self.fault(f"{name}: does not start with its settings: {trouble}")
                    continue
                if (status := running.status("operations", "/metrics")) != 200:
                    self.fault(f"{name}: scrapers meet {status} at /metrics")
                for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
                    get = container.get(probe, {}).get("httpGet", {})
                    status = running.status(get.get("port"), get.get("path")) if get.get("port") in running.ports else None
                    if status not in (200, 503):
                        self.fault(f"{name}: {probe} meets {status} at {get.get('port')} {get.get('path')}")
