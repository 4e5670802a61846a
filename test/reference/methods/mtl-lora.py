"""Forward with full and diagonal matrices (arXiv 2410.09437)."""
import numpy as np
from wave import show, wave

A, B, w = wave(1, 2, 4), wave(2, 3, 3, 2), wave(3, 3) / 5
x = wave(4, 2, 4)
share = np.exp(w / 0.1) / np.exp(w / 0.1).sum()
mixed = np.einsum("n,nor->or", share, B)
show("y, full", x @ A.T @ wave(5, 2, 2).T @ mixed.T * 3)
show("y, diagonal", x @ A.T @ np.diag(wave(5, 2)) @ mixed.T * 3)
show("drift", np.sum((A - wave(6, 2, 4)) ** 2) + np.sum((B - wave(7, 3, 3, 2)) ** 2))
