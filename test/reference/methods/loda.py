"""Golden numbers of learning/methods/loda/loda.test.ts: subspaces of two tasks' inputs. Needs NumPy."""

import numpy as np

old_x = np.array([[2.0, 0.5, 0.0, 0.1], [1.5, -0.4, 0.2, 0.0], [-1.0, 0.3, 0.1, 0.2], [0.4, 1.0, -0.1, 0.1], [0.2, 0.1, 0.3, -0.2]])
new_x = np.array([[0.5, 0.2, 1.5, 0.3], [1.0, -0.6, -1.0, 0.8], [0.3, 0.1, 0.7, -1.2], [-0.8, 0.4, 0.6, 0.5]])
S_old, S_new, r, epsilon = old_x.T @ old_x, new_x.T @ new_x, 2, 1e-3
print("S_old", S_old.round(6).tolist())
print("S_new", S_new.round(6).tolist())

values, vectors = np.linalg.eigh(S_old + S_new)
A_G = vectors[:, ::-1][:, :r].T
print("A_G projector", (A_G.T @ A_G).tolist())

L = np.linalg.cholesky(S_old + epsilon * np.trace(S_old) / 4 * np.eye(4))
Li = np.linalg.inv(L)
values, vectors = np.linalg.eigh(Li @ S_new @ Li.T)
A_I = np.linalg.qr(Li.T @ vectors[:, ::-1][:, :r])[0].T
print("A_I projector", (A_I.T @ A_I).tolist())

# Least squares, by brute force over the entries of Lambda: || Lambda A_G X_old ||^2 + || (Lambda - I) A_G X_new ||^2.
rows = np.concatenate([np.kron(np.eye(r), (A_G @ old_x.T).T), np.kron(np.eye(r), (A_G @ new_x.T).T)])
target = np.concatenate([np.zeros(r * len(old_x)), (A_G @ new_x.T).ravel()])
Lambda = np.linalg.lstsq(rows, target, rcond=None)[0].reshape(r, r)
print("A_G^T Lambda A_G", (A_G.T @ Lambda @ A_G).tolist())
