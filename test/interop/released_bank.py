"""Writes a bank by the definition of the authors' released format, brings it into the product and out again, and compares:
a part of compare.py.

usage: released_bank.py DIR, to write what the unit tests read (test/fixtures/released-bank).
"""

import json
import os
import pickle
import subprocess
import sys
import tempfile
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = ROOT / "infra" / "python" / "released_bank.py"
R, ALPHA, Q = 4, 8, 2
#: Their modules, with the sizes in and out.
MODULES = {
    "model.layers.0.mlp.gate_proj": (6, 10),
    "model.layers.0.mlp.down_proj": (10, 6),
    "model.layers.11.mlp.up_proj": (6, 10),
    "model.mm_projector.0": (5, 6),
    "model.mm_projector.2": (6, 6),
}
OURS = {"model.mm_projector.0": "model.multi_modal_projector.linear_1", "model.mm_projector.2": "model.multi_modal_projector.linear_2"}
NAMES = ["sqa", "textvqa", "flickr30k"]


def write_bank(folder, tasks, dtype):
    """As their save_lilora_task_bank leaves it after the last task: keys of `named_parameters`, one dictionary per part."""
    draw = torch.Generator().manual_seed(7)

    def parameter(*shape):
        return torch.randn(*shape, generator=draw).to(dtype)

    bank = {"format": "lilora-task-bank-v2", "lora_share_A": {}, "lora_share_B": {}, "lora_specific_A": {}, "lora_specific_B": {}, "task_order": tasks}
    for module, (inputs, out) in MODULES.items():
        path = f"base_model.model.{module}"
        bank["lora_share_A"][f"{path}.lora_share_A.default.weight"] = parameter(R, inputs)
        bank["lora_share_B"][f"{path}.lora_share_B.default.weight"] = parameter(out, R)
        for task in tasks:
            of_task = bank["lora_specific_A"].setdefault(task, {})
            of_task[f"{path}.lora_specific_A.default.{task}.weight"] = parameter(Q, R)
            of_task = bank["lora_specific_B"].setdefault(task, {})
            of_task[f"{path}.lora_specific_B.default.{task}.weight"] = parameter(out, Q)
            of_task[f"{path}.lora_specific_B.default.{task}.fusion"] = parameter(1)
    folder.mkdir(parents=True, exist_ok=True)
    torch.save(bank, folder / "lilora_task_bank.bin")
    config = {"peft_type": "LILORA", "r": R, "lora_alpha": ALPHA, "sub_rank": Q, "task_id": int(tasks[-1]), "lora_dropout": 0.05}
    (folder / "adapter_config.json").write_text(json.dumps(config))
    return bank


def deltas(bank, task):
    """ΔW of every module, [out, in], in float64."""
    result = {}
    for module in MODULES:
        path = f"base_model.model.{module}"
        share_a = bank["lora_share_A"][f"{path}.lora_share_A.default.weight"].double()
        share_b = bank["lora_share_B"][f"{path}.lora_share_B.default.weight"].double()
        own_a = bank["lora_specific_A"][task][f"{path}.lora_specific_A.default.{task}.weight"].double()
        own_b = bank["lora_specific_B"][task][f"{path}.lora_specific_B.default.{task}.weight"].double()
        fusion = torch.sigmoid(bank["lora_specific_B"][task][f"{path}.lora_specific_B.default.{task}.fusion"].double())
        result[module] = ALPHA / R * ((fusion * share_b + (1 - fusion) * (own_b @ own_a)) @ share_a)
    return result


def convert(*arguments):
    return subprocess.run([sys.executable, SCRIPT, *arguments], capture_output=True, text=True)


def round_trip(lilora, check, work, dtype):
    # Task 10 beside task 1: names of tasks are not to be told apart by how they begin.
    tasks = ["0", "1", "10"]
    bank = write_bank(work / "theirs", tasks, dtype)
    name = str(dtype).removeprefix("torch.")
    run = lambda *arguments: subprocess.run([*lilora, "bank", *map(str, arguments)], capture_output=True, text=True)
    said = convert("import", work / "theirs", work / "in.safetensors")
    check(f"{name}: the pickle becomes safetensors", said.returncode == 0, (said.stdout + said.stderr).strip())
    said = run("import", work / "in.safetensors", work / "ours", "--tasks", *NAMES)
    check(f"{name}: lilora bank import", said.returncode == 0, (said.stdout + said.stderr).strip())
    for task, ours in zip(tasks, NAMES):
        adapter = load_file(work / "ours" / ours / "adapter_model.safetensors")
        scale = json.loads((work / "ours" / ours / "adapter_config.json").read_text())
        worst = 0
        for module, wanted in deltas(bank, task).items():
            path = f"base_model.model.{OURS.get(module, module.replace('model.', 'model.language_model.', 1))}"
            pair = [adapter.pop(f"{path}.lora_{half}.weight").double() for half in "BA"]
            found = scale["lora_alpha"] / scale["r"] * (pair[0] @ pair[1])
            worst = max(worst, ((found - wanted).abs().max() / wanted.abs().max()).item())
        check(f"{name}, task {task}: the adapter computes the same", worst < 1e-6 and not adapter, f"{worst:.1e} apart")
    said = run("export", work / "ours" / "bank.safetensors", work / "out.safetensors")
    check(f"{name}: lilora bank export", said.returncode == 0, (said.stdout + said.stderr).strip())
    said = convert("export", work / "out.safetensors", work / "back")
    check(f"{name}: safetensors become their pickle", said.returncode == 0, (said.stdout + said.stderr).strip())
    back = torch.load(work / "back" / "lilora_task_bank.bin", weights_only=True)
    # Tasks are numbered anew, in their order.
    renamed = lambda key, task, number: key.replace(f".default.{task}.", f".default.{number}.")
    same = back["task_order"] == ["0", "1", "2"]
    for group in ("lora_share_A", "lora_share_B"):
        same &= set(back[group]) == set(bank[group]) and all(torch.equal(back[group][k], v.float()) for k, v in bank[group].items())
    for group in ("lora_specific_A", "lora_specific_B"):
        for number, task in enumerate(tasks):
            theirs = {renamed(key, task, number): value for key, value in bank[group][task].items()}
            of_task = back[group][str(number)]
            same &= set(of_task) == set(theirs) and all(torch.equal(of_task[k], v.float()) for k, v in theirs.items())
    check(f"{name}: what comes back is what went in, bit by bit", same)
    config = json.loads((work / "back" / "adapter_config.json").read_text())
    targets = ["down_proj", "gate_proj", "mm_projector.0", "mm_projector.2", "up_proj"]
    check(f"{name}: their configuration", [config[k] for k in ("r", "lora_alpha", "sub_rank", "target_modules")] == [R, ALPHA, Q, targets])


def refusals(lilora, check, work):
    bank = write_bank(work / "bad", ["0"], torch.float32)
    path = work / "bad" / "lilora_task_bank.bin"

    class Attack:
        def __reduce__(self):
            return (os.mkdir, (str(work / "attacked"),))

    for name, spoiled in {"a pickle that runs something": {**bank, "task_order": Attack()}, "a plain pickle": None}.items():
        if spoiled is None:
            path.write_bytes(pickle.dumps({**bank, "task_order": Attack()}))
        else:
            torch.save(spoiled, path)
        said = convert("import", work / "bad", work / "bad.safetensors")
        check(f"{name} is refused, and does nothing", said.returncode != 0 and "refused" in said.stderr and not (work / "attacked").exists(), said.stderr.strip())
    for name, spoiled in {
        "another format": {**bank, "format": "lilora-task-bank-v1"},
        "a missing dictionary": {key: value for key, value in bank.items() if key != "lora_share_B"},
        "an unknown dictionary": {**bank, "optimizer": {}},
        "no tensor": {**bank, "lora_share_A": {"a": "text"}},
    }.items():
        torch.save(spoiled, path)
        said = convert("import", work / "bad", work / "bad.safetensors")
        check(f"{name} is refused", said.returncode != 0 and said.stderr.startswith("refused: "), said.stderr.strip())
    # Their own loader leaves missing and unknown tensors out without a word.
    key = next(iter(bank["lora_specific_B"]["0"]))
    for name, edit in {
        "a missing tensor": lambda group: group.pop(key),
        "an unknown tensor": lambda group: group.update({key.replace("gate_proj", "gate_prj"): group[key]}),
    }.items():
        spoiled = write_bank(work / "bad", ["0"], torch.float32)
        edit(spoiled["lora_specific_B"]["0"])
        torch.save(spoiled, path)
        convert("import", work / "bad", work / "bad.safetensors")
        said = subprocess.run([*lilora, "bank", "import", str(work / "bad.safetensors"), str(work / "never")], capture_output=True, text=True)
        check(f"{name} is refused by name", said.returncode == 1 and key.split(".mlp")[0] in said.stderr and not (work / "never").exists(), said.stderr.strip())


def fixture(folder):
    tasks = ["0", "1", "10"]
    bank = write_bank(folder, tasks, torch.bfloat16)
    said = convert("import", folder, folder / "bank.safetensors")
    assert said.returncode == 0, said.stderr
    save_file({f"{task}/{module}": value.float().contiguous() for task in tasks for module, value in deltas(bank, task).items()}, folder / "deltas.safetensors")
    (folder / "lilora_task_bank.bin").unlink()
    (folder / "adapter_config.json").unlink()


def compare_banks(lilora, check):
    """`lilora` is the command line of the product; `check` takes a name, whether it holds, and what was found."""
    with tempfile.TemporaryDirectory() as folder:
        for dtype in (torch.float32, torch.bfloat16):
            round_trip(lilora, check, Path(folder) / str(dtype), dtype)
        refusals(lilora, check, Path(folder))


if __name__ == "__main__":
    fixture(Path(sys.argv[1]))
