"""The peer's side of bench/step.ts: PyTorch, transformers and PEFT on the same model, adapter and batches.

usage: peer.py MODEL WORK THREADS eager|compile|cuda-bf16. Does what each line of standard input says (`train STEPS`,
`generate TOKENS`) and answers with one line of JSON; with {"failed": why} where torch.compile does not work.
"""

import json
import os
import sys
import time

import torch
import transformers
import peft
from safetensors.torch import load_file

model_folder, work, threads, mode = sys.argv[1:]
torch.set_num_threads(int(threads))
LEARNING_RATE = 1e-3

began = time.perf_counter()
device, dtype = ("cuda", torch.bfloat16) if mode == "cuda-bf16" else ("cpu", torch.float32)
base = transformers.LlavaForConditionalGeneration.from_pretrained(model_folder, dtype=dtype).to(device)
load_seconds = time.perf_counter() - began
start_seconds = time.time() - float(os.environ["BENCH_STARTED"])
model = peft.PeftModel.from_pretrained(base, f"{work}/adapter", is_trainable=True).to(device)
model.train()
trained = [p for p in model.parameters() if p.requires_grad]
optimizer = torch.optim.AdamW(trained, lr=LEARNING_RATE, weight_decay=0.0)
batches = load_file(f"{work}/batches.safetensors")
ids, labels = batches["input_ids"].long().to(device), batches["labels"].long().to(device)
pixels = batches.get("pixel_values")
if pixels is not None:
    pixels = pixels.to(device, dtype)
forward = torch.compile(model) if mode == "compile" else model


def step(i):
    inputs = {"input_ids": ids[i], "attention_mask": torch.ones_like(ids[i]), "labels": labels[i]}
    if pixels is not None:
        inputs["pixel_values"] = pixels[i]
    # As TRL's SFTTrainer computes it: logits of every position, labels of -100 left out of the mean.
    loss = forward(**inputs).loss
    loss.backward()
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    return loss.item()


def answer(value):
    print(json.dumps(value), flush=True)


def peak():
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) * 1024 for line in status if line.startswith("VmHWM:"))


versions = f"torch {torch.__version__}, transformers {transformers.__version__}, peft {peft.__version__}"
answer({"version": versions, "loadSeconds": load_seconds, "startSeconds": start_seconds})
done = 0


def train(count):
    global done
    seconds, losses = [], []
    for _ in range(count):
        start = time.perf_counter()
        losses.append(step(done % len(ids)))
        seconds.append(time.perf_counter() - start)
        done += 1
    return {"seconds": seconds, "losses": losses, "peakBytes": peak()}


@torch.no_grad()
def generate(count):
    """Greedy tokens after the prompts of the first batch, with the key-value cache."""
    model.eval()
    prompt = ids[0]
    if pixels is not None:
        prompt = prompt[:, : int((labels[0][0] != -100).nonzero()[0])]
    inputs = {"input_ids": prompt, "attention_mask": torch.ones_like(prompt)}
    if pixels is not None:
        inputs["pixel_values"] = pixels[0]
    if mode == "compile":
        # transformers compiles the pass of a token where the cache has a fixed size; on a CPU it has to be told.
        compiled = transformers.CompileConfig(fullgraph=False)
        compiled._compile_all_devices = True
        inputs.update(cache_implementation="static", compile_config=compiled)
    start = time.perf_counter()
    out = model.generate(**inputs, max_new_tokens=count, min_new_tokens=count, do_sample=False, eos_token_id=None, pad_token_id=3)
    seconds = time.perf_counter() - start
    model.train()
    return {"seconds": seconds, "tokens": out[:, prompt.shape[1] :].tolist()}


for line in sys.stdin:
    what, count = line.split()
    try:
        answer(train(int(count)) if what == "train" else generate(int(count)))
    except Exception as error:
        if mode != "compile":
            raise
        answer({"failed": f"{type(error).__name__}: {str(error).strip().splitlines()[0][:200]}", "seconds": 0, "tokens": []})
