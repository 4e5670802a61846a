#!/usr/bin/env bash
# Publishes a small stream of every family with the product's own parts, then loads every adapter with PEFT on transformers
# and compares.
set -euo pipefail
cd "$(dirname "$0")/../.."

if ! python="$(infra/python/environment.sh)"; then
  echo "The Python packages could not be installed: this check needs python3 with venv, and PyPI."
  echo "0 passed, 1 failed"
  exit 1
fi

work="$(mktemp -d)"
trap 'rm -rf "$work"' EXIT
# The example base model (LLaVA), and a model of every other family.
models=(examples/base-model test/fixtures/smolvlm/model test/fixtures/qwen2vl/model)
for i in "${!models[@]}"; do
  if ! node --import tsx test/interop/publish.ts "$work/$i" "${models[$i]}"; then
    echo "0 passed, 1 failed"
    exit 1
  fi
done
"$python" test/interop/compare.py "$work"/*
