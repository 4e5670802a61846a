"""Golden numbers of learning/methods/lines/lines.test.ts: the released code's rules on small arrays. Needs NumPy."""

import numpy as np

L, alpha, beta = 4, 0.3, 0.7
print("factors", [alpha + beta * layer / (L - 1) for layer in range(L)], "outside", alpha)

A1, B1 = np.array([[1.0, -2.0, 0.5]]), np.array([[2.0], [-1.0]])
A2, B2 = np.array([[0.5, 1.5, 2.0]]), np.array([[1.0], [3.0]])
task1, task2 = B1 @ A1, B2 @ A2
merged = np.where(np.abs(task1) > np.abs(task2), task1, task2)
u, s, vt = np.linalg.svd(merged)
print("merged B", (u[:, :2] * s[:2]).tolist(), "A", vt[:2].tolist())
print("alpha", np.abs(task1 + task2).sum() / np.abs(merged).sum() / 2)
