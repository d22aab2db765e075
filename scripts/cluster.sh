#!/usr/bin/env bash
# What the Makefile's cluster targets do, in the cluster and namespace that kubectl points to.
#
#   scripts/cluster.sh minikube-up | mysql-setup | mongo-setup | deploy SERVICE | undeploy SERVICE
set -euo pipefail
cd "$(dirname "$0")/.."

readonly WAIT=600s
VERSION=$(sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -1)
readonly VERSION

say() { printf '%s\n' "$*"; }
refuse() { printf 'error: %s\n' "$*" >&2; exit 64; }
have() { command -v "$1" > /dev/null 2>&1; }
exists() { [ -n "$(kubectl get "$1" --ignore-not-found --output name)" ]; }
template_of() { kubectl get "$1" --ignore-not-found --output 'jsonpath={.spec.template}'; }
minikube_runs() { have minikube && minikube status > /dev/null 2>&1; }
# A cluster's context bears the name of its profile.
minikube_is_current() { minikube_runs && [ "$(kubectl config current-context 2> /dev/null)" = "$(minikube profile)" ]; }

# The folder in manifests/ and the workload of a service, by the name its target has.
folder_of() { case $1 in rabbitmq) echo rabbit ;; notif) echo notification ;; *) echo "$1" ;; esac }
workload_of() {
  case $1 in
    rabbitmq | mysql | mongodb) echo "statefulset/$1" ;;
    notif) echo deployment/notification ;;
    auth | gateway | converter) echo "deployment/$1" ;;
    *) refuse "no such service: $1" ;;
  esac
}

# Built with whatever is here, then carried into minikube as a file, which works with every one of its drivers.
load_images() { # images
  local archive image
  BUILDER=$(scripts/images.sh --builder)
  export BUILDER
  scripts/images.sh "$@"
  scratch=$(mktemp -d)
  trap 'rm -rf "$scratch"' EXIT
  for image in "$@"; do
    say "loading mp3converter/$image:$VERSION into minikube"
    archive=$scratch/$image.tar
    case $BUILDER in
      docker) docker save --output "$archive" "mp3converter/$image:$VERSION" ;;
      podman)
        # Without podman's `localhost/`, which the manifests do not say.
        podman tag "localhost/mp3converter/$image:$VERSION" "docker.io/mp3converter/$image:$VERSION"
        podman save --output "$archive" "docker.io/mp3converter/$image:$VERSION"
        ;;
      buildah) buildah push "localhost/mp3converter/$image:$VERSION" "docker-archive:$archive:docker.io/mp3converter/$image:$VERSION" ;;
    esac
    minikube image load "$archive"
    rm -f "$archive"
  done
}

# Pods that run see no change of a ConfigMap, a Secret, or an image under the same tag: what was there is restarted, unless
# the apply does it by changing the template.
apply() { # workloads, --, arguments of kubectl
  local index workload workloads=() before=()
  while [ "$1" != -- ]; do workloads+=("$1"); shift; done
  shift
  for workload in "${workloads[@]}"; do before+=("$(template_of "$workload")"); done
  kubectl apply "$@"
  for index in "${!workloads[@]}"; do
    workload=${workloads[index]}
    if [ -n "${before[index]}" ] && [ "$(template_of "$workload")" = "${before[index]}" ]; then
      kubectl rollout restart "$workload"
    fi
  done
  for workload in "${workloads[@]}"; do kubectl rollout status "$workload" --timeout="$WAIT"; done
}

deploy() { # service
  local workload
  workload=$(workload_of "$1")
  if [[ $workload == deployment/* ]] && minikube_is_current; then load_images "${workload#*/}"; fi
  if exists deployment/mailpit; then
    # As `minikube-up` made it, with its mails to the catcher.
    apply "$workload" -- -k manifests/overlays/minikube --selector "app=${workload#*/}"
  else
    apply "$workload" -- -f "manifests/$(folder_of "$1")/"
  fi
}

# Volumes and Secrets stay: `kubectl delete pvc` and `kubectl delete secret` are for whoever means it.
undeploy() { # service
  local folder file
  workload_of "$1" > /dev/null
  folder=$(folder_of "$1")
  for file in "manifests/$folder"/*.yaml; do
    [ "$(basename "$file")" = pvc.yaml ] || kubectl delete --ignore-not-found -f "$file"
  done
}

mysql_setup() {
  deploy mysql
  # On a volume that had a database before, the image runs nothing; init.sql changes nothing that is there.
  # The password is the pod's own environment variable, so it appears in no argument here.
  # shellcheck disable=SC2016
  kubectl exec --stdin mysql-0 -- sh -c 'MYSQL_PWD="$MYSQL_ROOT_PASSWORD" mysql --user=root' < init.sql
  say "MySQL has the table of accounts"
}

mongo_setup() {
  # Its first member initiates the set and is started when that is done.
  deploy mongodb
  say "MongoDB's replica set is there"
}

secret() { # secret, key
  kubectl get secret "$1" --output "jsonpath={.data.$2}" | base64 --decode
}

minikube_up() {
  have minikube || refuse "minikube is missing: https://minikube.sigs.k8s.io"
  have kubectl || refuse "kubectl is missing"
  minikube_runs || minikube start
  minikube_is_current || refuse "kubectl points to another cluster than minikube's: kubectl config use-context $(minikube profile)"
  minikube addons enable ingress
  scripts/make-secrets.py
  load_images auth gateway converter notification
  apply statefulset/mysql statefulset/mongodb statefulset/rabbitmq deployment/auth deployment/gateway deployment/converter \
    deployment/notification -- -k manifests/overlays/minikube
  # Never restarted, because it would forget its mails.
  kubectl rollout status deployment/mailpit --timeout="$WAIT"
  local address
  address=$(secret auth-secret MP3_ADMIN_EMAIL)
  cat << LINES

Everything is up. Two lines for /etc/hosts (with the docker driver on macOS or Windows 127.0.0.1, beside a running \`minikube tunnel\`):

  $(minikube ip) mp3converter.com
  $(minikube ip) rabbitmq-manager.com

The main job, with the account $address:

  PASSWORD=\$(kubectl get secret auth-secret -o jsonpath='{.data.MP3_ADMIN_PASSWORD}' | base64 -d)
  TOKEN=\$(curl -s -X POST -u "$address:\$PASSWORD" http://mp3converter.com/login)
  curl -H "Authorization: Bearer \$TOKEN" -F file=@video.mp4 http://mp3converter.com/upload
  curl -H "Authorization: Bearer \$TOKEN" -OJ "http://mp3converter.com/download?fid=FID"

FID is in the mail: kubectl port-forward service/mailpit 8025, then http://127.0.0.1:8025
The queues: http://rabbitmq-manager.com, user $(secret rabbitmq-secret MANAGEMENT_USER), and the password is what this prints:

  kubectl get secret rabbitmq-secret -o jsonpath='{.data.MANAGEMENT_PASSWORD}' | base64 -d
LINES
}

case "${1:-}" in
  minikube-up) minikube_up ;;
  mysql-setup) mysql_setup ;;
  mongo-setup) mongo_setup ;;
  deploy | undeploy) have kubectl || refuse "kubectl is missing"; "$1" "${2:?a service}" ;;
  *) refuse "usage: scripts/cluster.sh minikube-up | mysql-setup | mongo-setup | deploy SERVICE | undeploy SERVICE" ;;
esac
