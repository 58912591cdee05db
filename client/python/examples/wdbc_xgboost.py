"""XGBoost: bagging (every site adds trees to the common booster) and cyclic training, with one script.

The dataset is a CSV file whose label column and classes site.json names. `trainer` may say "trees" (in a round) and anything
that XGBoost takes, such as "max_depth" and "eta".
"""
import csv

import numpy as np
import xgboost

import rounds


def read(dataset):
    with open(dataset["path"]) as file:
        rows = list(csv.DictReader(file))
    label, classes = dataset["label"], dataset["classes"]
    x = [[float(value) for name, value in row.items() if name != label] for row in rows]
    return np.array(x), np.array([classes.index(row[label]) for row in rows])


for task in rounds.tasks():
    x, y = read(task.dataset)
    kept_out = np.arange(len(y)) % 5 == 0
    training = xgboost.DMatrix(x[~kept_out], y[~kept_out])
    options = {"objective": "binary:logistic", "base_score": 0.5, "eta": 0.3, "max_depth": 3, "nthread": 1, "seed": task.seed,
               **task.params}
    trees = options.pop("trees", 1)
    if task.kind == "initialize":
        rounds.send(xgboost.train(options, training, num_boost_round=0))
        continue
    booster = task.load_into(xgboost.Booster(options))
    score = booster.predict(xgboost.DMatrix(x[kept_out]))
    metrics = {"accuracy": np.mean((score > 0.5) == y[kept_out])}
    if task.should_train:
        options["eta"] /= task.algorithm.get("boosters", 1)  # so many sites add trees at once
        booster = xgboost.train(options, training, num_boost_round=trees, xgb_model=booster)
    rounds.send(booster, metrics=metrics, num_samples=int((~kept_out).sum()))
