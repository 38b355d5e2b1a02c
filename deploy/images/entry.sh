#!/bin/sh
# The first program in a sidecar's container. As root, with a few capabilities, it makes the container's control groups
# usable for the account that owns the workspace; then it becomes that account, gives up every privilege for good, and runs
# the command. Nothing that an employee can write is read, executed or written before that.
set -eu

fail() {
  echo "empla: $*" >&2
  exit 78
}

# The launcher reads it there, also when the container is gone.
[ ! -e /run/empla.log ] || exec >>/run/empla.log 2>&1

account=$(stat -c %u /workspace) && group=$(stat -c %g /workspace) || fail "nothing is mounted at /workspace"
[ "$account" -ne 0 ] && [ "$group" -ne 0 ] ||
  fail "the workspace belongs to root, and neither a sidecar nor a program in it runs as root: give it to an unprivileged account"

# hand_over DIRECTORY [FILE…]: whoever owns these may make groups below; the bounds of this one stay root's.
hand_over() {
  mount -o remount,bind,rw "$1" || fail "control groups stay read-only: the container needs the capability SYS_ADMIN"
  chown "$account:$group" "$@" || fail "control groups stay root's: the container needs the capability CHOWN"
}

groups=/sys/fs/cgroup
if [ -e $groups/cgroup.controllers ]; then
  hand_over $groups $groups/cgroup.procs $groups/cgroup.threads $groups/cgroup.subtree_control
else
  for controller in memory pids cpu cpuacct; do
    place=$(readlink -f $groups/$controller)
    hand_over "$place" "$place/cgroup.procs"
  done
fi

exec setpriv --reuid "$account" --regid "$group" --clear-groups --inh-caps=-all --bounding-set=-all --no-new-privs \
  catatonit -- "$@"
