"""Forward of experts that are weighed for every token (arXiv 2403.08350), expert by expert."""
import numpy as np
from wave import show, wave

A, B, R, x = wave(1, 4, 5), wave(2, 3, 4), wave(3, 2, 5), wave(4, 3, 5)
y = np.zeros((3, 3))
for t in range(3):
    share = np.exp(R @ x[t]) / np.exp(R @ x[t]).sum()
    for e in range(2):
        y[t] += 2 * share[e] * B[:, 2 * e : 2 * e + 2] @ (A[2 * e : 2 * e + 2] @ x[t])
show("y", y)
