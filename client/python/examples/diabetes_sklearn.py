"""scikit-learn on the diabetes data (Efron et al. 2004): a linear model fitted by stochastic gradient descent.

The dataset is a CSV file whose label column site.json names; features are expected to be scaled already.
"""
import csv

import numpy as np
from sklearn.linear_model import SGDRegressor

import rounds

model = SGDRegressor(learning_rate="constant", eta0=0.01, random_state=0)

for task in rounds.tasks():
    with open(task.dataset["path"]) as file:
        rows = list(csv.DictReader(file))
    label = task.dataset["label"]
    x = np.array([[float(value) for name, value in row.items() if name != label] for row in rows])
    y = np.array([float(row[label]) for row in rows])
    if not hasattr(model, "coef_"):
        model.partial_fit(x[:1], y[:1])  # so that there are coefficients to load into
    task.load_into(model)
    metrics = {"r2": model.score(x, y), "rmse": float(np.sqrt(np.mean((model.predict(x) - y) ** 2)))}
    if task.should_train:
        for _ in range(task.params.get("epochs", 5)):
            model.partial_fit(x, y)
    rounds.send(model, metrics=metrics, num_samples=len(y))
