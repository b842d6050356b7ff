# Sourced by the scenarios, which run in the node's network: a Git repository for Pods, and ways to wait and to check.
# shellcheck shell=bash
set -euo pipefail
here=$(dirname "$(realpath "${BASH_SOURCE[0]}")")
root=$(realpath "$here/../..")
: "${WORK:?}"
repository=http://10.199.0.1:8080/cluster.git
export GIT_CONFIG_GLOBAL=/dev/null GIT_AUTHOR_NAME=Test GIT_AUTHOR_EMAIL=test@example.com
export GIT_COMMITTER_NAME=Test GIT_COMMITTER_EMAIL=test@example.com

# What a scenario started ends with it.
background=()
trap '((${#background[@]} == 0)) || kill "${background[@]}"' EXIT

say() { printf '%3d s  %s\n' "$SECONDS" "$*"; }
fail() {
  echo "FAILED: $*" >&2
  {
    kubectl get pods -A -o wide
    kubectl get enforcements -o yaml
    for pod in $(kubectl -n gitadel-system get pods -o name); do
      for container in webhook reconcile; do
        echo "--- $pod $container"
        kubectl -n gitadel-system logs --tail=40 "$pod" -c "$container"
      done
    done
  } >&2 || true
  exit 1
}

until_true() { # SECONDS WHAT COMMAND... : waits for a command to succeed
  local limit=$1 what=$2 end=$((SECONDS + $1))
  shift 2
  until "$@" >/dev/null 2>&1; do
    ((SECONDS < end)) || fail "$what did not come within $limit s"
    sleep .1
  done
}

rejected() { # COMMAND... : fails, and for no other reason than gitadel
  ! said=$("$@" 2>&1) && [[ $said == *gitadel.dev*denied\ the\ request* ]]
}
denied() { # COMMAND... : must be rejected
  rejected "$@" || fail "not rejected by gitadel: $*: $said"
}

start_repository() { # an empty one, served to Pods
  git init --quiet --bare --initial-branch=main "$WORK/git/cluster.git"
  git clone --quiet "$WORK/git/cluster.git" "$WORK/tree" 2>/dev/null
  git -C "$WORK/tree" checkout --quiet -B main
  serve_repository
}
serve_repository() {
  "$here/git-server" "$WORK/git" 10.199.0.1 8080 &
  background+=($!)
  until_true 30 "the Git server" git ls-remote "$repository"
}
resume_repository() { # that of the scenario before, on the same cluster
  serve_repository
  commit=$(git -C "$WORK/tree" rev-parse HEAD)
}
start_private_repository() { # USER:PASSWORD : the same over HTTPS, by an authority of its own in $WORK/ca.crt
  start_repository
  repository=https://10.199.0.1:8443/cluster.git
  local new=(openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2)
  "${new[@]}" -subj "/CN=an organisation" -keyout "$WORK/ca.key" -out "$WORK/ca.crt" 2>/dev/null
  "${new[@]}" -subj /CN=git -CA "$WORK/ca.crt" -CAkey "$WORK/ca.key" -addext "subjectAltName=IP:10.199.0.1" \
    -addext "basicConstraints=critical,CA:FALSE" -keyout "$WORK/git.key" -out "$WORK/git.crt" 2>/dev/null
  cat "$WORK/git.crt" "$WORK/git.key" >"$WORK/git.pem"
  "$here/git-server" "$WORK/git" 10.199.0.1 8443 "$WORK/git.pem" "$1" &
  background+=($!)
  until_true 30 "the private Git server" curl -sf --cacert "$WORK/ca.crt" -u "$1" "$repository/info/refs?service=git-upload-pack"
  ! curl -sf --cacert "$WORK/ca.crt" "$repository/info/refs?service=git-upload-pack" || fail "the repository is not private"
}

install_manifests() { # manifests/, with the way to a repository that nobody authenticates
  sed 's#^\( *\)- --lease-name=gitadel$#&\n\1- --allow-transport=http#' "$root"/manifests/40-deployment.yaml >"$WORK/deployment.yaml"
  kubectl apply -f "$root/manifests" >/dev/null
  kubectl apply -f "$WORK/deployment.yaml" >/dev/null
}

push() { # SUBJECT : commits what is in the tree
  git -C "$WORK/tree" add --all
  git -C "$WORK/tree" commit --quiet -m "$1"
  git -C "$WORK/tree" push --quiet origin HEAD:main
  commit=$(git -C "$WORK/tree" rev-parse HEAD)
}

in_force() { # the last commit is in force and the cluster is what it declares
  local status
  status=$(kubectl get enforcement cluster -o jsonpath='{.status.commit.id} {.status.conditions[?(@.type=="Converged")].status} {.status.conditions[?(@.type=="Enforcing")].status}')
  [[ $status == "$commit True True" ]]
}
converged() { until_true "${1:-60}" "convergence on ${commit:0:7}" in_force; }

is() { # VALUE COMMAND... : prints exactly this
  [[ $("${@:2}") == "$1" ]]
}
