"""Golden numbers of learning/methods/ewc/ewc.test.ts: penalty of one layer and its gradient. Needs NumPy."""

import numpy as np

A, A0 = np.array([[0.5, -1.0], [2.0, 0.25]]), np.array([[0.25, -0.5], [1.0, 1.25]])
B, B0 = np.array([[1.0, -0.5], [0.0, 3.0], [-2.0, 0.75]]), np.array([[0.5, 0.5], [1.0, 2.0], [-1.5, 0.25]])
FA, FB = np.array([[0.1, 2.0], [0.0, 0.5]]), np.array([[1.0, 0.25], [4.0, 0.0], [0.5, 3.0]])
weight = 7.0

moved = [A - A0, B - B0]
print("penalty", weight / 2 * sum((F * d**2).sum() for F, d in zip([FA, FB], moved)))
print("gradient A", (weight * FA * moved[0]).tolist())
print("gradient B", (weight * FB * moved[1]).tolist())
