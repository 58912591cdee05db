"""The workflows' algorithms in float64, written from their papers: logistic regression, full-batch steps, plain NumPy.

A model is one vector: the weights, then the bias. A site is (x, y) with x already standardised.
"""
import numpy as np


def loss(w, site):
    x, y = site
    z = x @ w[:-1] + w[-1]
    return np.mean(np.logaddexp(0, z) - y * z)


def gradient(w, site):
    x, y = site
    slack = 1 / (1 + np.exp(-(x @ w[:-1] + w[-1]))) - y
    return np.append(x.T @ slack, slack.sum()) / len(y)


def descend(w, site, steps, rate, correction=lambda w: 0.0, momentum=0.0):
    velocity = np.zeros_like(w)
    for _ in range(steps):
        velocity = momentum * velocity + gradient(w, site) + correction(w)
        w = w - rate * velocity
    return w


def shares(sites):
    counts = np.array([len(y) for _, y in sites], float)
    return counts / counts.sum()


def fedavg(w, sites, rounds, steps, rate, momentum=0.0):
    for _ in range(rounds):
        w = shares(sites) @ [descend(w, s, steps, rate, momentum=momentum) for s in sites]
    return w


def fedprox(w, sites, rounds, steps, rate, mu):
    for _ in range(rounds):
        w = shares(sites) @ [descend(w, s, steps, rate, lambda v, w=w: mu * (v - w)) for s in sites]
    return w


def fedavgm(w, sites, rounds, steps, rate, server_rate, beta):
    """Hsu et al. 2019: v = beta v + change; w = w + v."""
    v = np.zeros_like(w)
    for _ in range(rounds):
        v = beta * v + shares(sites) @ [descend(w, s, steps, rate) - w for s in sites]
        w = w + server_rate * v
    return w


def fedopt(kind, w, sites, rounds, steps, rate, server_rate, beta1=0.9, beta2=0.99, tau=1e-3):
    """Reddi et al. 2021, algorithm 2."""
    m, v = np.zeros_like(w), np.full_like(w, tau ** 2)
    for _ in range(rounds):
        d = shares(sites) @ [descend(w, s, steps, rate) - w for s in sites]
        m = beta1 * m + (1 - beta1) * d
        if kind == "adagrad":
            v = v + d ** 2
        elif kind == "yogi":
            v = v - (1 - beta2) * d ** 2 * np.sign(v - d ** 2)
        else:
            v = beta2 * v + (1 - beta2) * d ** 2
        w = w + server_rate * m / (np.sqrt(v) + tau)
    return w


def scaffold(w, sites, rounds, steps, rate, server_rate=1.0, cohorts=None, weighted=False):
    """Karimireddy et al. 2020, algorithm 1, option II. `cohorts`: the indices that train in each round.

    `weighted`: for the loss of all rows, the paper's means over the sites weigh each by its rows.
    """
    n = len(sites)
    c, own = np.zeros_like(w), [np.zeros_like(w) for _ in sites]
    for r in range(rounds):
        cohort = cohorts[r] if cohorts else range(n)
        changes, variates = [], []
        p = shares([sites[i] for i in cohort]) if weighted else np.full(len(cohort), 1 / len(cohort))
        for i in cohort:
            y = descend(w, sites[i], steps, rate, lambda _, i=i: c - own[i])
            new = own[i] - c + (w - y) / (steps * rate)
            changes.append(y - w)
            variates.append(new - own[i])
            own[i] = new
        w = w + server_rate * p @ changes
        c = c + len(changes) / n * p @ variates
    return w


def fednova(w, sites, rounds, steps, rate, momentum=0.0):
    """Wang et al. 2020; `steps` differ by site. a_i is the vector that sums a site's gradients."""
    p = shares(sites)
    for _ in range(rounds):
        lengths, directions = [], []
        for s, count in zip(sites, steps):
            a = [sum(momentum ** k for k in range(count - j)) for j in range(count)]
            lengths.append(sum(a))
            directions.append((descend(w, s, count, rate, momentum=momentum) - w) / lengths[-1])
        w = w + (p @ lengths) * (p @ directions)
    return w


def qfedavg(w, sites, rounds, steps, rate, q, lipschitz):
    """Li et al. 2020, algorithm 2."""
    for _ in range(rounds):
        changes, weights = [], []
        for s in sites:
            f = loss(w, s)
            d = lipschitz * (w - descend(w, s, steps, rate))
            changes.append(f ** q * d)
            weights.append(q * f ** (q - 1) * (d @ d) + lipschitz * f ** q)
        w = w - np.sum(changes, axis=0) / np.sum(weights)
    return w


def ditto(w, sites, rounds, steps, rate, lam):
    """Li et al. 2021: the common model, and each site's own."""
    own = [w.copy() for _ in sites]
    for _ in range(rounds):
        own = [descend(v, s, steps, rate, lambda v, w=w: lam * (v - w)) for v, s in zip(own, sites)]
        w = shares(sites) @ [descend(w, s, steps, rate) for s in sites]
    return w, own


def cyclic(w, sites, rounds, steps, rate):
    for _ in range(rounds):
        for s in sites:
            w = descend(w, s, steps, rate)
    return w


def fedbuff(w, sites, rounds, steps, rate, server_rate=1.0, log=None):
    """Nguyen et al. 2022. `log`: for each version, the (site, version trained from) whose changes made it."""
    versions = [w]
    for contributions in log:
        version = len(versions) - 1
        total = np.zeros_like(w)
        for i, base in contributions:
            total += (descend(versions[base], sites[i], steps, rate) - versions[base]) / np.sqrt(1 + version - base)
        versions.append(versions[-1] + server_rate * total / len(contributions))
    return versions[-1]


def kmeans(centers, x, rounds):
    """Lloyd 1982 on the pooled rows; a center without rows stays."""
    for _ in range(rounds):
        nearest = ((x[:, None] - centers) ** 2).sum(-1).argmin(1)
        centers = np.array([x[nearest == k].mean(0) if (nearest == k).any() else center for k, center in enumerate(centers)])
    return centers


def cox(x, time, event, rounds, ridge=0.0):
    """Breslow's partial likelihood on the pooled rows, by Newton's steps from zero: beta, and the standard errors at the last."""
    beta = np.zeros(x.shape[1])
    for _ in range(rounds):
        gradient, hessian = -ridge * beta, ridge * np.eye(len(beta))
        hazard = np.exp(x @ beta)
        for t in np.unique(time[event == 1]):
            risk, now = time >= t, (time == t) & (event == 1)
            total = hazard[risk].sum()
            mean = hazard[risk] @ x[risk] / total
            square = (hazard[risk][:, None] * x[risk]).T @ x[risk] / total
            gradient = gradient + x[now].sum(0) - now.sum() * mean
            hessian = hessian + now.sum() * (square - np.outer(mean, mean))
        inverse = np.linalg.inv(hessian)
        beta = beta + inverse @ gradient
    return beta, np.sqrt(np.diag(inverse))

