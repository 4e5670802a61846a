"""Gates, forward and overlap of rank-1 experts (arXiv 2601.22828): 4 experts, 2 open, 2 kept, 3 samples."""
import numpy as np
from wave import show, wave

A, B, R, c = wave(1, 4, 5), wave(2, 3, 4), wave(3, 4, 5), wave(4, 4)
past_A, past_B = wave(5, 2, 5), wave(6, 3, 2)
x = wave(7, 3, 2, 5) * np.array([1, -1, 1])[:, None, None]
p = np.array([np.exp(R @ x[n].mean(0) + c) / np.exp(R @ x[n].mean(0) + c).sum() for n in range(3)])
own = np.zeros((3, 4))
for n in range(3):
    own[n, np.argsort(-p[n])[:2]] = 1
print("own", own.tolist())
votes = own.sum(0) + p.mean(0)
batch = np.zeros(4)
batch[np.argsort(-votes)[:2]] = 1
print("batch", batch)


def forward(mask, weighted):
    w = mask * p if weighted else np.broadcast_to(mask, (3, 4)).astype(float)
    w = w * 2 / w.sum(1, keepdims=True)
    z = np.einsum("nti,ri->ntr", x, A) * w[:, None, :]
    return 3 * (np.einsum("ntr,or->nto", z, B) + np.einsum("nti,ri,or->nto", x, past_A, past_B))


show("gates", batch * p * 2 / (batch * p).sum(1, keepdims=True))
show("y, batch, weighted", forward(batch, True))
show("y, sample, unweighted", forward(own, False))
strength = np.linalg.norm(A, axis=1) * np.linalg.norm(B, axis=0)
top = np.argsort(-strength)[:2]
print("strongest", top)
show("overlap", np.abs(past_B.T @ B[:, top]).sum())
