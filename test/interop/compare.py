"""Loads what `publish.ts` published with PEFT on transformers and compares it with what the product computes; an adapter with
ranks and alphas of single layers (patterns.ts); and banks of the authors' released code (released_bank.py).

usage: compare.py WORK..., with cases.json and logits.safetensors in each. Ends with the line `N passed, N failed`.
"""

import json
import subprocess
import sys
import tempfile
import warnings
from pathlib import Path

import torch
from peft import PeftModel
from PIL import Image
from released_bank import compare_banks
from safetensors.torch import load_file
from transformers import AutoImageProcessor, AutoModelForImageTextToText, AutoProcessor

TOLERANCE = 2e-4

passed = failed = 0


def check(name, holds, found=""):
    global passed, failed
    passed, failed = passed + bool(holds), failed + (not holds)
    print(f"{'ok  ' if holds else 'FAIL'} {name}{f': {found}' if found != '' else ''}")


torch.manual_seed(0)


def compare(work):
    cases = json.loads((work / "cases.json").read_text())
    ours = load_file(work / "logits.safetensors")
    processor = AutoProcessor.from_pretrained(cases["model"])
    # Images as Pillow resizes them; torchvision is off by a grey level here and there.
    processor.image_processor = AutoImageProcessor.from_pretrained(cases["model"], backend="pil")
    for task, folder in cases["adapters"].items():
        base = AutoModelForImageTextToText.from_pretrained(cases["model"], dtype=torch.float32)
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")
            model = PeftModel.from_pretrained(base, folder).eval()
        about_keys = [str(w.message) for w in said if "key" in str(w.message).lower()]
        check(f"{task}: PEFT loads every key, and no other", not about_keys, "; ".join(about_keys))
        adapted = [name for name, module in model.named_modules() if hasattr(module, "lora_A")]
        tensors = load_file(f"{folder}/adapter_model.safetensors")
        check(f"{task}: every tensor has its layer", len(tensors) == 2 * len(adapted) > 0, f"{len(adapted)} layers")

        for case in cases["prompts"][task]:
            name = f"{task}/{case['id']}"
            image = Image.open(case["image"]).convert("RGB")
            messages = [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": case["text"]}]}]
            prompt = processor.apply_chat_template(messages, add_generation_prompt=True)
            inputs = processor(images=image, text=prompt, return_tensors="pt")
            ids = inputs["input_ids"][0].tolist()
            check(f"{name}: same tokens go in", ids == case["inputIds"])
            if ids != case["inputIds"]:
                continue
            with torch.no_grad():
                logits = model(**inputs).logits[0]
                with model.disable_adapter():
                    plain = model(**inputs).logits[0]
                answer = model.generate(**inputs, max_new_tokens=case["maxNewTokens"], do_sample=False)[0, len(ids) :].tolist()
            difference = (logits - ours[name]).abs().max().item()
            check(f"{name}: same logits", difference <= TOLERANCE, f"{difference:.1e} apart, the adapter moves them by {(logits - plain).abs().max().item():.1f}")
            check(f"{name}: same answer", answer == case["answer"], repr(processor.decode(answer, skip_special_tokens=True)))


def compare_patterns():
    fixture = Path(__file__).parent.parent / "fixtures/llava-gqa"
    wanted = json.loads((fixture / "patterns/expected.json").read_text())
    logits = load_file(fixture / "patterns/expected.safetensors")["one/logits_last"]
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run(["node", "--import", "tsx", "test/interop/patterns.ts", folder], check=True)
        base = AutoModelForImageTextToText.from_pretrained(fixture / "model", dtype=torch.float32)
        model = PeftModel.from_pretrained(base, folder).eval()
    adapted = {name: module for name, module in base.named_modules() if hasattr(module, "lora_A")}
    ranks = {name: module.r["default"] for name, module in adapted.items()}
    check("patterns: PEFT has the rank of every layer", ranks == wanted["ranks"], f"{sorted(set(ranks.values()))}")
    apart = max(abs(module.scaling["default"] - wanted["scales"].get(name, 0)) for name, module in adapted.items())
    check("patterns: PEFT has the scale of every layer", apart < 1e-6, f"{apart:.1e} apart")
    inputs = {key.removeprefix("one/"): value for key, value in load_file(fixture / "inputs.safetensors").items() if key.startswith("one/")}
    inputs = {key: value.long() if value.dtype == torch.int32 else value for key, value in inputs.items() if key != "labels"}
    with torch.no_grad():
        difference = (model(**inputs).logits[:, -1] - logits).abs().max().item()
    check("patterns: same logits", difference <= TOLERANCE, f"{difference:.1e} apart")


for folder in sys.argv[1:]:
    print(folder)
    compare(Path(folder))
compare_patterns()
compare_banks(["node", "cli/lilora.mjs"], check)
print(f"{passed} passed, {failed} failed")
sys.exit(1 if failed or not passed else 0)
