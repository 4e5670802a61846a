#!/usr/bin/env bash
# Publishes a small stream with the product's own parts, then loads every adapter with PEFT on transformers and compares.
# The Python environment is big (about 6 GB): it is made once and kept beside the other downloads.
set -euo pipefail
cd "$(dirname "$0")/../.."

cache="${LILORA_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/lilora}"
environment="$cache/interop-$(sha256sum test/interop/requirements.txt | cut -c1-16)"
mkdir -p "$cache"
exec 9>"$environment.lock"
flock 9
if [[ ! -f "$environment/complete" ]]; then
  echo "making the Python environment in $environment"
  rm -rf "$environment"
  if ! { python3 -m venv "$environment" &&
    "$environment/bin/pip" install --quiet --disable-pip-version-check -r test/interop/requirements.txt; }; then
    echo "The Python packages could not be installed: this check needs python3 with venv, and PyPI."
    echo "0 passed, 1 failed"
    exit 1
  fi
  touch "$environment/complete"
fi
flock -u 9

work="$(mktemp -d)"
trap 'rm -rf "$work"' EXIT
if ! node --import tsx test/interop/publish.ts "$work"; then
  echo "0 passed, 1 failed"
  exit 1
fi
"$environment/bin/python" test/interop/compare.py "$work"
