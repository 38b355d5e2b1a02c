#!/usr/bin/env bash
# A container engine of our own, for tests and benchmarks on a machine that has none. It needs root, and apt to install.
#
#   deploy/engine.sh up       install what is missing, start it, print DOCKER_HOST=…; an engine that DOCKER_HOST names is used as it is
#   deploy/engine.sh enter …  run a command in the network that the containers' bridge is in
#   deploy/engine.sh down     end it and its containers; images stay
#
# It lives in a network namespace of its own without a way out: started in the machine's it would change its links, its
# firewall and its forwarding, and containers would reach whatever listens on the machine.
set -euo pipefail

readonly DIRECTORY=${EMPLA_ENGINE_DIR:-/var/tmp/empla-engine}
readonly NETWORK=empla-engine
readonly SOCKET=$DIRECTORY/docker.sock

main() {
  case "${1:-}" in
    up) up ;;
    enter) shift && enter "$@" ;;
    down) down ;;
    *) sed -n '2,9s/^# \{0,1\}//p' "$0" && exit 2 ;;
  esac
}

say() { printf '%s\n' "$*" >&2; }

fail() {
  say "$@"
  exit 1
}

up() {
  if [[ -n ${DOCKER_HOST:-} && $DOCKER_HOST != "unix://$SOCKET" ]]; then
    docker info >/dev/null || fail "The engine at DOCKER_HOST=$DOCKER_HOST does not answer"
    printf 'DOCKER_HOST=%s\n' "$DOCKER_HOST"
    return
  fi
  if ! answers; then
    [[ $EUID -eq 0 ]] || fail "Only root can start an engine; name one that runs in DOCKER_HOST, or use sudo"
    mkdir -p -m 0711 "$DIRECTORY"
    exec {lock}>"$DIRECTORY/lock"
    flock "$lock" # a second engine would take the socket from one that is just starting
    if ! answers; then
      install_engine
      start_engine
    fi
    exec {lock}>&-
  fi
  printf 'DOCKER_HOST=unix://%s\n' "$SOCKET"
}

answers() { [[ -S $SOCKET ]] && [[ $(curl -sf -m 5 --unix-socket "$SOCKET" http://engine/_ping 2>/dev/null) == OK ]]; }

install_engine() {
  local packages=() entry
  for entry in dockerd=docker.io docker=docker.io ip=iproute2 iptables=iptables curl=curl; do
    command -v "${entry%%=*}" >/dev/null || packages+=("${entry#*=}")
  done
  [[ ${#packages[@]} -gt 0 ]] || return 0
  command -v apt-get >/dev/null || fail "Install these first: ${packages[*]}"
  say "Installing ${packages[*]}"
  apt update -qq
  # The package would start an engine in the machine's own network at once.
  keeping_services_off apt install -qq --yes --no-install-recommends "${packages[@]}"
}

apt() { DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=180 "$@" >&2; }

keeping_services_off() {
  local policy=/usr/sbin/policy-rc.d
  if [[ -e $policy ]]; then
    "$@"
    return
  fi
  printf '#!/bin/sh\nexit 101\n' >"$policy"
  chmod +x "$policy"
  trap "rm -f '$policy'" EXIT
  "$@"
  rm -f "$policy"
  trap - EXIT
}

start_engine() {
  ip netns list | grep -qw "$NETWORK" || ip netns add "$NETWORK"
  enter ip link set lo up
  say "Starting an engine in $DIRECTORY"
  rm -f "$DIRECTORY/engine.pid"
  # Without --oom-score-adjust it wants a score that takes a privilege which not every root has.
  setsid nsenter --net="/run/netns/$NETWORK" dockerd --data-root "$DIRECTORY/data" --exec-root "$DIRECTORY/run" --host "unix://$SOCKET" \
    --pidfile "$DIRECTORY/engine.pid" --oom-score-adjust 0 >"$DIRECTORY/engine.log" 2>&1 </dev/null {lock}>&- &
  local attempt engine=$!
  for attempt in {1..300}; do
    if answers; then
      return
    fi
    kill -0 "$engine" 2>/dev/null || break
    sleep 0.2
  done
  tail -n 3 "$DIRECTORY/engine.log" >&2
  fail "The engine did not come up; all it said is in $DIRECTORY/engine.log"
}

enter() { nsenter --net="/run/netns/$NETWORK" -- "$@"; }

down() {
  if answers; then
    DOCKER_HOST=unix://$SOCKET docker ps --quiet | DOCKER_HOST=unix://$SOCKET xargs --no-run-if-empty docker rm --force >/dev/null
  fi
  if [[ -f $DIRECTORY/engine.pid ]]; then
    local pid
    pid=$(<"$DIRECTORY/engine.pid")
    kill "$pid" 2>/dev/null || true
    timeout 60 tail --pid="$pid" -f /dev/null || fail "The engine, process $pid, does not end"
  fi
  ip netns delete "$NETWORK" 2>/dev/null || true
}

main "$@"
