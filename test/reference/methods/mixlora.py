"""Choice and forward of MixLoRA (arXiv 2402.15896), sample by sample: E 4 factors, r 2 of them, inputs 5, outputs 3."""
import numpy as np
from wave import show, wave

E, r = 4, 2
A, B = wave(1, E, 5), wave(2, 3, E)
WA, WB, WAB = wave(3, E, 5), wave(4, E, 5), wave(5, r, E, 5)
x = wave(6, 2, 3, 5) * np.array([1, -1])[:, None, None]
prompt = [2, 3]
softmax = lambda v: np.exp(v) / np.exp(v).sum()
relative = lambda v: v / v.mean()


def forward(conditional, weighted):
    y = np.zeros((2, 3, 3))
    for n in range(2):
        h = x[n, : prompt[n]].mean(0)
        pa = softmax(WA @ h)
        ia = np.argsort(-pa, kind="stable")[:r]
        pb = softmax(WB @ h)
        if conditional:
            pb = pb + softmax(sum(softmax(WAB[j] @ A[ia[j]]) for j in range(r)))
        ib = np.argsort(-pb, kind="stable")[:r]
        w = relative(pa[ia]) * relative(pb[ib]) if weighted else np.ones(r)
        print("  chosen", ia, ib)
        for j in range(r):
            y[n] += 8 / r * w[j] * np.outer(x[n] @ A[ia[j]], B[:, ib[j]])
    return y


show("conditional, weighted", forward(True, True))
show("plain", forward(False, False))
