"""Sum of LoRAs and the orthogonality loss (arXiv 2310.14152), with two earlier tasks."""
import numpy as np
from wave import show, wave

A = [wave(s, 2, 4) for s in (1, 2, 3)]
B = [wave(s, 3, 2) for s in (4, 5, 6)]
x = wave(7, 2, 4)
show("y", sum(x @ a.T @ b.T for a, b in zip(A, B)) * 3)
raw = sum(np.abs(a @ A[2].T).sum() for a in A[:2])
show("overlap", [raw, raw / 4])
show("gradient", sum(np.sign(a @ A[2].T).T @ a for a in A[:2]))
show("norms", np.linalg.norm(A[2]) + np.linalg.norm(B[2]))
