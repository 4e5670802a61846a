#!/usr/bin/env bash
# Submits a dataset, starting its stream if it does not run: submit.sh STREAM MODEL DATASET
# The subcommand is marked experimental; this is how version 1.5.1 takes it. The submission is `updateResult` of the output.
set -euo pipefail
stream="$1" model="$2" dataset="$3"

temporal workflow execute-update-with-start \
  --workflow-id "lilora/$stream" --type stream --task-queue lilora --id-conflict-policy UseExisting \
  --input "{\"schema\": 1, \"definition\": {\"name\": \"$stream\", \"model\": \"$model\"}}" \
  --update-name submitTask --update-input "{\"dataset\": \"$dataset\"}" \
  --output json
