#!/usr/bin/env bash
# Publishes a small stream with the product's own parts, then loads every adapter with PEFT on transformers and compares.
set -euo pipefail
cd "$(dirname "$0")/../.."

if ! python="$(infra/python/environment.sh)"; then
  echo "The Python packages could not be installed: this check needs python3 with venv, and PyPI."
  echo "0 passed, 1 failed"
  exit 1
fi

work="$(mktemp -d)"
trap 'rm -rf "$work"' EXIT
if ! node --import tsx test/interop/publish.ts "$work"; then
  echo "0 passed, 1 failed"
  exit 1
fi
"$python" test/interop/compare.py "$work"
