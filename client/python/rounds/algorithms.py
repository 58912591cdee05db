"""What a job's workflow asks of a training loop, done to a torch optimizer: FedProx, SCAFFOLD, FedNova.

    proximal_mu       FedProx (Li et al. 2020): mu (w - w0) is added to every gradient
    control_variates  SCAFFOLD (Karimireddy et al. 2020, option II): c - c_i is added to every gradient; afterwards c_i becomes
                      c_i - c + (x - y) / (steps x rate), kept at the site
    count_steps       FedNova (Wang et al. 2020) needs to know how many steps there were
"""
from __future__ import annotations

import types
from typing import TYPE_CHECKING, Any, Dict, List, Optional

import numpy as np

from rounds import frameworks, weights, wire
from rounds.failure import Failure
from rounds.weights import Weights

if TYPE_CHECKING:
    from rounds.executor import Task

#: What `task.attach(optimizer)` does for the script; anything else of a job's algorithm the script must say that it does.
ATTACHED = {"proximal_mu", "control_variates", "count_steps"}


def _numbers(array: np.ndarray) -> np.ndarray:
    """In float64, also those of bfloat16."""
    return np.asarray(array.astype(np.float64))


class Attached:
    """What one task does to one optimizer. Its parameters are those that the optimizer steps and the common model has."""

    def __init__(self, task: "Task", optimizer: Any) -> None:
        if task._model is None or not frameworks.is_torch(task._model):
            raise Failure("program", "attach() needs task.load_into(model) with a torch module before it")
        if set(task.algorithm) & ATTACHED and any(group.get("maximize") for group in optimizer.param_groups):
            raise Failure("unsupported", "the job's workflow corrects steps that descend: negate the loss in place of maximize=True")
        self.active, self.steps = True, 0
        self.mu = float(task.algorithm.get("proximal_mu", 0.0))
        self.parameters: Dict[str, Any] = {}
        self.lengths: Dict[str, float] = {}  # steps x rate, by parameter
        names = frameworks.parameter_names(task._model)
        for group in optimizer.param_groups:
            for p in group["params"]:
                name = next((n for n in names.get(id(p), []) if n in task.weights), None)
                if name:
                    self.parameters[name], self.lengths[name] = p, 0.0
        self.anchor = {name: p.detach().clone() for name, p in self.parameters.items()} if self.mu else {}
        self.correction: Dict[str, Any] = {}
        if task.algorithm.get("control_variates"):
            if type(optimizer).__name__ != "SGD" or any(group.get("momentum") for group in optimizer.param_groups):
                wire.connect().say(type="log", message="SCAFFOLD is made for plain SGD without momentum: its variates are only near the "
                                   "gradients of another optimizer")
            own = own_control(task)
            for name, p in self.parameters.items():
                zero = np.zeros(tuple(p.shape))
                c = _numbers(task.control.get(name, zero)) - _numbers(own.get(name, zero))
                self.correction[name] = frameworks.to_torch(c).to(p.device, p.dtype)
        _follow(optimizer, self)

    def correct(self) -> None:
        """Before a step: changes the gradients, until the task is answered."""
        import torch
        if not self.active:
            return
        with torch.no_grad():
            for name, p in self.parameters.items():
                if p.grad is None:
                    continue
                if self.mu:
                    p.grad.add_(p - self.anchor[name], alpha=self.mu)
                if name in self.correction:
                    p.grad.add_(self.correction[name])

    def count(self, optimizer: Any) -> None:
        """After a step."""
        rates = {id(p): float(group["lr"]) for group in optimizer.param_groups for p in group["params"]}
        self.steps += 1
        for name, p in self.parameters.items():
            self.lengths[name] += rates.get(id(p), 0.0)


def _follow(optimizer: Any, attached: Attached) -> None:
    """Every step of the optimizer asks whoever was attached last. It is wrapped once, however often a script attaches it."""
    if hasattr(optimizer, "_rounds_attached"):
        optimizer._rounds_attached = attached
        return
    optimizer._rounds_attached = attached
    plain = optimizer.step

    def step(self: Any, closure: Optional[Any] = None, *args: Any, **options: Any) -> Any:
        now = self._rounds_attached
        if closure is None:
            now.correct()
            done = plain(*args, **options)
        else:
            def corrected() -> Any:  # it makes the gradients that the step takes
                loss = closure()
                now.correct()
                return loss
            done = plain(corrected, *args, **options)
        now.count(self)
        return done
    optimizer.step = types.MethodType(step, optimizer)  # a method, as learning rate schedulers expect


def own_control(task: "Task") -> Weights:
    """c_i as the last round in which this site took part left it: {name: array}, float32."""
    path = task._newest("control", task.round)
    return weights.load(path) if path else {}


def finish(task: "Task", attached: List[Attached]) -> Dict[str, float]:
    """Keeps the new c_i; returns the metrics that the server's algorithms need."""
    unmet = set(task.algorithm) - ATTACHED - {"loss_before", "boosters"}
    if unmet:
        raise Failure("unsupported", f"the job's workflow asks for {', '.join(sorted(unmet))}, which this package does not do")
    if set(task.algorithm) & ATTACHED and not attached:
        raise Failure("unsupported", "the job's workflow corrects or counts every step: call task.attach(optimizer) after "
                      "task.load_into(model)")
    lengths = [length for one in attached for length in one.lengths.values() if length > 0]
    if task.algorithm.get("control_variates") and lengths:
        if max(lengths) > min(lengths) * (1 + 1e-6):
            raise Failure("unsupported", "SCAFFOLD needs one learning rate and as many steps for all parameters")
        _keep_control(task, max(lengths))
    told = {"count_steps": ("train_steps", float(max((one.steps for one in attached), default=0))),
            "control_variates": ("train_length", max(lengths, default=0.0))}
    for one in attached:
        one.active, one.anchor, one.correction = False, {}, {}
    return dict(told[asked] for asked in told if task.algorithm.get(asked))


def _keep_control(task: "Task", length: float) -> None:
    """The new c_i of all parameters that the common model has; those that nobody stepped have not moved."""
    own, fresh = own_control(task), {}
    trained = frameworks.weights_of(task._model)
    for names in frameworks.parameter_names(task._model).values():
        for name in names:
            if name not in task.weights:
                continue
            x, y = _numbers(task.weights[name]), _numbers(trained[name])
            c, c_i = task.control.get(name), own.get(name)
            moved = (x - y) / length - (0.0 if c is None else _numbers(c)) + (0.0 if c_i is None else _numbers(c_i))
            fresh[name] = moved.astype(np.float32)
    task._keep("control", fresh)
