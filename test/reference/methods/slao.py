"""Start of a task and merging after it (arXiv 2512.23017), two tasks after the first."""
import numpy as np
from wave import show, wave

A1, B1 = wave(1, 2, 4), wave(2, 3, 2)
B2, B3 = wave(3, 3, 2), wave(4, 3, 2)
Q, R = np.linalg.qr(A1.T)
show("A start", (Q * np.sign(np.diag(R))).T)
merged = B1
for i, B in [(2, B2), (3, B3)]:
    merged = merged + (B - merged) / np.sqrt(i)
show("B after three", merged)
show("B after three, 1/i", (B1 + B2 + B3) / 3)
