"""Golden numbers of learning/methods/treelora/treelora.test.ts: tree, search and penalty. Needs NumPy."""

import numpy as np


def unit(v):
    return v / np.linalg.norm(v)


def vector(*at):
    return unit(np.array([np.sin(1 + 3 * at[0] + 5 * at[1] + 7 * i + 11 * (at[2] if len(at) > 2 else 0)) for i in range(3)]))


tasks, layers, rounds = 6, 4, 12
known = np.array([[vector(t, layer) for layer in range(layers)] for t in range(tasks)])
seen = np.array([[unit(vector(4, layer) + 0.8 * vector(9, layer, k)) for layer in range(layers)] for k in range(rounds)])
D = np.concatenate([known[:1], np.diff(known, axis=0)])


def split(group, depth):
    if len(group) < 2 or depth == layers:
        return group
    own = D[group, depth]
    similar = own @ own.mean(0)
    high = similar >= np.median(similar)
    halves = [[t for t, h in zip(group, high) if h == side] for side in (True, False)]
    return [split(half, depth + 1) for half in halves if half]


print("tree", split(list(range(tasks)), 0))

group, depth, found = list(range(tasks)), 0, []
for layer in range(layers):
    distances = {t: [] for t in group}
    for k in range(rounds):
        bound = lambda t: -np.inf if not distances[t] else np.mean(distances[t]) - np.sqrt(np.log(2 * rounds * (k + 1) * (k + 2))) / np.sqrt(2 * len(distances[t]))
        t = min(group, key=bound)
        distances[t].append(np.linalg.norm(seen[k, layer] - known[t, layer]))
    best = min(group, key=lambda t: np.mean(distances[t]) if distances[t] else np.inf)
    found.append(best)
    if len(group) > 1:
        own = D[group, layer]
        similar = own @ own.mean(0)
        high = similar >= np.median(similar)
        group = [t for t, h in zip(group, high) if h == high[group.index(best)]]
print("search", found)

start, A, guide = np.array([[1.0, -2.0], [0.5, 0.0]]), np.array([[0.8, -1.5], [0.9, -0.1]]), unit(np.array([[1.0, 0.0], [-1.0, 2.0]]))
weight, progress = 0.5, 0.4


def cosine(moved):
    return (moved * guide).sum() / np.sqrt((moved**2).sum() + 1e-4 * (start**2).sum())


def penalty(A):
    return -weight * progress * cosine(start - A)


gradient = np.zeros(4)
for i in range(4):
    step = np.zeros(4)
    step[i] = 1e-6
    step = step.reshape(2, 2)
    gradient[i] = (penalty(A + step) - penalty(A - step)) / 2e-6
print("penalty", penalty(A), "gradient", gradient.tolist(), "values", -weight * progress * cosine(A))
