"""Golden numbers of learning/methods/merge.test.ts: two ΔW of one layer, merged by PEFT 0.21. Needs PyTorch and PEFT."""

import torch
from peft.utils.merge_utils import ties

A = [torch.tensor([[1.1, -0.53, 0.27], [0.51, 2.0, -1.03]]), torch.tensor([[0.77, 1.52, -0.23], [-1.0, 0.47, 0.125]])]
B = [
    torch.tensor([[0.5, 1.0], [-1.0, 0.25], [2.0, 0.0], [0.125, -0.75]]),
    torch.tensor([[1.0, -0.5], [0.25, 2.0], [-1.5, 0.5], [0.0, 1.25]]),
]
deltas = [2 * b @ a for a, b in zip(A, B)]  # alpha / rank = 2
print("linear", (0.75 * deltas[0] + 0.25 * deltas[1]).flatten().tolist())
print("ties 0.5", ties(deltas, torch.tensor([1.0, 1.0]), 0.5).flatten().tolist())
print("ties 0.25", ties(deltas, torch.tensor([2.0, 0.5]), 0.25).flatten().tolist())
