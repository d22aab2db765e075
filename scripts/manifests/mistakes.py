#!/usr/bin/env python3
"""Makes mistakes in the manifests, one at a time, and sees to it that each is found: a check that finds nothing is worth
nothing. Run by `make manifests-check`."""

import copy
import sys

import alerts
import check
import services
import suite
from render import apply, render

POD = "/spec/template/spec"
CONTAINER = f"{POD}/containers/0"
# Kind, name, JSON patch operation (path, value; None removes), and a piece of what is said about it.
MISTAKES = [
    ("Deployment", "auth", f"{CONTAINER}/envFrom/0/configMapRef/name", "auth-config", "ConfigMap auth-config does not exist"),
    ("Deployment", "auth", f"{CONTAINER}/envFrom/1/secretRef/name", "secret", "Secret secret does not exist"),
    ("Deployment", "auth", "/spec/template/metadata/labels/app", "other", "is not among its pods' labels"),
    ("Deployment", "gateway", "/spec/selector/matchLabels/tier", "web", "must be the original's"),
    ("Deployment", "converter", "/spec/replicas", 3, "replicas is 3"),
    ("Deployment", "converter", "/spec/strategy/rollingUpdate/maxSurge", 1, "maxSurge is not 8"),
    ("Deployment", "converter", f"{POD}/terminationGracePeriodSeconds", 60, "is killed while it finishes"),
    ("Deployment", "converter", f"{POD}/enableServiceLinks", True, "enableServiceLinks is not false"),
    ("Deployment", "converter", f"{POD}/automountServiceAccountToken", None, "automountServiceAccountToken is not false"),
    ("Deployment", "gateway", f"{CONTAINER}/image", "mp3converter/gateway:9.9.9", "Cargo.toml says"),
    ("Deployment", "gateway", f"{CONTAINER}/securityContext/readOnlyRootFilesystem", False, "is not restricted"),
    ("Deployment", "gateway", f"{POD}/securityContext/runAsUser", 0, "runs as user 0"),
    ("Deployment", "gateway", f"{CONTAINER}/resources/requests/memory", "900Mi", "MiB together"),
    ("Deployment", "gateway", f"{CONTAINER}/ports/1/containerPort", 9091, "the binary listens on 9090"),
    ("Deployment", "gateway", f"{CONTAINER}/readinessProbe/httpGet/path", "/ready", "readinessProbe meets 404"),
    ("Deployment", "gateway", f"{CONTAINER}/livenessProbe/httpGet/port", "metrics", "livenessProbe meets None"),
    ("Deployment", "gateway", "/spec/template/metadata/annotations/prometheus.io~1port", "8080", "scrapers are told"),
    ("StatefulSet", "rabbitmq", "/spec/template/metadata/annotations", None, "scrapers are told"),
    ("ConfigMap", "gateway-configmap", "/data/VIDEO_QUEU", "video", "knows no VIDEO_QUEU"),
    ("ConfigMap", "gateway-configmap", "/data/AUTH_SVC_ADDRESS", "auth:5001", "needed and not allowed"),
    ("ConfigMap", "gateway-configmap", "/data/MAX_UPLOAD_BYTES", "10 GiB", "gateway: does not start"),
    ("ConfigMap", "auth-configmap", "/data/MYSQL_USER", None, "auth-configmap lacks keys"),
    ("ConfigMap", "converter-configmap", "/data/VIDEO_QUEUE", None, "converter-configmap lacks keys"),
    ("Service", "auth", "/spec/selector/app", "gateway", "Service auth"),
    ("Service", "auth", "/spec/ports/0/port", 5001, "Service auth"),
    ("Service", "gateway", "/spec/ports/0/targetPort", "web", "leads to web"),
    ("StatefulSet", "rabbitmq", f"{POD}/volumes/0/persistentVolumeClaim/claimName", "other", "claim other does not exist"),
    ("StatefulSet", "rabbitmq", f"{CONTAINER}/volumeMounts/5/subPath", "definition.json", "definition.json is not in volume"),
    ("StatefulSet", "rabbitmq", f"{POD}/volumes/4/secret/items/0/key", "user.json", "no user.json in rabbitmq-secret"),
    ("StatefulSet", "mysql", f"{CONTAINER}/env/0/valueFrom/secretKeyRef/key", "ROOT", "no ROOT in mysql-secret"),
    ("StatefulSet", "mysql", f"{CONTAINER}/env/2/value", "root", "and auth's MYSQL_USER is auth_user"),
    ("ConfigMap", "auth-configmap", "/data/MYSQL_DB", "accounts", "and auth's MYSQL_DB is accounts"),
    ("StatefulSet", "mongodb", "/spec/serviceName", "mongo", "Service mongo does not exist"),
    ("PodDisruptionBudget", "auth", "/spec/selector/matchLabels/app", "aut", "selects no single workload"),
    ("PodDisruptionBudget", "auth", "/spec/unhealthyPodEvictionPolicy", None, "unhealthyPodEvictionPolicy is None"),
    ("PodDisruptionBudget", "mongodb", "/spec/unhealthyPodEvictionPolicy", "AlwaysAllow", "unhealthyPodEvictionPolicy is AlwaysAllow"),
    ("StatefulSet", "mongodb", f"{CONTAINER}/readinessProbe", {"tcpSocket": {"port": "mongodb"}}, "is ready while it syncs"),
    ("StatefulSet", "mongodb", "/spec/podManagementPolicy", None, "do not find each other"),
    ("Service", "mongodb", "/spec/publishNotReadyAddresses", None, "do not find each other"),
    ("Deployment", "auth", f"{CONTAINER}/resources/limits/memory", "128Mi", "auth: may take 140 MiB"),
    ("StatefulSet", "rabbitmq", f"{CONTAINER}/resources/limits/memory", "512Mi", "rabbitmq: the alarm is not at"),
    ("ConfigMap", "rabbitmq-configmap", "/data/rabbitmq.conf", "vm_memory_high_watermark.relative = 0.6\n", "rabbitmq: the alarm is not at"),
    ("ConfigMap", "converter-configmap", "/data/CONVERTER_JOBS", "2", "converter: may take 1792 MiB"),
    ("Deployment", "converter", f"{CONTAINER}/resources/limits/memory", "512Mi", "converter: may take 960 MiB"),
    ("NetworkPolicy", "auth", "/spec/policyTypes/1", None, "leaves a direction open"),
    ("NetworkPolicy", "auth", "/spec/egress/1/ports/0/port", 3307, "egress: needed and not allowed"),
    ("NetworkPolicy", "auth", "/spec/egress/0", None, "DNS: needed and not allowed"),
    ("NetworkPolicy", "mysql", "/spec/egress/-", {"to": [{"ipBlock": {"cidr": "0.0.0.0/0"}}]}, "egress: allowed and not needed"),
    ("NetworkPolicy", "mongodb", "/spec/ingress/0/from/2", None, "ingress: needed and not allowed"),
    ("NetworkPolicy", "mongodb", "/spec/ingress/0/from/-", {"podSelector": {"matchLabels": {"app": "auth"}}}, "ingress: allowed and not needed"),
    ("NetworkPolicy", "rabbitmq", "/spec/ingress/1/ports/0/port", 15671, "entrances: needed and not allowed"),
    ("NetworkPolicy", "converter", "/spec/ingress/0/ports/0/port", 9091, "scraped ports: needed and not allowed"),
    ("NetworkPolicy", "notification", "/spec/egress/3/ports/0/port", 25, "egress: needed and not allowed"),
    ("NetworkPolicy", "notification", "/spec/egress/3/to/1", None, "anywhere outside is not"),
    ("NetworkPolicy", "notification", "/spec/egress/3/to/0/ipBlock/except/1", None, "anywhere outside is not"),
    ("Ingress", "gateway-ingress", "/spec/rules/0/host", "example.com", "is not for mp3converter.com"),
    ("Ingress", "gateway-ingress", "/metadata/annotations/nginx.ingress.kubernetes.io~1proxy-body-size", "1m", "proxy-body-size is not 0"),
    ("Ingress", "rabbitmq-ingress", "/spec/rules/0/http/paths/0/backend/service/name", "rabbit", "which does not exist"),
]
# The same for overlays: the overlay's folder first.
OVERLAY_MISTAKES = [
    ("production", "HorizontalPodAutoscaler", "gateway", "/spec/scaleTargetRef/name", "gate", "scales nothing"),
    ("production", "ScaledObject", "converter", "/spec/advanced", None, "takes busy pods away"),
    ("production", "Ingress", "rabbitmq-ingress", "/spec/ingressClassName", None, "has no class"),
    ("production", "TriggerAuthentication", "converter", "/spec/secretTargetRef/0/key", "HOST", "no HOST in scaler-secret"),
    ("production", "TriggerAuthentication", "converter", "/spec/secretTargetRef/0/name", "converter-secret", "names no virtual host"),
    ("production", "HTTPRoute", "gateway", "/spec/rules/0/backendRefs/0/port", 80, "has no port 80"),
    ("production-external-mysql", "ConfigMap", "auth-configmap", "/data/MYSQL_PORT", "3307", "egress: needed and not allowed"),
    ("production-traces", "NetworkPolicy", "auth", "/spec/egress/2/ports/0/port", 4317, "egress: needed and not allowed"),
    ("production-traces", "ConfigMap", "converter-configmap", "/data/OTEL_EXPORTER_OTLP_ENDPOINT", None, "egress: allowed and not needed"),
    ("production-traces", "ConfigMap", "gateway-configmap", "/data/OTEL_EXPORTER_OTLP_ENDPOINT", "https://collector.monitoring:4318", "gateway: does not start"),
    ("minikube", "Deployment", "notification", f"{CONTAINER}/env/0", None, "notification: logs in to mailpit"),
    ("minikube", "ConfigMap", "notification-configmap", "/data/SMTP_URL", "smtp://mailpit:25", "has no port 25"),
]
# In the alert rules: what is written there, what instead, and a piece of what is said about it.
ALERT_MISTAKES = [
    ('dependency!~"sandbox:.*|space"', 'dependency!~"space"', "sandbox: Landlock network: what watches it is"),
    ('dependency!~"sandbox:.*|space"', 'dependency!~"sandbox:.*|space|auth"', "auth: what watches it is []"),
    ('dependency="space"', 'dependency="full-disk"', "no dependency is full-disk"),
    ('outcome="our_trouble"', 'outcome="our-trouble"', "no outcome is our-trouble"),
    ('queue=~".+[.]dead"', 'queue=~".+[.]dlq"', "no queue is .+[.]dlq"),
    ("max by (queue) (mp3_queue_messages", "max(mp3_queue_messages", "adds dead letters to messages"),
    ("absent(mp3_oldest_due_job_seconds)", "max(mp3_oldest_due_job_seconds) > 900", "nobody notices that the gateway is gone"),
    ('outcome=~"retry|converted"', 'outcome="converted"', "cannot fire before there was any"),
]


def with_mistake(objects, kind, name, path, value):
    objects = copy.deepcopy(objects)
    [one] = [one for one in objects if one["kind"] == kind and one["metadata"]["name"] == name]
    apply(one, {"op": "remove", "path": path} if value is None else {"op": "add", "path": path, "value": value})
    return objects


class OneService(suite.Suite):
    """Starts the binary of the service a mistake is about, and no other."""

    def __init__(self, about, *arguments):
        super().__init__(*arguments)
        self.about = about

    def binaries(self):
        whole = self.workloads, self.objects
        self.objects = [one for one in self.objects if one["kind"] != "Deployment" or one["metadata"]["name"] == self.about]
        super().binaries()
        self.workloads, self.objects = whole


def is_found(folder, secrets, kind, name, path, value, said):
    objects = with_mistake(render(folder), kind, name, path, value)
    about = name.removesuffix("-configmap") if said.partition(":")[0] in services.SERVICES or "knows no" in said or "meets" in said else None
    try:
        faults = OneService(about, "mistaken", objects, secrets).check()
    except (KeyError, ValueError, LookupError) as error:
        faults = [repr(error)]
    if any(said in fault for fault in faults):
        return True
    print(f"manifests: nobody noticed {kind} {name} {path} {value!r}: {faults}", file=sys.stderr)
    return False


def main():
    secrets = suite.made_secrets()
    mistakes = [(check.MANIFESTS, *mistake) for mistake in MISTAKES]
    mistakes += [(check.MANIFESTS / "overlays" / folder, *mistake) for folder, *mistake in OVERLAY_MISTAKES]
    unnoticed = [1 for folder, *mistake in mistakes if not is_found(folder, secrets, *mistake)]
    rules = (alerts.MONITORING / "alerts.yaml").read_text()
    for written, instead, said in ALERT_MISTAKES:
        if written not in rules or not any(said in fault for fault in alerts.check(rules.replace(written, instead))):
            print(f"manifests: nobody noticed {instead} in alerts.yaml", file=sys.stderr)
            unnoticed.append(1)
    if unnoticed:
        sys.exit(1)
    print(f"manifests: {len(mistakes) + len(ALERT_MISTAKES)} mistakes made, all found")


if __name__ == "__main__":
    main()
