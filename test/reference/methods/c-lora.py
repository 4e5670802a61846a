"""Forward, overlap and its gradient in the new routing (arXiv 2502.17920; the overlap is our reading)."""
import numpy as np
from wave import show, wave

A, B, old, new = wave(1, 2, 4), wave(2, 3, 2), wave(3, 2, 2), wave(4, 2, 2)
x = wave(5, 2, 4)
show("y", x @ A.T @ (old + new).T @ B.T * 3)
columns = (B @ old).T @ (B @ new)
rows = (old @ A) @ (new @ A).T
show("overlaps", [np.sum(columns**2), np.sum(rows**2)])
show("gradient of columns", 2 * (B.T @ B @ old) @ columns)
show("gradient of rows", 2 * rows.T @ (old @ A) @ A.T)
