"""LoRA: a frozen network with small trainable adapters, of which only the adapters travel: the job says share ["*lora*"].

Hu et al., LoRA: Low-Rank Adaptation of Large Language Models, ICLR 2022: W x + B A x with A and B of low rank, B zero at
first. The frozen weights here are a seeded network; in earnest they are a pretrained model that every site has.
"""
import csv

import torch
from torch import nn

import rounds


class LoRA(nn.Module):
    def __init__(self, frozen, rank):
        super().__init__()
        self.frozen = frozen.requires_grad_(False)
        self.lora_a = nn.Parameter(torch.randn(rank, frozen.in_features) / rank)
        self.lora_b = nn.Parameter(torch.zeros(frozen.out_features, rank))

    def forward(self, x):
        return self.frozen(x) + x @ self.lora_a.T @ self.lora_b.T


def read(dataset):
    with open(dataset["path"]) as file:
        rows = list(csv.DictReader(file))
    pixels = [name for name in rows[0] if name != dataset["label"]]
    return (torch.tensor([[float(row[name]) for name in pixels] for row in rows]) / 16,
            torch.tensor([int(row[dataset["label"]]) for row in rows]))


torch.manual_seed(0)
torch.set_num_threads(1)
model = nn.Sequential(LoRA(nn.Linear(64, 64), 4), nn.ReLU(), LoRA(nn.Linear(64, 10), 4))

for task in rounds.tasks():
    task.load_into(model)
    x, y = read(task.dataset)
    with torch.no_grad():
        accuracy = (model(x).argmax(1) == y).float().mean().item()
    if task.should_train:
        optimizer = torch.optim.Adam([p for p in model.parameters() if p.requires_grad], lr=0.02)
        for _ in range(30):
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(x), y).backward()
            optimizer.step()
    rounds.send(model, metrics={"accuracy": accuracy}, num_samples=len(y))
