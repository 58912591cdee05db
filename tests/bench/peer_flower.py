"""The federation of run.py's `simulation` in Flower's own simulation: as many sites, the same table, network and local work.

Usage: peer_flower.py TABLE SITES ROUNDS. Prints JSON: milliseconds of a round from the first to the last, and of its training alone.
Two clients train at a time on two processors (num_cpus 1), which is the fastest that Flower's backend does there.
"""
import csv
import json
import sys
import time

import numpy as np
from flwr.client import ClientApp, NumPyClient
from flwr.common import ndarrays_to_parameters
from flwr.server import ServerApp, ServerAppComponents, ServerConfig
from flwr.server.strategy import FedAvg
from flwr.simulation import run_simulation

TABLE, SITES, ROUNDS = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])


def load():
    with open(TABLE) as file:
        names, *rows = csv.reader(file)
    table = np.array(rows, float)
    label = names.index("digit")
    return np.delete(table, label, 1).astype(np.float32) / 16, table[:, label].astype(int)


X, Y = load()
PARTS = np.array_split(np.random.default_rng(1).permutation(len(Y)), SITES)


def start():
    rng = np.random.default_rng(1)
    return [rng.uniform(-bound, bound, shape).astype(np.float32)
            for bound, shape in ((1 / 8, (64, 64)), (0, 64), (1 / 8, (10, 64)), (0, 10))]


def train(weights, x, y, epochs=2, rate=0.05, momentum=0.9):
    """An MLP's epochs of one batch: a site has fewer images than a batch would."""
    weights, velocity = [w.copy() for w in weights], [np.zeros_like(w) for w in weights]
    for _ in range(epochs):
        hidden = np.maximum(x @ weights[0].T + weights[1], 0)
        scores = hidden @ weights[2].T + weights[3]
        delta = np.exp(scores - scores.max(1, keepdims=True))
        delta = (delta / delta.sum(1, keepdims=True) - np.eye(10)[y]) / len(y)
        below = (delta @ weights[2]) * (hidden > 0)
        for i, gradient in enumerate((below.T @ x, below.sum(0), delta.T @ hidden, delta.sum(0))):
            velocity[i] = momentum * velocity[i] + gradient
            weights[i] = (weights[i] - rate * velocity[i]).astype(np.float32)
    return weights


class Site(NumPyClient):
    def __init__(self, rows):
        self.rows = rows

    def fit(self, parameters, config):
        return train(parameters, X[self.rows], Y[self.rows]), len(self.rows), {}


class Timed(FedAvg):
    moments = []

    def configure_fit(self, *words, **named):
        self.moments.append(time.monotonic())
        return super().configure_fit(*words, **named)

    def aggregate_fit(self, *words, **named):
        result = super().aggregate_fit(*words, **named)
        self.moments.append(time.monotonic())
        return result


def server(_):
    strategy = Timed(fraction_fit=1, fraction_evaluate=0, min_fit_clients=SITES, min_available_clients=SITES,
                     initial_parameters=ndarrays_to_parameters(start()))
    return ServerAppComponents(strategy=strategy, config=ServerConfig(num_rounds=ROUNDS))


if __name__ == "__main__":
    clients = ClientApp(client_fn=lambda context: Site(PARTS[int(context.node_config["partition-id"])]).to_client())
    run_simulation(ServerApp(server_fn=server), clients, SITES,
                   backend_config={"client_resources": {"num_cpus": 1, "num_gpus": 0}})
    began = time.monotonic()
    for rows in PARTS:
        train(start(), X[rows], Y[rows])
    alone = time.monotonic() - began
    moments = Timed.moments
    assert len(moments) == 2 * ROUNDS, "every round came to its end"
    print(json.dumps({"round_ms": (moments[-1] - moments[2]) / (ROUNDS - 1) * 1000, "training_ms": alone * 1000}))
