# Sourced: the node's own processes. A scenario runs in the node's network, where no other cluster of this machine is.
# shellcheck shell=bash
component() { # NAME : its process
  pgrep --ns $$ --nslist net --exact "${1:0:15}"
}
other_component() { # NAME PROCESS : runs, and is not this one
  local now
  now=$(component "$1") && [[ $now != "$2" ]]
}
