"""Every number against an independent float64 reference in NumPy: aggregation bit by bit, training step by step."""
import itertools
import json
import pathlib

import numpy as np
import pytest
import safetensors.numpy

from harness.deployment import DATA, MEMORY_COUNTS, WDBC, SiteClient
from harness.weights import save


def bf16(values):
    """float64 to the nearest bfloat16, ties to even, as float64: by exact arithmetic on the 8-bit mantissa."""
    mantissa, exponent = np.frexp(values)
    return np.ldexp(np.rint(mantissa * 256) / 256, exponent)


def federate(rounds, updates, weights, order=None, params=None, **spec):
    """One round whose sites deliver these files in this order; returns the model's bytes."""
    names = [f"s{i}" for i in range(len(updates))]
    sites = [SiteClient(rounds, name) for name in names]
    for site in sites:
        site.claim(wait=0)
    job = rounds.submit(sites=names, initial_model=rounds.api.upload(updates[0]),
                        params={"rounds": 1, "evaluate_last": False, **(params or {})}, **spec)
    tasks = [site.claim() for site in sites]
    for i in order or range(len(updates)):
        sites[i].result(tasks[i], sites[i].upload(updates[i]), weight=weights[i])
    return rounds.api.download(rounds.wait_for(job, "completed")["model"])


@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.float16])
def test_weighted_mean_is_within_one_place_of_float64(rounds, dtype):
    rng = np.random.default_rng(3)
    shapes = {"a": (), "b": (1,), "c": (7,), "d": (33, 65), "e": (3, 5, 7), "big": (400_001,), "none": (0, 4)}
    updates = [{name: rng.normal(scale=10.0 ** rng.integers(-3, 3), size=shape).astype(dtype) for name, shape in shapes.items()}
               for _ in range(5)]
    weights = [10, 1, 333.5, 7e5, 2]
    model = safetensors.numpy.load(federate(rounds, [safetensors.numpy.save(u) for u in updates], weights))
    for name in shapes:
        exact = sum(np.longdouble(w) * u[name].astype(np.longdouble) for w, u in zip(weights, updates)) / sum(weights)
        reference = exact.astype(np.float64).astype(dtype)
        assert model[name].dtype == dtype and model[name].shape == shapes[name]
        gap = np.abs(model[name].astype(np.longdouble) - reference.astype(np.longdouble))
        assert np.all(gap <= np.spacing(np.abs(reference)).astype(np.longdouble)), name


def test_bfloat16_and_integers_are_averaged_too(rounds):
    rng = np.random.default_rng(4)
    floats = [bf16(rng.normal(size=1001)) for _ in range(3)]
    counts = [rng.integers(-1000, 1000, 50) for _ in range(3)]
    flags = [rng.integers(0, 2, 50).astype(bool) for _ in range(3)]
    updates = []
    for f, c, b in zip(floats, counts, flags):
        raw = (f.astype(np.float32).view(np.uint32) >> 16).astype(np.uint16)
        data = save({"count": c.astype(np.int64), "flag": b, "f": raw.astype(np.int16)})
        updates.append(data.replace(b'"dtype": "I16"', b'"dtype":"BF16"'))
    weights = [1, 2, 5]
    model = federate(rounds, updates, weights)
    header = json.loads(model[8:8 + int.from_bytes(model[:8], "little")])
    raw = model[8 + int.from_bytes(model[:8], "little"):]

    def tensor(name, dtype):
        begin, end = header[name]["data_offsets"]
        return np.frombuffer(raw[begin:end], dtype)
    mean = sum(w * f for w, f in zip(weights, floats)) / 8
    result = (tensor("f", np.uint16).astype(np.uint32) << 16).view(np.float32).astype(np.float64)
    assert np.array_equal(result, bf16(mean))
    assert np.array_equal(tensor("count", np.int64), np.rint(sum(w * c for w, c in zip(weights, counts)) / 8))
    assert np.array_equal(tensor("flag", bool), sum(w * b for w, b in zip(weights, flags)) / 8 >= 0.5)


@pytest.mark.parametrize("aggregator", ["weighted_mean", "median"])
def test_integers_that_are_no_doubles_stay_themselves(rounds, aggregator):
    """Beyond 2^53: against Python's own integers, at both ends of the type; what all sites agree on comes out as it is."""
    rng = np.random.default_rng(7)
    same = np.array([2**53 + 1, -2**53 - 1, 2**63 - 1, -2**63, 2**62 + 1, 5], np.int64)
    near = [2**60 + rng.integers(-1000, 1000, 40) for _ in range(3)]
    weights = [1, 2, 5]
    model = safetensors.numpy.load(federate(rounds, [save({"same": same, "near": n}) for n in near], weights, params={
        "aggregator": aggregator}))
    assert model["same"].tolist() == same.tolist()
    columns = list(zip(*(n.tolist() for n in near)))
    if aggregator == "median":
        assert model["near"].tolist() == [sorted(column)[1] for column in columns]
    else:
        for got, column in zip(model["near"].tolist(), columns):
            assert abs(8 * got - sum(w * v for w, v in zip(weights, column))) <= 4, "the nearest integer"


def test_the_same_bits_in_any_order_and_with_any_threads(stopped):
    rng = np.random.default_rng(5)
    updates = [save({"w": rng.normal(size=700_003).astype(np.float32)}) for _ in range(4)]
    weights = [3, 1, 4, 1.5]
    models = set()
    for threads, order in zip([1, 2, 3, 8], itertools.islice(itertools.permutations(range(4)), 3, None, 5)):
        stopped.start("--aggregation-threads", str(threads))
        models.add(federate(stopped, updates, weights, order))
        stopped.server.stop()
    assert len(models) == 1


def test_what_the_safetensors_package_writes_and_reads(rounds):
    rng = np.random.default_rng(6)
    tensors = {name: (rng.normal(size=(4, 3)) * 50).astype(name) for name in
               ("float64", "float32", "float16", "int64", "int32", "int16", "int8")}
    tensors["uint8"] = rng.integers(0, 255, 9).astype(np.uint8)
    tensors["bool"] = np.array([True, False])
    data = safetensors.numpy.save(tensors, metadata={"made": "by the package"})
    model = safetensors.numpy.load(federate(rounds, [data, data], [1, 1]))
    for name, array in tensors.items():
        assert np.array_equal(model[name], array) and model[name].dtype == array.dtype


# The trainer


def table(features, labels, path):
    np.save(path / "x.npy", features)
    np.save(path / "y.npy", labels)
    return {"name": "t", "path": str(path / "x.npy"), "labels": str(path / "y.npy")}


class Reference:
    """The same networks in float64, written from the textbook: loss and gradient by plain NumPy."""

    def __init__(self, tensors, loss, activation):
        self.mean, self.scale = tensors["input.mean"].astype(float), tensors["input.scale"].astype(float)
        self.layers = [[tensors[f"layer{i}.weight"].astype(float), tensors[f"layer{i}.bias"].astype(float)]
                       for i in range(sum(name.endswith(".weight") for name in tensors))]
        self.loss_name, self.activation = loss, activation

    def forward(self, x):
        states = [(x - self.mean) / self.scale]
        for i, (w, b) in enumerate(self.layers):
            z = states[-1] @ w.T + b
            if i + 1 < len(self.layers):
                z = np.tanh(z) if self.activation == "tanh" else np.maximum(z, 0)
            states.append(z)
        return states

    def loss(self, z, y):
        if self.loss_name == "squared":
            return np.mean((z[:, 0] - y) ** 2)
        if self.loss_name == "logistic":
            return np.mean(np.logaddexp(0, z[:, 0]) - y * z[:, 0])
        if self.loss_name == "cox":
            return np.mean(y * (np.log((self.at_risk() * np.exp(z[:, 0])).sum(1)) - z[:, 0]))
        return np.mean(np.log(np.exp(z - z.max(1, keepdims=True)).sum(1)) + z.max(1) - z[np.arange(len(y)), y.astype(int)])

    def at_risk(self):
        """[i, j]: j lives at least as long as i."""
        return self.times >= self.times[:, None]

    def gradients(self, x, y, l2):
        states = self.forward(x)
        z, n = states[-1], len(y)
        if self.loss_name == "squared":
            delta = 2 * (z - y[:, None]) / n
        elif self.loss_name == "logistic":
            delta = (1 / (1 + np.exp(-z)) - y[:, None]) / n
        elif self.loss_name == "cox":
            shares = self.at_risk() * np.exp(z[:, 0])
            delta = ((y[:, None] * shares / shares.sum(1, keepdims=True)).sum(0) - y)[:, None] / n
            delta -= delta.mean()  # its sum is 0 but for rounding, which Adam would make much of
        else:
            e = np.exp(z - z.max(1, keepdims=True))
            delta = (e / e.sum(1, keepdims=True) - np.eye(z.shape[1])[y.astype(int)]) / n
        result = []
        for i in reversed(range(len(self.layers))):
            w = self.layers[i][0]
            result.append([delta.T @ states[i] + l2 * w, delta.sum(0)])
            delta = delta @ w
            if i:
                delta *= 1 - states[i] ** 2 if self.activation == "tanh" else states[i] > 0
        return self.loss(z, y), result[::-1]

    def train(self, x, y, steps, optimizer, rate, momentum=0.9, l2=0.0):
        flat = [p for layer in self.layers for p in layer]
        first, second = [np.zeros_like(p) for p in flat], [np.zeros_like(p) for p in flat]
        for t in range(1, steps + 1):
            loss, gradients = self.gradients(x, y, l2)
            for k, g in enumerate(g for layer in gradients for g in layer):
                if optimizer == "sgd":
                    flat[k] -= rate * g
                elif optimizer == "momentum":
                    first[k] = momentum * first[k] + g
                    flat[k] -= rate * first[k]
                else:
                    first[k] = 0.9 * first[k] + 0.1 * g
                    second[k] = 0.999 * second[k] + 0.001 * g * g
                    flat[k] -= rate * (first[k] / (1 - 0.9 ** t)) / (np.sqrt(second[k] / (1 - 0.999 ** t)) + 1e-8)
        return loss


CASES = [
    ("linear", "squared", {"model": "linear"}),
    ("logistic", "logistic", {"model": "logistic"}),
    ("softmax", "softmax", {"model": "softmax", "outputs": 3}),
    ("mlp", "softmax", {"model": "mlp", "outputs": 3, "hidden": 16, "hidden_layers": 2, "activation": "tanh"}),
    ("mlp", "squared", {"model": "mlp", "loss": "squared", "hidden": 8}),
    ("mlp", "logistic", {"model": "mlp", "loss": "logistic", "hidden": 8}),
    ("cox", "cox", {"model": "cox", "time": "x2"}),
    ("mlp", "cox", {"model": "mlp", "loss": "cox", "time": "x2", "hidden": 8}),
]


@pytest.mark.parametrize("optimizer", ["sgd", "momentum", "adam"])
@pytest.mark.parametrize("name, loss, params", CASES)
def test_twenty_full_batch_steps_agree_with_numpy(trainer, tmp_path, name, loss, params, optimizer):
    rng = np.random.default_rng(8)
    x = rng.normal(2.0, 3.0, size=(90, 5)).astype(np.float32)
    y = {"squared": x @ rng.normal(size=5) * 0.1, "logistic": rng.integers(0, 2, 90),
         "softmax": rng.integers(0, 3, 90), "cox": rng.integers(0, 2, 90)}[loss].astype(np.float32)
    times = rng.integers(1, 40, 90).astype(np.float32)  # some of them tied
    rate = 0.01 if optimizer == "adam" else 0.05
    params = {**params, "optimizer": optimizer, "learning_rate": rate, "batch_size": 0, "epochs": 20, "validation": 0, "l2": 0.01}
    data = table(np.insert(x, 2, times, axis=1) if loss == "cox" else x, y, tmp_path)
    assert trainer.ask("initialize", data, params, output=tmp_path / "m0")["type"] == "result"
    before = safetensors.numpy.load_file(tmp_path / "m0")
    assert np.allclose(before["input.mean"], x.mean(0), rtol=1e-5) and np.allclose(before["input.scale"], x.std(0), rtol=1e-5)
    answer = trainer.ask("train", data, params, model=tmp_path / "m0", output=tmp_path / "m1")
    assert answer["type"] == "result" and answer["weight"] == 90, answer
    reference = Reference(before, loss, params.get("activation", "relu"))
    reference.times = times
    last_loss = reference.train(x.astype(float), y.astype(float), 20, optimizer, rate, l2=0.01)
    assert answer["metrics"]["train_loss"] == pytest.approx(last_loss, rel=1e-5)
    after = safetensors.numpy.load_file(tmp_path / "m1")
    for i, (w, b) in enumerate(reference.layers):
        for ours, theirs in ((after[f"layer{i}.weight"], w), (after[f"layer{i}.bias"], b)):
            assert np.abs(ours - theirs).max() <= 1e-5 * max(1, np.abs(theirs).max())


def test_metrics_agree_with_numpy(trainer, tmp_path):
    rng = np.random.default_rng(9)
    x = (np.round(rng.normal(size=(200, 2)) * 8) / 8).astype(np.float32)  # eighths: scores tie, and are exact on every processor
    y = (x[:, 0] + rng.normal(size=200) > 0).astype(np.float32)
    params = {"model": "logistic", "validation": 1.0, "standardize": False}
    weight = np.array([[0.75, -0.25]], np.float32)
    safetensors.numpy.save_file({"layer0.weight": weight, "layer0.bias": np.array([0.125], np.float32)}, tmp_path / "m")
    answer = trainer.ask("evaluate", table(x, y, tmp_path), params, model=tmp_path / "m")
    z = (x @ weight.T)[:, 0] + np.float32(0.125)
    positive, negative = z[y == 1], z[y == 0]
    auc = np.mean((positive[:, None] > negative) + 0.5 * (positive[:, None] == negative))
    assert answer["weight"] == 200
    assert answer["metrics"]["auc"] == pytest.approx(auc, rel=1e-12)
    assert answer["metrics"]["accuracy"] == np.mean((z > 0) == (y == 1))
    assert answer["metrics"]["loss"] == pytest.approx(np.mean(np.logaddexp(0, z.astype(float)) - y * z), rel=1e-6)


def test_survival_is_measured_as_by_all_pairs(trainer, tmp_path):
    rng = np.random.default_rng(12)
    x = np.round(rng.normal(size=(300, 2)), 1).astype(np.float32)
    times, events = rng.integers(1, 50, 300).astype(np.float32), rng.integers(0, 2, 300).astype(np.float32)
    weight = np.array([[0.5, -0.25]], np.float32)
    safetensors.numpy.save_file({"layer0.weight": weight, "layer0.bias": np.zeros(1, np.float32)}, tmp_path / "m")
    data = table(np.column_stack([x, times]), events, tmp_path)
    params = {"model": "cox", "time": "x2", "validation": 1.0, "standardize": False}
    answer = trainer.ask("evaluate", data, params, model=tmp_path / "m")
    z = (x @ weight.T)[:, 0].astype(float)
    first = (events[:, None] == 1) & ((times[:, None] < times) | ((times[:, None] == times) & (events == 0)))
    right = (z[:, None] > z) + 0.5 * (z[:, None] == z)
    assert answer["metrics"]["c_index"] == pytest.approx(right[first].mean(), rel=1e-12)
    risk = ((times >= times[:, None]) * np.exp(z)).sum(1)
    assert answer["metrics"]["loss"] == pytest.approx(np.mean(events * (np.log(risk) - z)), rel=1e-6)
    # Scores beyond what exp() can take, as features that nobody has scaled give them.
    safetensors.numpy.save_file({"layer0.weight": 2000 * weight, "layer0.bias": np.zeros(1, np.float32)}, tmp_path / "far")
    answer = trainer.ask("evaluate", data, params, model=tmp_path / "far")
    z = (x @ (2000 * weight).T)[:, 0].astype(float)
    risk = np.logaddexp.reduce(np.where(times >= times[:, None], z, -np.inf), axis=1)
    assert np.ptp(z) > 1500 and answer["metrics"]["loss"] == pytest.approx(np.mean(events * (risk - z)), rel=1e-6)
    params = {**params, "validation": 0, "batch_size": 0, "learning_rate": 1e-3}
    assert trainer.ask("train", data, params, model=tmp_path / "far", output=tmp_path / "next")["type"] == "result"
    shares = np.exp(np.where(times >= times[:, None], z - risk[:, None], -np.inf))
    gradient = ((events[:, None] * shares).sum(0) - events) @ x / 300
    after = safetensors.numpy.load_file(tmp_path / "next")["layer0.weight"][0]
    assert np.allclose(after, 2000 * weight[0] - 1e-3 * gradient, rtol=1e-6)
    (tmp_path / "nobody").mkdir()
    nobody = table(np.column_stack([x, times]), np.zeros(300, np.float32), tmp_path / "nobody")
    params = {**params, "validation": 1.0}
    assert trainer.ask("evaluate", nobody, params, model=tmp_path / "m")["metrics"] == {"loss": 0.0, "c_index": None}


def test_survival_says_what_it_needs(trainer, tmp_path):
    x, events = np.array([[1, 5], [2, np.nan], [3, 7]], np.float32), np.array([0, 1, 1], np.float32)

    def tables(name, x, labels):
        (tmp_path / name).mkdir()
        return table(x, labels, tmp_path / name)
    data = tables("gap", x, events)
    for params, words in (({}, "(trainer.time): name the column of times"), ({"time": "days"}, 'no column "days"'),
                          ({"time": "x1"}, 'there is no time in "x1"')):
        answer = trainer.ask("initialize", data, {"model": "cox", **params}, output=tmp_path / "m")
        assert answer["type"] == "error" and words in answer["message"], answer
    data = tables("narrow", x[:, :1], events)
    assert "no features beside" in trainer.ask("initialize", data, {"model": "cox", "time": "x0"}, output=tmp_path / "m")["message"]
    data = tables("thrice", x[:, ::-1], np.array([0, 1, 2], np.float32))
    assert "whole number from 0 to 1" in trainer.ask("initialize", data, {"model": "mlp", "loss": "cox", "time": "x1"}, output=tmp_path / "m")["message"]


@pytest.mark.skipif(not MEMORY_COUNTS, reason="a sanitizer may have a thread of its own")
def test_no_thread_turns_idly(trainer, tmp_path):
    data = table(np.zeros((4, 2), np.float32), np.zeros(4, np.float32), tmp_path)
    assert trainer.ask("initialize", data, {"model": "linear"}, output=tmp_path / "m")["type"] == "result"
    status = pathlib.Path(f"/proc/{trainer.popen.pid}/status").read_text()
    assert "Threads:\t1\n" in status, "OpenBLAS starts a thread for each processor unless it is told not to"


def test_batches_and_shuffles_repeat_by_seed_and_differ_by_round(trainer, tmp_path):
    rng = np.random.default_rng(10)
    x, y = rng.normal(size=(64, 3)).astype(np.float32), rng.integers(0, 2, 64).astype(np.float32)
    data = table(x, y, tmp_path)
    params = {"model": "logistic", "batch_size": 8, "epochs": 2}
    trainer.ask("initialize", data, params, output=tmp_path / "m0")

    def train(name, **how):
        trainer.ask("train", data, params, model=tmp_path / "m0", output=tmp_path / name, **how)
        return (tmp_path / name).read_bytes()
    assert train("a", round=1) == train("b", round=1) != train("c", round=2)
    assert train("d", round=1, seed=2) != train("a", round=1)


def test_a_round_may_have_so_many_steps(trainer, tmp_path):
    """64 rows in batches of 10 make 7 steps an epoch: 14 steps are two epochs, and 9 are the first nine of them."""
    rng = np.random.default_rng(10)
    data = table(rng.normal(size=(64, 3)).astype(np.float32), rng.integers(0, 2, 64).astype(np.float32), tmp_path)
    params = {"model": "logistic", "batch_size": 10, "validation": 0}
    trainer.ask("initialize", data, params, output=tmp_path / "m0")

    def train(name, **more):
        answer = trainer.ask("train", data, {**params, **more}, model=tmp_path / "m0", output=tmp_path / name,
                             algorithm={"count_steps": True})
        return (tmp_path / name).read_bytes(), answer["metrics"]["train_steps"]
    assert train("a", steps=14) == train("b", epochs=2) and train("a", steps=14)[1] == 14
    assert train("c", steps=9)[1] == 9 and train("c", steps=9)[0] != train("a", steps=14)[0] != train("d", steps=7)[0]
    assert train("d", steps=7)[0] == train("e", epochs=1)[0]


def test_wrong_parameters_and_models_are_named(trainer, tmp_path):
    data = {"name": "wdbc", "path": str(DATA / "wdbc/test.csv"), **WDBC}
    answer = trainer.ask("train", data, {"model": "forest", "epochs": -1})
    assert "trainer.model" in answer["message"] and "; trainer.epochs must be" in answer["message"]
    safetensors.numpy.save_file({"w": np.zeros(3, np.float32)}, tmp_path / "m")
    answer = trainer.ask("train", data, {}, model=tmp_path / "m", output=tmp_path / "n")
    assert answer["type"] == "error" and '"input.mean" is missing' in answer["message"]
