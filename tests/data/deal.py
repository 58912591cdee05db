#!/usr/bin/env python3
"""Deals the data sets of scikit-learn to hospitals, as the files beside this script.

Run once, with scikit-learn installed; the results are kept in the repository so that nothing needs Python to train.
Sizes and label shares are unequal on purpose: that is what federated data look like.
"""
import csv
import pathlib

import numpy as np
from sklearn.datasets import load_breast_cancer, load_digits

HERE = pathlib.Path(__file__).parent
HOSPITALS = ["hospital-a", "hospital-b", "hospital-c", "hospital-d"]


def write(path, names, features, labels, label_name, form):
    path.parent.mkdir(exist_ok=True)
    with open(path, "w", newline="") as file:
        out = csv.writer(file, lineterminator="\n")
        out.writerow([*names, label_name])
        for row, label in zip(features, labels):
            out.writerow([*(form(value) for value in row), label])


def deal(rng, labels, shares):
    """Row numbers for each hospital: `shares` gives, per class, each hospital's share of it."""
    hands = [[] for _ in HOSPITALS]
    for label, share in shares.items():
        rows = rng.permutation(np.flatnonzero(labels == label))
        cuts = np.round(np.cumsum(share)[:-1] * len(rows)).astype(int)
        for hand, part in zip(hands, np.split(rows, cuts)):
            hand.extend(part)
    return [np.sort(hand) for hand in hands]


def breast_cancer():
    data = load_breast_cancer()
    names = [name.replace(" ", "_") for name in data.feature_names]
    words = np.array(["malignant", "benign"])[data.target]
    rng = np.random.RandomState(7)
    rows = rng.permutation(len(words))
    test, rest = np.sort(rows[:114]), np.sort(rows[114:])
    write(HERE / "wdbc/test.csv", names, data.data[test], words[test], "diagnosis", lambda v: f"{v:.6g}")
    shares = {"malignant": [0.50, 0.25, 0.15, 0.10], "benign": [0.30, 0.15, 0.20, 0.35]}
    for name, hand in zip(HOSPITALS, deal(rng, words[rest], shares)):
        at = rest[hand]
        write(HERE / f"wdbc/{name}.csv", names, data.data[at], words[at], "diagnosis", lambda v: f"{v:.6g}")


def digits():
    data = load_digits()
    names = [f"pixel_{row}_{column}" for row in range(8) for column in range(8)]
    rng = np.random.RandomState(7)
    rows = rng.permutation(len(data.target))
    test, rest = np.sort(rows[:360]), np.sort(rows[360:])
    write(HERE / "digits/test.csv", names, data.data[test], data.target[test], "digit", lambda v: f"{v:g}")
    shares = {digit: rng.dirichlet([1.0] * len(HOSPITALS)) for digit in range(10)}
    for name, hand in zip(HOSPITALS, deal(rng, data.target[rest], shares)):
        at = rest[hand]
        write(HERE / f"digits/{name}.csv", names, data.data[at], data.target[at], "digit", lambda v: f"{v:g}")


if __name__ == "__main__":
    breast_cancer()
    digits()
