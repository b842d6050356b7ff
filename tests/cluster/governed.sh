# Sourced by the scenarios about Kubernetes' own components: namespace `work` under full enforcement, and who was denied.
# shellcheck shell=bash
. "$(dirname "$(realpath "${BASH_SOURCE[0]}")")/lib.sh"
: "${AUDIT_LOG:?}"

gitadel() { kubectl -n gitadel-system "$@"; }
ready() { is "$1/$1" gitadel get deployment gitadel -o jsonpath='{.status.readyReplicas}/{.status.replicas}'; }
work() { kubectl -n work "$@"; }
field() { work get "$1" -o jsonpath="$2"; }
deployed() { is "$2 $2 $2" field "deployment/$1" '{.status.updatedReplicas} {.status.replicas} {.status.availableReplicas}'; }
filled() { [[ $("$@") ]]; }
gone() { ! "$@" >/dev/null 2>&1; }

declare_file() { mkdir -p "$WORK/tree/work" && cat >"$WORK/tree/work/$1"; }
withdraw() { rm "$WORK/tree/work/$1"; }

# Every denial since the cluster began must be accounted for, also what was denied between two looks or two scenarios.
seen=$WORK/denials-seen
[[ -e $seen ]] || echo 0 >"$seen"
new_denials() { "$here/denials" "$AUDIT_LOG" | tail -n +$(($(<"$seen") + 1)); }
only_denied() { # WHAT DENIAL... : since the last look these were denied, each as often as it is named, and nothing else
  local found
  found=$(new_denials)
  diff <(sort <<<"$found") <(printf '%s\n' "${@:2}" | sort) >&2 || fail "denials after $1"
  (($# == 1)) || echo $(($(<"$seen") + $# - 1)) >"$seen"
}
never_denied() { # WHAT
  only_denied "$1"
  say "$1: nobody was denied"
}
only_denied_time_and_again() { # WHAT DENIAL... : the same, however often a controller tried
  local found
  found=$(new_denials)
  diff <(sort -u <<<"$found") <(printf '%s\n' "${@:2}" | sort) >&2 || fail "denials after $1"
  echo $(($(<"$seen") + $(wc -l <<<"$found"))) >"$seen"
}

sound() { # gitadel has nothing to complain of
  until_true 60 "an Enforcement without problems" is False \
    kubectl get enforcement cluster -o jsonpath='{.status.conditions[?(@.type=="Degraded")].status}'
}

controller() { # NAME : the user as whom a controller of kube-controller-manager comes
  if [[ -e $WORK/one-identity ]]; then echo system:kube-controller-manager; else echo "system:serviceaccount:kube-system:$1"; fi
}
