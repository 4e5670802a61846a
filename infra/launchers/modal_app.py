"""Modal: a web endpoint behind proxy authentication starts a GPU function that runs one worker until it is idle.

    modal secret create lilora TEMPORAL_ADDRESS=… TEMPORAL_NAMESPACE=… TEMPORAL_API_KEY=… LILORA_STORE=s3://… AWS_ACCESS_KEY_ID=… …
    LILORA_IMAGE=registry.example.org/lilora-gpu:0.1.0 modal deploy modal_app.py
"""

import os
import subprocess

import modal

IMAGE = os.environ.get("LILORA_IMAGE", "registry.example.org/lilora-gpu:0.1.0")
GPU = os.environ.get("LILORA_GPU", "L4")

worker_image = modal.Image.from_registry(IMAGE, add_python="3.12").entrypoint([]).env({"LILORA_CACHE": "/cache"})
web_image = modal.Image.debian_slim(python_version="3.12").pip_install("fastapi[standard]==0.115.12")

app = modal.App("lilora-gpu")
cache = modal.Volume.from_name("lilora-cache", create_if_missing=True)
taken = modal.Dict.from_name("lilora-orders", create_if_missing=True)


@app.function(
    image=worker_image,
    gpu=GPU,
    secrets=[modal.Secret.from_name("lilora")],
    volumes={"/cache": cache},
    timeout=24 * 60 * 60,
    max_containers=8,
)
def run_worker(queue: str, idle_exit_seconds: float):
    # No shell: the queue's name is one argument, whatever it holds.
    command = ["lilora", "worker", "gpu", "--queue", queue, "--idle-exit", str(idle_exit_seconds)]
    subprocess.run(command, check=True)


@app.function(image=web_image)
@modal.fastapi_endpoint(method="POST", requires_proxy_auth=True)
def start(order: dict):
    queue, key, idle = str(order["queue"]), str(order["key"]), float(order["idleExitSeconds"])
    if queue.startswith("-") or not idle > 0:
        return {"error": "the order is {queue, idleExitSeconds, key}"}
    # A retried order does not start a second worker.
    if not taken.put(key, "taken", skip_if_exists=True):
        return {"id": key, "repeated": True}
    return {"id": run_worker.spawn(queue, idle).object_id}
