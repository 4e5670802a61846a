"""Makes test/fixtures/llava-gqa/patterns: an adapter of PEFT with ranks and alphas of single layers (rank_pattern,
alpha_pattern) and rsLoRA's scale, as PEFT saves it, and ten steps of AdamW from it on the case `train`.

usage: patterns.py (the Python environment of run.sh). Float32, eager attention.
"""

import json
from pathlib import Path

import torch
from peft import LoraConfig, get_peft_model
from safetensors.torch import load_file, save_file
from transformers import AutoModelForImageTextToText

here = Path(__file__).parent.parent / "fixtures/llava-gqa"
out = here / "patterns"
torch.manual_seed(0)

base = AutoModelForImageTextToText.from_pretrained(here / "model", dtype=torch.float32, attn_implementation="eager")
config = LoraConfig(
    r=4,
    lora_alpha=6,
    use_rslora=True,
    target_modules=["gate_proj", "up_proj", "down_proj", "linear_1", "linear_2"],
    # A name, an expression within a path, and a whole path.
    rank_pattern={"down_proj": 2, r"layers\.0\.mlp\.(gate|up)_proj": 6, "model.multi_modal_projector.linear_1": 3},
    alpha_pattern={"linear_[12]": 5, "up_proj": 9},
    init_lora_weights=False,
)
model = get_peft_model(base, config).eval()
for name, parameter in model.named_parameters():
    if "lora_" in name:
        torch.nn.init.normal_(parameter, std=0.1)
model.save_pretrained(out / "adapter")

inputs = load_file(here / "inputs.safetensors")


def case(name):
    found = {key.removeprefix(f"{name}/"): tensor for key, tensor in inputs.items() if key.startswith(f"{name}/")}
    return {key: tensor.long() if tensor.dtype == torch.int32 else tensor for key, tensor in found.items()}


def last_logits(name):
    given = case(name)
    given.pop("labels", None)
    with torch.no_grad():
        logits = model(**given).logits
    last = given["attention_mask"].shape[1] - 1 - given["attention_mask"].flip(1).argmax(1)
    return logits[torch.arange(len(last)), last]


arrays = {f"{name}/logits_last": last_logits(name).contiguous() for name in ("one", "pair-right")}

train = case("train")
labels = train.pop("labels")
trained = [p for p in model.parameters() if p.requires_grad]
optimizer = torch.optim.AdamW(trained, lr=1e-3, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.01)
losses = []
for step in range(11):
    logits = model(**train).logits
    loss = torch.nn.functional.cross_entropy(logits[:, :-1].flatten(0, 1), labels[:, 1:].flatten(), ignore_index=-100)
    losses.append(loss.item())
    if step == 10:
        break
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
model.save_pretrained(out / "adapter-trained")
for folder in ("adapter", "adapter-trained"):
    (out / folder / "README.md").unlink(missing_ok=True)
    path = out / folder / "adapter_config.json"
    fields = json.loads(path.read_text())
    fields["base_model_name_or_path"] = "llava-gqa"
    path.write_text(json.dumps(fields, indent=2) + "\n")

save_file(arrays, out / "expected.safetensors")
ranks = {name: module.r["default"] for name, module in base.named_modules() if hasattr(module, "lora_A")}
scales = {name: module.scaling["default"] for name, module in base.named_modules() if hasattr(module, "lora_A")}
(out / "expected.json").write_text(json.dumps(dict(losses=losses, ranks=ranks, scales=scales), indent=1) + "\n")
print(losses, len(ranks), sum(p.numel() for p in trained))
