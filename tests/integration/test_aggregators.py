"""Every aggregator against tests/reference/, and what hostile sites can do to it."""
import functools

import numpy as np
import pytest
import safetensors.numpy

from harness.deployment import HOSPITALS, Deployment, SiteClient, wdbc_table
from harness.weights import save
from reference import aggregators, federated

AGGREGATORS = {
    "weighted_mean": ({}, lambda x, p: p @ x),
    "mean": ({}, lambda x, p: x.mean(axis=0)),
    "median": ({}, aggregators.median),
    "trimmed_mean": ({"trim": 0.3}, functools.partial(aggregators.trimmed_mean, trim=0.3)),
    "norm_clipping": ({"clip_norm": 30.0}, functools.partial(aggregators.norm_clipping, bound=30.0)),
    "geometric_median": ({}, aggregators.geometric_median),
    "krum": ({"byzantine": 2}, functools.partial(aggregators.krum, f=2)),
    "multi_krum": ({"byzantine": 3}, functools.partial(aggregators.multi_krum, f=3)),
    "bulyan": ({"byzantine": 2}, functools.partial(aggregators.bulyan, f=2)),
}


@pytest.fixture(scope="module")
def rounds(tmp_path_factory):
    """One server for all of them: its fifteen sites join once, and each test has a job of its own."""
    deployment = Deployment(tmp_path_factory.mktemp("aggregators"))
    deployment.start()
    yield deployment
    deployment.close()


def one_round(rounds, model, updates, weights, **params):
    names = [f"s{i:02}" for i in range(len(updates))]
    sites = [SiteClient(rounds, name) for name in names]
    for site in sites:
        site.claim(wait=0)
    job = rounds.submit(sites=names, initial_model=rounds.api.upload(save(model)),
                        params={"rounds": 1, "evaluate_last": False, **params})
    for site, update, weight in zip(sites, updates, weights):
        task = site.claim()
        site.result(task, site.upload(save(update)), weight=weight)
    return job


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.float16])
@pytest.mark.parametrize("name", AGGREGATORS)
def test_aggregators_agree_with_the_papers(rounds, name, dtype):
    """11 sites, three of them far out; several tensors, of which one fills no vector; whatever the dtype."""
    params, reference = AGGREGATORS[name]
    rng = np.random.default_rng(12)
    shapes = {"a": (3, 7), "b": (1,), "c": (1003,)}
    model = {k: rng.normal(size=s).astype(dtype) for k, s in shapes.items()}
    updates = [{k: (v + rng.normal(scale=0.5 if i % 4 else 5, size=v.shape)).astype(dtype) for k, v in model.items()}
               for i in range(11)]
    weights = rng.uniform(1, 9, 11)
    job = one_round(rounds, model, updates, weights, aggregator=name, **params)
    done = rounds.wait_for(job, "completed")
    result = safetensors.numpy.load(rounds.api.download(done["model"]))
    def flat(m):
        return np.concatenate([m[k].astype(float).ravel() for k in shapes])
    base = flat(model)
    changes = np.array([flat(u) for u in updates]) - base
    expected = base + reference(changes, weights / weights.sum())
    tolerance = {np.float32: 1e-5, np.float64: 1e-6, np.float16: 2e-3}[dtype]  # distances are summed from floats
    assert np.abs(flat(result) - expected).max() <= tolerance * np.abs(expected).max()
    # Outliers: what an operator sees of each site.
    metrics = rounds.api.get(f"/jobs/{job}/metrics")["items"]
    for i, change in enumerate(changes):
        seen = {m["name"]: m["value"] for m in metrics if m["site"] == f"s{i:02}"}
        aggregate = flat(result) - base
        assert seen["aggregate_distance"] == pytest.approx(np.linalg.norm(change - aggregate), rel=1e-6, abs=1e-6)
        assert seen["update_norm"] == pytest.approx(np.linalg.norm(change), rel=1e-6)
        assert seen["aggregate_cosine"] == pytest.approx(
            change @ aggregate / np.linalg.norm(change) / np.linalg.norm(aggregate), abs=1e-6)
    assert rounds.rounds_verify(job)["good"]


def test_a_sum_is_a_sum(rounds):
    model = {"w": np.zeros(5, np.float32)}
    updates = [{"w": np.arange(5, dtype=np.float32) * k} for k in (1, 2, 4)]
    job = one_round(rounds, model, updates, [3, 1, 9], aggregator="sum")
    result = safetensors.numpy.load(rounds.api.download(rounds.wait_for(job, "completed")["model"]))
    assert np.array_equal(result["w"], np.arange(5) * 7)


def test_too_few_for_krum_says_how_many(rounds):
    model = {"w": np.zeros(5, np.float32)}
    job = one_round(rounds, model, [model] * 4, [1] * 4, aggregator="krum", byzantine=2)
    assert "krum with byzantine 2 needs at least 7 updates; there are 4" in rounds.wait_for(job, "failed")["reason"]


@pytest.mark.parametrize("name", ["median", "trimmed_mean", "geometric_median", "krum", "multi_krum", "bulyan"])
def test_hostile_sites_are_withstood(rounds, name):
    """Honest sites train on the real data; 30% (for Bulyan, which promises less, 20%) send the opposite, twenty times as far."""
    count, hostile = (15, 3) if name == "bulyan" else (10, 3)
    x, y = (np.concatenate(parts) for parts in zip(*map(wdbc_table, HOSPITALS)))
    x = (x - x.mean(0)) / x.std(0)
    order = np.random.default_rng(2).permutation(len(y))
    parts = [(x[rows], y[rows]) for rows in np.array_split(order, count)]
    weights = [float(len(part[1])) for part in parts]

    def train(**params):
        w = np.zeros(31)
        for _ in range(3):
            updates = []
            for i, part in enumerate(parts):
                trained = federated.descend(w, part, 20, 0.3)
                updates.append({"w": (w - 20 * (trained - w) if i < hostile else trained).astype(np.float32)})
            job = one_round(rounds, {"w": w.astype(np.float32)}, updates, weights, **params)
            done = rounds.wait_for(job, "completed")
            w = safetensors.numpy.load(rounds.api.download(done["model"]))["w"].astype(float)
        return np.mean((x @ w[:-1] + w[-1] > 0) == (y == 1))
    assert train(aggregator=name, **({"trim": 0.3} if name == "trimmed_mean" else {})) > 0.93
    assert train() < 0.5, "the mean follows them"
