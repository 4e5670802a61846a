"""Golden numbers of learning/methods/lwf/lwf.test.ts: the divergence of two answers and its gradient. Needs NumPy."""

import numpy as np

new = np.array([[1.0, -0.5, 2.0], [0.0, 0.25, -1.0], [3.0, 1.0, 1.0]])
old = np.array([[0.5, 0.5, 1.0], [2.0, -1.0, 0.0], [3.0, 1.0, 1.0]])
weights = np.array([0.5, 0.25, 0.25])
temperature, weight = 2.0, 1.5


def softmax(x):
    e = np.exp(x / temperature - (x / temperature).max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


def loss(x):
    p, q = softmax(old), softmax(x)
    return weight * temperature**2 * (weights * (p * np.log(p / q)).sum(axis=1)).sum()


def slope(i, j, h=1e-6):
    step = np.zeros_like(new)
    step[i, j] = h
    return (loss(new + step) - loss(new - step)) / (2 * h)


print("loss", loss(new))
print("gradient", [[round(float(slope(i, j)), 8) for j in range(3)] for i in range(3)])
