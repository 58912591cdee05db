"""The aggregators in float64, written from their papers: rows of `x` are the sites' changes, `p` their shares."""
import numpy as np


def median(x, p):
    return np.median(x, axis=0)


def trimmed_mean(x, p, trim=0.2):
    k = int(trim * len(x) + 1e-9)
    return np.sort(x, axis=0)[k:len(x) - k].mean(axis=0)


def norm_clipping(x, p, bound=0.0):
    norms = np.linalg.norm(x, axis=1)
    bound = bound or np.median(norms)
    return p @ (x * np.minimum(1, bound / norms)[:, None])


def geometric_median(x, p, smoothing=1e-6, iterations=1000):
    """Pillutla et al. 2019: Weiszfeld's iterations on the points themselves."""
    z = p @ x
    for _ in range(iterations):
        w = p / np.maximum(smoothing, np.linalg.norm(x - z, axis=1))
        z = w / w.sum() @ x
    return z


def _scores(x, f):
    d = ((x[:, None] - x[None]) ** 2).sum(-1)
    near = max(len(x) - f - 2, 1)
    return [np.sort(np.delete(d[i], i))[:near].sum() for i in range(len(x))]


def krum(x, p, f):
    """Blanchard et al. 2017."""
    return x[np.argmin(_scores(x, f))]


def multi_krum(x, p, f):
    return x[np.argsort(_scores(x, f), kind="stable")[:len(x) - f]].mean(axis=0)


def bulyan(x, p, f):
    """El Mhamdi et al. 2018: n - 2f by Krum one after another, then per coordinate the n - 4f nearest to the median."""
    left, chosen = list(range(len(x))), []
    for _ in range(len(x) - 2 * f):
        best = left[int(np.argmin(_scores(x[left], f)))]
        chosen.append(best)
        left.remove(best)
    s = x[sorted(chosen)]
    nearest = np.argsort(np.abs(s - np.median(s, axis=0)), axis=0, kind="stable")[:len(s) - 2 * f]
    return np.take_along_axis(s, nearest, axis=0).mean(axis=0)
