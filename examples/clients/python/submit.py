"""Submits a dataset, starting its stream if it does not run: python submit.py STREAM MODEL DATASET"""

import asyncio
import json
import os
import sys

from temporalio.client import Client, WithStartWorkflowOperation
from temporalio.common import WorkflowIDConflictPolicy
from temporalio.envconfig import ClientConfig


async def main(stream: str, model: str, dataset: str) -> None:
    config = ClientConfig.load_client_connect_config()
    config.setdefault("target_host", "localhost:7233")
    client = await Client.connect(**config)
    start = WithStartWorkflowOperation(
        "stream",
        {"schema": 1, "definition": {"name": stream, "model": model}},
        id=f"lilora/{stream}",
        task_queue="lilora",
        id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,
    )
    submission = await client.execute_update_with_start_workflow(
        "submitTask",
        {"dataset": dataset},
        start_workflow_operation=start,
    )
    print(json.dumps(submission))


if __name__ == "__main__":
    if len(sys.argv) != 4:
        sys.exit("usage: submit.py STREAM MODEL DATASET")
    asyncio.run(main(*sys.argv[1:]))
    # The client's threads may still call into Python while the interpreter shuts down, which aborts the process now and
    # then (temporalio/sdk-python#300). All is done and printed: leave without shutting down.
    sys.stdout.flush()
    os._exit(0)
