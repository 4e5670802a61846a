"""Forward, whole and with ranks being chosen (arXiv 2504.08823)."""
import numpy as np
from wave import show, wave

A, B, M, N = wave(1, 3, 4), wave(2, 2, 3), wave(3, 3, 3), wave(4, 3, 3)
x, logits = wave(5, 2, 4), wave(6, 2)
show("y", x @ A.T @ N.T @ M.T @ B.T * 2)
p = np.exp(logits) / np.exp(logits).sum()
reach = p[0] * np.array([1, 0, 0]) + p[1] * np.array([1, 1, 1])
show("open", reach)
show("y, choosing", x @ A.T @ N.T @ np.diag(reach) @ M.T @ B.T * 2)
