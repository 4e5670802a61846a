#!/usr/bin/env bash
# Prints the path of a Python with PyTorch, transformers and PEFT (requirements.txt). The environment is big (about
# 6 GB): it is made once and kept beside the other downloads. Used by the interop check and the benchmarks alone.
set -euo pipefail
here="$(cd "$(dirname "$0")" && pwd)"

cache="${LILORA_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/lilora}"
environment="$cache/interop-$(sha256sum "$here/requirements.txt" | cut -c1-16)"
mkdir -p "$cache"
exec 9>"$environment.lock"
flock 9
if [[ ! -f "$environment/complete" ]]; then
  echo "making the Python environment in $environment" >&2
  rm -rf "$environment"
  python3 -m venv "$environment" >&2
  "$environment/bin/pip" install --quiet --disable-pip-version-check -r "$here/requirements.txt" >&2
  touch "$environment/complete"
fi
echo "$environment/bin/python"
