"""Rounds: federated learning.

At a site, a training script becomes federated with three lines::

    import rounds

    for task in rounds.tasks():            # as often as the server asks
        task.load_into(model)              # the common model
        train(model)
        rounds.send(model, metrics={"train_loss": loss}, num_samples=len(data))

In a notebook, :class:`rounds.Client` submits jobs, watches them and fetches models as arrays.
"""
from rounds import wire

wire.take_over()  # before anything that may print

from rounds.client import Client, Job, Problem
from rounds.executor import Task, fail, log, progress, receive, send, tasks
from rounds.statistics import Statistics
from rounds.weights import load, save
from rounds.wire import NotFederated

__all__ = ["Client", "Job", "NotFederated", "Problem", "Statistics", "Task", "fail", "load", "log", "progress", "receive", "save", "send",
           "tasks"]
__version__ = "0.1.0"
