#!/usr/bin/env bash
# Builds images of the Dockerfile on a machine without a container engine: Debian's buildah with chroot isolation, on a
# base made by debootstrap and this machine's Node. Needs root, buildah and debootstrap (apt-get install buildah debootstrap).
#
#   infra/containers/try.sh [TARGET…]        default: orchestrator gpu-cpu
#
# LILORA_BASE_ROOT: folder of a base made before. The images stay: `buildah images`. enter.sh runs them, learn.ts learns with them.
set -euo pipefail
cd "$(dirname "$0")/../.."

export BUILDAH_ISOLATION=chroot STORAGE_DRIVER="${STORAGE_DRIVER:-overlay}"
BASE_IMAGE=localhost/lilora-base
# Where this machine's certificates differ from Debian's own, builds need them too.
certificates=/etc/ssl/certs/ca-certificates.crt
shared=(--volume "$certificates:$certificates:ro")
[[ -f "$HOME/.npmrc" ]] && shared+=(--volume "$HOME/.npmrc:/root/.npmrc:ro")
[[ -f /etc/pip.conf ]] && shared+=(--volume /etc/pip.conf:/etc/pip.conf:ro)

if ! buildah inspect --type image "$BASE_IMAGE" >/dev/null 2>&1; then
  root="${LILORA_BASE_ROOT:-$(mktemp -d)}"
  [[ -d "$root/usr" ]] || debootstrap --variant=minbase --include=ca-certificates bookworm "$root"
  container="$(buildah from scratch)"
  buildah add --quiet "$container" "$root" /
  buildah add --quiet "$container" "$(node -p process.execPath)" /usr/local/bin/node
  buildah add --quiet "$container" "$(npm root --global)/npm" /usr/local/lib/node_modules/npm
  buildah run "$container" -- ln -s ../lib/node_modules/npm/bin/npm-cli.js /usr/local/bin/npm
  buildah config --env PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin --env "NODE_EXTRA_CA_CERTS=$certificates" --env "PIP_CERT=$certificates" --cmd node "$container"
  buildah commit --quiet --rm "$container" "$BASE_IMAGE"
fi

targets=("$@")
((${#targets[@]})) || targets=(orchestrator gpu-cpu)
for target in "${targets[@]}"; do
  echo "== $target"
  buildah bud --quiet --format docker --layers --file infra/containers/Dockerfile --build-arg "NODE_IMAGE=$BASE_IMAGE" \
    --target "$target" --tag "localhost/lilora-$target" "${shared[@]}" .
  container="$(buildah from "localhost/lilora-$target")"
  root="$(buildah mount "$container")"
  echo "size: $(du -sm "$root" | cut -f1) MB unpacked, of it $(du -sm "$root/app" | cut -f1) MB in /app and $(du -smc "$root"/opt/* 2>/dev/null | tail -n 1 | cut -f1) MB in /opt"
  buildah rm "$container" >/dev/null
  infra/containers/enter.sh "$target" -- --version
done
