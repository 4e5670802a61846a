#!/usr/bin/env bash
# Runs `lilora ARGS…` inside an image built by try.sh, as an orchestrator of containers would: as nobody's user, with no writable place but
# /tmp and /cache, with no more environment than --env names.
#
#   infra/containers/enter.sh TARGET [NAME=VALUE…] -- ARGS…
set -euo pipefail
export STORAGE_DRIVER="${STORAGE_DRIVER:-overlay}"

target="$1"
shift
variables=()
while [[ "$1" != -- ]]; do
  variables+=("$1")
  shift
done
shift
container="$(buildah from "localhost/lilora-$target")"
trap 'buildah rm "$container" >/dev/null' EXIT
root="$(buildah mount "$container")"

# The mounts live and die with this process's own name space.
# shellcheck disable=SC2016  # the inner shell expands it
unshare --mount --propagation private bash -euc '
  root="$1"
  shift
  mount --bind "$root" "$root"
  mount -o remount,bind,ro "$root"
  mount -t proc proc "$root/proc"
  mount --rbind /dev "$root/dev"
  for place in tmp cache; do mount -t tmpfs -o mode=1777 tmpfs "$root/$place"; done
  exec chroot --userspec=10001:10001 "$root" /usr/bin/env -i PATH=/usr/local/bin:/usr/bin:/bin HOME=/tmp NODE_ENV=production \
    LILORA_CACHE=/cache LILORA_ALIVE_FILE=/tmp/lilora-alive "$@"
' enter "$root" "${variables[@]}" node /app/cli/lilora.mjs "$@" &
child=$!
trap 'kill -TERM "$child" 2>/dev/null || true' TERM INT
wait "$child" || true
status=0
wait "$child" || status=$?
exit "$status"
