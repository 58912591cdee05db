"""The script's side of the executor protocol (see client/README.md): tasks come in, models go out.

`rounds-site` starts the script and speaks JSON lines with it on standard input and output. Both are taken over at the first
call here: what the script prints goes to standard error, whose last lines the site tells when the script fails.
"""
from __future__ import annotations

import fnmatch
import json
import math
import os
import socket
import sys
from typing import Any, Dict, Iterator, List, Mapping, Optional, TextIO

import numpy as np

from rounds import frameworks, weights
from rounds.frameworks import Weights

PROTOCOL = 1
#: What `task.attach(optimizer)` does for the script; anything else of a job's algorithm the script must say that it does.
ATTACHED = {"proximal_mu", "control_variates", "count_steps"}


class NotFederated(RuntimeError):
    """The script was not started by rounds-site."""


class _Wire:
    """The two pipes, taken away from print() and input(), or a socket."""

    input: TextIO
    output: TextIO

    def __init__(self) -> None:
        place = os.environ.get("ROUNDS_SOCKET")
        if place:  # started by someone else: the site listens there
            self.socket = socket.socket(socket.AF_UNIX)
            self.socket.connect(place)
            self.input = self.socket.makefile("r", encoding="utf-8")
            self.output = self.socket.makefile("w", encoding="utf-8")
            sys.excepthook = _tell
            return
        if not os.environ.get("ROUNDS_PROTOCOL"):
            raise NotFederated(
                "this script was not started by rounds-site. Name it as an executor in site.json, or try it on this machine "
                "with `rounds simulate`.")
        self.input = os.fdopen(os.dup(0), "r", encoding="utf-8")
        self.output = os.fdopen(os.dup(1), "w", encoding="utf-8")
        null = os.open(os.devnull, os.O_RDONLY)
        os.dup2(null, 0)
        os.dup2(2, 1)
        os.close(null)
        sys.excepthook = _tell

    def say(self, **line: Any) -> None:
        self.output.write(json.dumps(line) + "\n")
        self.output.flush()

    def hear(self) -> Optional[Dict[str, Any]]:
        sys.stdout.flush()
        line = self.input.readline()
        return json.loads(line) if line else None


def _tell(kind: Any, value: BaseException, trace: Any) -> None:
    """The exception that ends the script is the task's error: what it says, and where in the script."""
    place = ""
    while trace is not None:
        code = trace.tb_frame.f_code
        if os.path.dirname(code.co_filename) != os.path.dirname(__file__):
            place = f" ({os.path.basename(code.co_filename)}, line {trace.tb_lineno})"
        trace = trace.tb_next
    sys.__excepthook__(kind, value, value.__traceback__)
    if _task is not None and not _task.done:
        fail(f"{kind.__name__}: {value}{place}")


_wire: Optional[_Wire] = None
_task: Optional["Task"] = None


def _connect() -> _Wire:
    global _wire
    if _wire is None:
        _wire = _Wire()
    return _wire


def _finite(metrics: Mapping[str, Any]) -> Dict[str, Optional[float]]:
    clean: Dict[str, Optional[float]] = {}
    for name, value in metrics.items():
        try:
            number = float(value)
        except (TypeError, ValueError):
            raise TypeError(f'the metric "{name}" is {value!r}, which is no number') from None
        clean[name] = number if math.isfinite(number) else None
    return clean


class Task:
    """What the server asks of this site now.

    Attributes:
        kind: "train", "evaluate" (measure the model, train nothing) or "initialize" (make the first model).
        round, rounds: which round of how many.
        params: the job's `trainer` object.
        dataset: the dataset as the site's administrator named and described it: "path" and more.
        seed: all randomness should follow from it and from the round.
        algorithm: what the job's workflow asks beyond plain training, such as {"proximal_mu": 0.01}.
        own: a directory for what stays at this site from task to task.
        scratch: a directory that is removed after the task.
    """

    def __init__(self, document: Dict[str, Any]) -> None:
        self._take(document)

    def _take(self, document: Dict[str, Any]) -> None:
        self._document = document
        self._looked = False
        self.id: str = document["id"]
        self.job: str = document["job"]
        self.job_name: str = document["job_name"]
        self.site: str = document["site"]
        self.round: int = document["round"]
        self.rounds: int = document["rounds"]
        self.seed: int = document["seed"]
        self.params: Dict[str, Any] = document["params"]
        self.dataset: Dict[str, Any] = document["dataset"]
        self.algorithm: Dict[str, Any] = document.get("algorithm") or {}
        self.share: List[str] = document.get("share") or ["*"]
        self.own: str = document.get("own") or document["scratch"]
        self.scratch: str = document["scratch"]
        self._weights: Optional[Weights] = None
        self._control: Optional[Weights] = None
        self._model: Any = None
        self._attached: Optional[_Attached] = None
        self.done = False

    @property
    def kind(self) -> str:
        self._looked = True
        return str(self._document["kind"])

    @property
    def should_train(self) -> bool:
        """False for an evaluation: measure the model and send the metrics without training."""
        return self.kind == "train"

    @property
    def weights(self) -> Weights:
        """The common model as {name: array}; empty for an initialization."""
        if self._weights is None:
            path = self._document.get("model")
            self._weights = weights.load(path) if path else {}
        return self._weights

    @property
    def control(self) -> Weights:
        """What comes beside the model: SCAFFOLD's control variate c, {name: array}; empty if there is none."""
        if self._control is None:
            path = self._document.get("control")
            self._control = weights.load(path) if path else {}
        return self._control

    def load_into(self, model: Any) -> Any:
        """Puts the common model into `model` (a torch module, an estimator, a booster, a dict of arrays) and returns it.

        Where the job has no model yet and asks this site for one, the model's present weights are sent as the first, and
        this waits for the task that follows. What the job does not share is loaded from what this site kept.
        """
        if self._document["kind"] == "initialize":
            send(model)
            document = _connect().hear()
            if document is None:
                raise SystemExit(0)
            self._take(document)
            global _task
            _task = self
            return self.load_into(model)
        kept = self._newest("own", self.round + (self._document["kind"] == "evaluate"))
        if kept:
            frameworks.put_into(model, weights.load(kept))
        frameworks.put_into(model, self.weights)
        self._model = model
        return model

    def _newest(self, what: str, before: int) -> Optional[str]:
        """The newest file of that kind from an earlier round: a task that is done again begins from the same."""
        numbers = [int(name[len(what) + 1:-len(".safetensors")]) for name in os.listdir(self.own)
                   if name.startswith(what + "-") and name.endswith(".safetensors")]
        earlier = [number for number in numbers if number < before]
        return self._kept(what, max(earlier)) if earlier else None

    def _kept(self, what: str, number: int) -> str:
        return os.path.join(self.own, f"{what}-{number}.safetensors")

    def _keep(self, what: str, tensors: Weights) -> None:
        """This round's; of older ones only that from which this round began is kept."""
        begun_from = self._newest(what, self.round)
        weights.save(tensors, self._kept(what, self.round))
        for number in range(self.round - 1, -1, -1):
            path = self._kept(what, number)
            if path != begun_from and os.path.exists(path):
                os.unlink(path)

    def attach(self, optimizer: Any) -> Any:
        """Lets the job's algorithm correct the steps of a torch optimizer: FedProx's penalty, SCAFFOLD's control variates.

        Call it after load_into and once for each optimizer that is made; without such an algorithm it only counts steps
        (which FedNova needs). Returns the optimizer.
        """
        self._attached = _Attached(self, optimizer)
        return optimizer

    def shared(self, tensors: Weights) -> Weights:
        """Those that match a pattern of the job's `share`; ValueError if none does."""
        chosen = {name: array for name, array in tensors.items()
                  if any(fnmatch.fnmatchcase(name, pattern) for pattern in self.share)}
        if not chosen:
            raise ValueError(f"the job's patterns {self.share} match none of the model's tensors: "
                             f"{', '.join(list(tensors)[:6])} ...")
        return chosen


class _Attached:
    """A torch optimizer whose every step is corrected and counted."""

    def __init__(self, task: Task, optimizer: Any) -> None:
        if task._model is None or not frameworks.is_torch(task._model):
            raise RuntimeError("attach() needs task.load_into(model) with a torch module before it")
        self.task, self.optimizer, self.steps, self.length = task, optimizer, 0, 0.0
        self.mu = float(task.algorithm.get("proximal_mu", 0.0))
        self.parameters = {name: p for name, p in task._model.named_parameters() if name in task.weights}
        self.anchor = {name: p.detach().clone() for name, p in self.parameters.items()} if self.mu else {}
        self.correction: Dict[str, Any] = {}
        if task.algorithm.get("control_variates"):
            own = self._own_control()
            for name, p in self.parameters.items():
                zero = np.zeros(tuple(p.shape), np.float32)
                c = task.control.get(name, zero)
                self.correction[name] = frameworks.to_torch(c - own.get(name, zero)).to(p.device, p.dtype)
        plain = optimizer.step

        def step(*args: Any, **options: Any) -> Any:
            self._correct()
            return plain(*args, **options)
        optimizer.step = step

    def _own_control(self) -> Weights:
        """c_i as the last round in which this site took part left it."""
        path = self.task._newest("control", self.task.round)
        return weights.load(path) if path else {}

    def _correct(self) -> None:
        import torch
        with torch.no_grad():
            for name, p in self.parameters.items():
                if p.grad is None:
                    continue
                if self.mu:
                    p.grad.add_(p - self.anchor[name], alpha=self.mu)
                if name in self.correction:
                    p.grad.add_(self.correction[name])
        self.steps += 1
        self.length += float(self.optimizer.param_groups[0]["lr"])

    def finish(self) -> Dict[str, float]:
        """Keeps the new c_i; returns the metrics that the server's algorithms need."""
        if self.task.algorithm.get("control_variates") and self.length > 0:
            own, control = self._own_control(), self.task.control
            now = frameworks.weights_of({name: p for name, p in self.parameters.items()})
            fresh: Weights = {}
            for name, y in now.items():
                x = self.task.weights[name].astype(np.float64)
                fresh[name] = (own.get(name, 0.0) - control.get(name, 0.0) + (x - y) / self.length).astype(np.float32)
            self.task._keep("control", fresh)
        told = {"count_steps": ("train_steps", float(self.steps)), "control_variates": ("train_length", self.length)}
        return dict(told[asked] for asked in told if self.task.algorithm.get(asked))


def receive() -> Optional[Task]:
    """Waits for the next task; None when the job needs this script no more. NotFederated outside rounds-site."""
    global _task
    document = _connect().hear()
    _task = Task(document) if document else None
    return _task


def tasks() -> Iterator[Task]:
    """Each task as it comes, until the job is over. An exception in the loop's body is told to the site."""
    while True:
        task = receive()
        if task is None:
            return
        try:
            yield task
        finally:
            if not task.done and sys.exc_info()[0] is None and _task is not None and not _task.done:
                fail("the script went on to the next task without rounds.send")


def send(model: Any = None, metrics: Optional[Mapping[str, Any]] = None, num_samples: float = 1) -> None:
    """Answers the task: the model as it is now (nothing for an evaluation), what was measured, on how many samples.

    A metric that is not finite is shown as missing. Metrics of the training itself should be named train_*; the others are
    taken to be of the model that came in.
    """
    task = _task
    if task is None:
        raise NotFederated("rounds.send answers a task: call rounds.receive() first")
    if task.done:
        raise RuntimeError("this task has been answered already")
    if task._document["kind"] == "evaluate" and not task._looked:
        raise RuntimeError("the job asked for an evaluation, and this script did not look at task.should_train: what it measured "
                           "may be a model that it has trained. Look at it, or set evaluate_last to false in the job's params")
    values = _finite(metrics or {})
    if task._document["kind"] != "evaluate":
        if model is None:
            raise TypeError("rounds.send needs the model")
        tensors = frameworks.weights_of(model)
        shared = task.shared(tensors)
        if task._document["kind"] == "train":
            values.update(_finish_training(task))
            _keep_own(task, model, tensors, shared)
        weights.save(shared, task._document["output"])
    task.done = True
    _connect().say(type="result", weight=float(num_samples), metrics=values)


def _finish_training(task: Task) -> Dict[str, float]:
    unmet = set(task.algorithm) - ATTACHED - {"loss_before", "boosters"}
    if unmet:
        raise RuntimeError(f"the job's workflow asks for {', '.join(sorted(unmet))}, which this package does not do")
    if set(task.algorithm) & ATTACHED and task._attached is None:
        raise RuntimeError("the job's workflow corrects or counts every step: call task.attach(optimizer) after task.load_into(model)")
    return task._attached.finish() if task._attached else {}


def _keep_own(task: Task, model: Any, tensors: Weights, shared: Weights) -> None:
    """What the job does not share stays here, but for what training does not change."""
    still = set(frameworks.frozen(model))
    own = {name: array for name, array in tensors.items() if name not in shared and name not in still}
    if own:
        task._keep("own", own)


def progress(fraction: float, stage: str = "training", **metrics: Any) -> None:
    """Says how far it is, 0 to 1, and what is measured so far; people see it live."""
    _connect().say(type="progress", stage=stage, fraction=float(fraction), metrics=_finite(metrics))


def log(message: str) -> None:
    """A line for the site's log."""
    _connect().say(type="log", message=str(message))


def fail(message: str, retry: bool = False) -> None:
    """Answers the task with an error that people will read; `retry`: another try may help."""
    if _task is not None:
        _task.done = True
    _connect().say(type="error", message=str(message), retry=retry)
