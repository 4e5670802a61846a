"""Turns the task bank of the authors' released code (github.com/chanceche/LiLoRA, format `lilora-task-bank-v2`) into a
safetensors file that `lilora bank import` reads, and back.

    python released_bank.py import OUTPUT_DIR bank.safetensors      # the folder that their training wrote
    python released_bank.py export bank.safetensors OUTPUT_DIR      # for their load_lilora_task_bank

Needs torch and safetensors. The bank is a pickle; it is read with `weights_only`, which makes tensors and plain containers and
runs nothing. Tensors keep their names, numbers and type; what they mean is checked by `lilora bank import`.
"""

import argparse
import json
import sys
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import save_file

FORMAT = "lilora-task-bank-v2"
BANK = "lilora_task_bank.bin"
CONFIG = "adapter_config.json"
SHARED = ("lora_share_A", "lora_share_B")
SPECIFIC = ("lora_specific_A", "lora_specific_B")
NUMBERS = ("r", "lora_alpha", "sub_rank")


class Refused(Exception):
    pass


def check_dict(value, what):
    if not isinstance(value, dict) or not all(isinstance(key, str) for key in value):
        raise Refused(f"{what} is no dictionary of names")
    return value


def check_tensor(value, what):
    if not isinstance(value, torch.Tensor) or not value.is_floating_point():
        raise Refused(f"{what} is no tensor of floating-point numbers")
    # Parts of one storage would be written whole, each time.
    return value.detach().cpu().contiguous().clone()


def import_bank(folder, target):
    path = folder / BANK if folder.is_dir() else folder
    try:
        bank = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        # What torch says here proposes to read it without the check.
        raise Refused(f"{path} holds something else than tensors in plain containers, or is damaged") from error
    check_dict(bank, path)
    wanted = {"format", *SHARED, *SPECIFIC, "task_order"}
    if bank.get("format") != FORMAT:
        raise Refused(f"{path} has the format {bank.get('format')!r}; {FORMAT!r} is read")
    if set(bank) != wanted:
        raise Refused(f"{path}: the keys {sorted(set(bank) ^ wanted)} are missing or unknown")
    tensors = {}
    for group in SHARED:
        for key, value in check_dict(bank[group], group).items():
            tensors[f"{group}/{key}"] = check_tensor(value, f"{group}[{key!r}]")
    for group in SPECIFIC:
        for task, of_task in check_dict(bank[group], group).items():
            for key, value in check_dict(of_task, f"{group}[{task!r}]").items():
                tensors[f"{group}/{task}/{key}"] = check_tensor(value, f"{group}[{task!r}][{key!r}]")
    order = bank["task_order"]
    if not isinstance(order, list) or not all(isinstance(task, str) for task in order):
        raise Refused(f"{path}: task_order is no list of names")
    config = json.loads((path.parent / CONFIG).read_text())
    if config.get("peft_type") != "LILORA":
        raise Refused(f"{path.parent / CONFIG}: peft_type is {config.get('peft_type')!r}, not 'LILORA'")
    numbers = {name: config[name] for name in NUMBERS}
    metadata = {"format": FORMAT, "task_order": json.dumps(order), "config": json.dumps(numbers)}
    save_file(tensors, target, metadata)
    print(f"{len(order)} task(s), {len(tensors)} tensors: {target}")


def export_bank(source, folder):
    with safe_open(source, framework="pt") as file:
        metadata = file.metadata() or {}
        if metadata.get("format") != FORMAT:
            raise Refused(f"{source} has the format {metadata.get('format')!r}; {FORMAT!r} is written by `lilora bank export`")
        tensors = {name: file.get_tensor(name) for name in file.keys()}
    bank = {"format": FORMAT, **{group: {} for group in (*SHARED, *SPECIFIC)}, "task_order": json.loads(metadata["task_order"])}
    modules = set()
    for name, tensor in tensors.items():
        group, _, key = name.partition("/")
        if group in SHARED:
            bank[group][key] = tensor
            modules.add(key.removeprefix("base_model.model.").split(".lora_")[0])
        else:
            task, _, key = key.partition("/")
            bank[group].setdefault(task, {})[key] = tensor
    # As their training names them: the last part of a path, the projector's with its number.
    targets = sorted({".".join(path.split(".")[-2:]) if "mm_projector" in path else path.split(".")[-1] for path in modules})
    config = {
        "base_model_name_or_path": None, "bias": "none", "fan_in_fan_out": False, "inference_mode": True,
        "init_lora_weights": True, "layers_pattern": None, "layers_to_transform": None, "lora_dropout": 0.0,
        "modules_to_save": None, "peft_type": "LILORA", "revision": None, "target_modules": targets,
        "task_id": int(bank["task_order"][-1]), "task_type": "CAUSAL_LM_LILORA", **json.loads(metadata["config"]),
    }  # fmt: skip
    folder.mkdir(parents=True, exist_ok=True)
    torch.save(bank, folder / BANK)
    (folder / CONFIG).write_text(json.dumps(config, indent=2) + "\n")
    print(f"{len(bank['task_order'])} task(s), {len(tensors)} tensors: {folder}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("direction", choices=["import", "export"])
    parser.add_argument("source", type=Path)
    parser.add_argument("target", type=Path)
    arguments = parser.parse_args()
    try:
        (import_bank if arguments.direction == "import" else export_bank)(arguments.source, arguments.target)
    except (Refused, OSError, KeyError) as error:
        sys.exit(f"refused: {error}")


if __name__ == "__main__":
    main()
