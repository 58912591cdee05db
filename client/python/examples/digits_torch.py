"""PyTorch on images of handwritten digits: a plain training script, and the lines that make it a federated one.

The dataset is a CSV file with 64 pixel columns and the label column that site.json names. `trainer` may say "epochs",
"learning_rate" and "momentum". It does FedAvg and everything at the server, FedProx and SCAFFOLD (attach), and evaluates.
"""
import csv

import torch
from torch import nn

import rounds  # federated


def read(dataset):
    with open(dataset["path"]) as file:
        rows = list(csv.DictReader(file))
    pixels = [name for name in rows[0] if name != dataset["label"]]
    x = torch.tensor([[float(row[name]) for name in pixels] for row in rows]) / 16
    y = torch.tensor([int(row[dataset["label"]]) for row in rows])
    return x, y


def measure(model, x, y):
    with torch.no_grad():
        out = model(x)
        return {"loss": nn.functional.cross_entropy(out, y).item(), "accuracy": (out.argmax(1) == y).float().mean().item()}


torch.manual_seed(0)
torch.set_num_threads(1)
model = nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10))

for task in rounds.tasks():  # federated
    task.load_into(model)  # federated
    x, y = read(task.dataset)
    kept_out = torch.arange(len(y)) % 5 == 0
    metrics = measure(model, x[kept_out], y[kept_out])
    if task.should_train:
        torch.manual_seed(task.seed * 1000 + task.round)
        optimizer = torch.optim.SGD(model.parameters(), lr=task.params.get("learning_rate", 0.1),
                                    momentum=task.params.get("momentum", 0.0))
        task.attach(optimizer)  # federated: only for FedProx, SCAFFOLD and FedNova
        data = torch.utils.data.TensorDataset(x[~kept_out], y[~kept_out])
        for _ in range(task.params.get("epochs", 1)):
            for images, labels in torch.utils.data.DataLoader(data, batch_size=32, shuffle=True):
                optimizer.zero_grad()
                loss = nn.functional.cross_entropy(model(images), labels)
                loss.backward()
                optimizer.step()
        metrics["train_loss"] = loss.item()
        print("this line goes to the site's log, not into the protocol")
    rounds.send(model, metrics=metrics, num_samples=int((~kept_out).sum()))  # federated
