"""Golden numbers of learning/methods/ortho-lora/ortho-lora.test.ts: three gradients of two matrices. Needs NumPy."""

import numpy as np

A = [np.array([[1.0, -2.0]]), np.array([[-1.0, 0.5]]), np.array([[0.25, 1.0]])]
B = [np.array([[0.5], [1.0]]), np.array([[1.0], [0.25]]), np.array([[-2.0], [0.5]])]


def reconcile(vectors):
    total = np.zeros_like(vectors[0])
    for i, own in enumerate(vectors):
        g = own.copy()
        for j, other in enumerate(vectors):
            if i != j and g @ other < 0:
                g -= g @ other / (other @ other) * other
        total += g
    return total


print("matrix A", reconcile([a.ravel() for a in A]).tolist())
print("matrix B", reconcile([b.ravel() for b in B]).tolist())
print("global", reconcile([np.concatenate([a.ravel(), b.ravel()]) for a, b in zip(A, B)]).tolist())
