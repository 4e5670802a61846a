"""RunPod queue-based endpoint: one job runs one gpu worker until it has been idle for a while.

Runs inside the image of runpod.Dockerfile. Try it on any machine, without a GPU and without RunPod:
    python runpod_handler.py --test_input '{"input": {"queue": "lilora-gpu", "idleExitSeconds": 5, "key": "try"}}'
"""

import os
import subprocess

import runpod

LILORA = os.environ.get("LILORA_COMMAND", "lilora").split()


def handler(job):
    order = job["input"]
    queue, idle = order["queue"], float(order["idleExitSeconds"])
    if queue.startswith("-") or not idle > 0:
        return {"error": "the order is {queue, idleExitSeconds, key}"}
    # No shell: the queue's name is one argument, whatever it holds.
    ended = subprocess.run([*LILORA, "worker", "gpu", "--queue", queue, "--idle-exit", str(idle)], check=False)
    if ended.returncode != 0:
        return {"error": f"the worker ended with {ended.returncode}"}
    return {"key": order.get("key"), "exitCode": 0}


if __name__ == "__main__":
    runpod.serverless.start({"handler": handler})
