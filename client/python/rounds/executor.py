"""The script's side of the executor protocol (see client/README.md): tasks come in, models go out."""
from __future__ import annotations

import fnmatch
import json
import math
import os
import pathlib
import sys
import traceback
from typing import Any, Dict, Iterator, List, Mapping, Optional

import numpy as np

from rounds import algorithms, estimators, frameworks, weights, wire
from rounds.failure import KINDS, Failure, kind_of
from rounds.weights import Weights
from rounds.wire import NotFederated

SCHEMA = "rounds.schema"
_TOLD = 20000  # characters of a traceback, its end, that go to the site's log

_task: Optional["Task"] = None


def _tell(kind: Any, value: BaseException, trace: Any) -> None:
    """The exception that ends the script is the task's error. What it says, which may be of the data, stays at the site."""
    text = "".join(traceback.format_exception(kind, value, trace))
    sys.__excepthook__(kind, value, trace)
    if _task is None or _task.done or issubclass(kind, KeyboardInterrupt):
        return
    place = ""
    for frame in traceback.extract_tb(trace):
        if os.path.dirname(frame.filename) != os.path.dirname(__file__):
            place = f" ({os.path.basename(frame.filename)}, line {frame.lineno})"
    if _task.protocol < 2:  # there the message is told to the server
        text = f"{value}{place}" if isinstance(value, Failure) else f"{kind.__name__}{place}; the site's log has its words"
    else:
        text = f"{text.rstrip()[-_TOLD:]}{place}"
    fail(text, **kind_of(value))


def _finite(metrics: Mapping[str, Any]) -> Dict[str, Optional[float]]:
    clean: Dict[str, Optional[float]] = {}
    for name, value in metrics.items():
        try:
            number = float(value)
        except (TypeError, ValueError):
            raise Failure("metric", f'the metric "{name}" is a {type(value).__name__}, which is no number') from None
        clean[name] = number if math.isfinite(number) else None
    return clean


class Task:
    """What the server asks of this site now.

    Attributes:
        id, job: whose it is, as the server names them (text, UUIDs); job_name and site: as people do.
        round, rounds: which round of how many, int; the first is 1.
        params: the job's `trainer` object, a dict of JSON values.
        dataset: the dataset as the site's administrator named and described it: "name", "path" (absolute) and more.
        seed: int; all randomness should follow from it and from the round.
        algorithm: what the job's workflow asks beyond plain training, such as {"proximal_mu": 0.01}; {} if nothing.
        share: patterns of the names of the tensors that travel, list of text; ["*"] for all.
        own: a directory for what stays at this site from task to task.
        scratch: a directory that is removed after the task.
        protocol: version of the executor protocol that the site speaks, int.
    """

    def __init__(self, document: Dict[str, Any]) -> None:
        self._take(document)

    def _take(self, document: Dict[str, Any]) -> None:
        self._document = document
        self._looked = False
        self.protocol: int = document.get("protocol", 1)
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
        self._texts: Dict[str, str] = {}
        self._control: Optional[Weights] = None
        self._model: Any = None
        self._attached: List[algorithms.Attached] = []
        self.done = False

    @property
    def kind(self) -> str:
        """"train", "evaluate" (measure the model, train nothing) or "initialize" (make the first model).

        Whoever has asked is trusted to do as it says: see `send`.
        """
        self._looked = True
        return str(self._document["kind"])

    @property
    def should_train(self) -> bool:
        """False for an evaluation: measure the model and send the metrics without training."""
        return self.kind == "train"

    @property
    def weights(self) -> Weights:
        """The common model as {name: array}, of the shapes and dtypes that it has at the server; empty for an initialization.

        float64, float32, float16, int64, int32, int16, int8, uint8, bool, and bfloat16 as weights.BFloat16. They are this task's own and
        may be changed, but SCAFFOLD compares with them what `send` gets.
        """
        if self._weights is None:
            path = self._document.get("model")
            self._weights, self._texts = {}, {}
            if path:
                with open(path, "rb") as file:
                    self._weights, self._texts = weights.read(file)
        return self._weights

    @property
    def schema(self) -> Optional[Dict[str, Any]]:
        """What the model says of its inputs, {"features": [names in order], ...}, or None. `rounds.send` keeps it."""
        self.weights
        return json.loads(self._texts[SCHEMA]) if SCHEMA in self._texts else None

    @property
    def control(self) -> Weights:
        """What comes beside the model: SCAFFOLD's control variate c, {name: array} with the model's shapes; empty if there is none."""
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
            document = wire.hear()
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

    @property
    def _blind(self) -> str:
        """Where this site notes that the job's script trains without looking at what it is asked."""
        return os.path.join(self.own, "never-looked")

    def _newest(self, what: str, before: int) -> Optional[str]:
        """The newest file of that kind from an earlier round: a task that is done again begins from the same."""
        numbers = [int(name[len(what) + 1:-len(".safetensors")]) for name in os.listdir(self.own)
                   if name.startswith(what + "-") and name.endswith(".safetensors")]
        earlier = [number for number in numbers if number < before]
        return self._kept(what, max(earlier)) if earlier else None

    def _kept(self, what: str, number: int) -> str:
        return os.path.join(self.own, f"{what}-{number}.safetensors")

    def _keep(self, what: str, tensors: Weights) -> None:
        """This round's, whole or not at all; of older ones only that from which this round began is kept."""
        begun_from, path = self._newest(what, self.round), self._kept(what, self.round)
        weights.save(tensors, path + ".part")
        os.replace(path + ".part", path)
        for number in range(self.round - 1, -1, -1):
            path = self._kept(what, number)
            if path != begun_from and os.path.exists(path):
                os.unlink(path)

    def attach(self, optimizer: Any) -> Any:
        """Lets the job's algorithm correct the steps of a torch optimizer: FedProx's penalty, SCAFFOLD's control variates.

        Call it in every round, after load_into, for each optimizer that steps the model, new or kept from round to round. Without
        such an algorithm it only counts steps (which FedNova needs). Returns the optimizer.
        """
        self._attached.append(algorithms.Attached(self, optimizer))
        return optimizer

    def shared(self, tensors: Weights) -> Weights:
        """Those of {name: array} whose names match a pattern of the job's `share`; Failure if none does."""
        chosen = {name: array for name, array in tensors.items()
                  if any(fnmatch.fnmatchcase(name, pattern) for pattern in self.share)}
        if not chosen:
            raise Failure("tensor", f"the job's patterns {self.share} match none of the model's tensors: "
                             f"{', '.join(list(tensors)[:6])} ...")
        return chosen


def receive() -> Optional[Task]:
    """Waits for the next task; None when the job needs this script no more. NotFederated outside rounds-site."""
    global _task
    sys.excepthook = _tell
    document = wire.hear()
    _task = Task(document) if document else None
    return _task


def tasks() -> Iterator[Task]:
    """Each task as it comes, until the job is over. An exception in the loop's body is told to the site."""
    while True:
        task = receive()
        if task is None:
            return
        if task._document["kind"] == "evaluate" and os.path.exists(task._blind):  # in every rank
            _answer_blindly(task)
            continue
        try:
            yield task
        finally:
            if not task.done and sys.exc_info()[0] is None and _task is not None and not _task.done:
                fail("the script went on to the next task without rounds.send", kind="no_update")


def send(model: Any = None, metrics: Optional[Mapping[str, Any]] = None, num_samples: float = 1) -> None:
    """Answers the task.

    model: as it is now: a torch module, an estimator, a booster, or {name: array} (arrays, tensors or numbers) with the names, shapes
        and dtypes of `task.weights`. Not needed for an evaluation.
    metrics: {name: number}, anything that float() takes; one that is not finite is shown as missing. Those of the training itself
        should be named train_*; the others are taken to be of the model that came in.
    num_samples: how many samples were used, a number of 0 or more: the weight of this site in the mean.

    A script that never looks at `task.kind` or `task.should_train` cannot be asked to measure without training: an evaluation at
    the end of its job is answered for it, with no metrics.
    """
    task = _task
    if task is None:
        raise NotFederated("rounds.send answers a task: call rounds.receive() first")
    if task.done:
        raise RuntimeError("this task has been answered already")
    if wire.rank() > 0:  # rank 0's answer counts
        task.done = True
        return
    if task._document["kind"] == "evaluate" and not task._looked:
        _answer_blindly(task)
        return
    values, weight = _finite(metrics or {}), _weight(num_samples)
    if task._document["kind"] != "evaluate":
        if model is None:
            raise Failure("no_update", "rounds.send needs the model")
        tensors = frameworks.weights_of(model)
        shared = task.shared(tensors)
        _check_rows(task, model, num_samples)
        if task._document["kind"] == "train":
            values.update(algorithms.finish(task, task._attached))
            _note_blindness(task)
        sent = _sendable(task, model, shared)
        if task._document["kind"] == "train":
            _keep_own(task, model, tensors, shared)
        try:
            weights.save(sent, task._document["output"], {SCHEMA: task._texts[SCHEMA]} if SCHEMA in task._texts else None)
        except TypeError as error:  # a dtype that cannot travel
            raise Failure("tensor", str(error)) from None
    task.done = True
    wire.connect().say(type="result", weight=weight, metrics=values)


def _note_blindness(task: Task) -> None:
    if not task._looked:
        pathlib.Path(task._blind).touch()
    elif os.path.exists(task._blind):  # the script has been mended since
        os.unlink(task._blind)


def _weight(num_samples: Any) -> float:
    number = float(num_samples)
    if not math.isfinite(number) or number < 0:
        raise Failure("weight", "num_samples must be how many samples were used: a number of 0 or more")
    return number


def _answer_blindly(task: Task) -> None:
    """An evaluation for a script that trains whatever it is asked: what it measures is not the model that came in.

    It trained in earlier rounds of this job without looking at should_train, so this is the measuring of the last model at the
    job's end: it goes unmeasured. A job that only measures needs a script that can.
    """
    if not os.path.exists(task._blind):
        raise Failure("unsupported", "the job asks for an evaluation, and this script did not look at task.should_train: what it "
                      "measured may be a model that it has trained. Train only `if task.should_train`")
    task.done = True
    log("the last model is not measured here: the script does not look at task.should_train")
    wire.connect().say(type="result", weight=1.0, metrics={})


def _check_rows(task: Task, model: Any, num_samples: float) -> None:
    """An estimator that travels as sums over its rows: their mean is right only with that weight, and small groups stay here."""
    counts = estimators.rows_of(model)
    if not len(counts):
        return
    if task._document["kind"] == "train" and not math.isclose(counts.sum(), num_samples):
        raise Failure("weight", f"{type(model).__name__} travels as sums over the rows that it was fitted with, {counts.sum():g}, and "
                      "num_samples must be just that: after task.load_into call fit, not partial_fit")
    least = task.dataset.get("min_cell", 5)
    if estimators.smallest_group(model) < least:
        raise Failure("too_few", "a class, or one value of an indicator within a class, has fewer rows here than the dataset's "
                      f"min_cell, {least}: sums of so few would tell of single rows")


def _sendable(task: Task, model: Any, shared: Weights) -> Weights:
    """What goes out of the shared tensors: each once, however many names it has, and none that no mean can be taken of."""
    tied, still = frameworks.tied(model), frameworks.buffers(model)
    known = {tied.get(name, name) for name in task.weights}  # a tensor that the common model has under one of its names
    sent: Weights = {}
    taken = set()
    for name, array in shared.items():
        first = tied.get(name, name)
        if name not in task.weights and (first in known or first in taken):
            continue
        wrong = frameworks.not_finite(array)
        if wrong and name in still and name not in task.weights:
            log(f'the buffer "{name}" holds values that are not finite: it stays at this site')
            continue
        if wrong:
            raise Failure("not_finite", f'tensor "{name}" holds {wrong} values that are infinite or NaN, of which no mean can be taken. '
                          "If it is a mask or another constant, keep it out of what travels: register_buffer(..., persistent=False), or "
                          'name what travels in the job\'s "share"; if it is a weight, the training has diverged', name)
        taken.add(first)
        sent[name] = array
    return sent


def _keep_own(task: Task, model: Any, tensors: Weights, shared: Weights) -> None:
    """What the job does not share stays here, but for what training does not change and other names of what travels."""
    still, tied = frameworks.frozen(model), frameworks.tied(model)
    travels = {tied.get(name, name) for name in shared}
    own = {name: array for name, array in tensors.items()
           if name not in shared and name not in still and name not in tied and name not in travels}
    if own:
        task._keep("own", own)


def progress(fraction: float, stage: str = "training", **metrics: Any) -> None:
    """Says how far it is, 0 to 1, and what is measured so far; people see it live."""
    done = float(fraction)
    wire.connect().say(type="progress", stage=str(stage), fraction=done if math.isfinite(done) else None, metrics=_finite(metrics))


def log(message: str) -> None:
    """A line for the site's log. What the script prints goes there, too."""
    wire.connect().say(type="log", message=str(message))


def fail(message: str = "", retry: bool = False, *, kind: str = "program", role: Optional[str] = None, row: Optional[int] = None,
         column: Optional[int] = None, tensor: Optional[str] = None) -> None:
    """Answers the task with an error.

    What leaves the site is its `kind` (failure.KINDS) and where it is: `role`, which of the dataset's files ("path", "labels", or
    another member of the dataset in site.json); `row` and `column` of that file, counted from 1, the header being row 1; `tensor`, a
    tensor's name. `message` may say all that helps: it stays in the site's log. `retry`: another try may help.
    """
    if kind not in KINDS:
        raise ValueError(f'there is no kind "{kind}"; there are {", ".join(KINDS)}')
    if wire.rank() > 0:
        raise RuntimeError(f"rank {wire.rank()} failed: {message or kind}")  # its end ends the others
    if _task is not None:
        _task.done = True
    place = {"role": role, "row": row, "column": column, "tensor": tensor}
    wire.connect().say(type="error", kind=kind, message=str(message) or f"the script failed: {kind}", retry=bool(retry),
                       **{name: value for name, value in place.items() if value is not None})
