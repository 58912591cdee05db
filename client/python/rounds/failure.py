"""Why a task came to nothing, in words that hold nothing of the site's data."""
from __future__ import annotations

import errno
from typing import Any, Dict, Mapping, Optional, Tuple

import numpy as np

#: What a failure may be called; client/README.md says which is what.
KINDS = ("cell", "header", "column", "encoding", "label", "category", "dataset", "schema", "too_few", "executor", "exit", "signal",
         "timeout", "output", "program", "unsupported", "no_update", "tensor", "not_finite", "weight", "metric", "result_refused",
         "model", "download", "no_space", "no_memory", "params", "policy", "internal")


class Failure(RuntimeError):
    """An exception that knows its kind, and which tensor it is about. Its message stays in the site's log."""

    def __init__(self, kind: str, message: str, tensor: Optional[str] = None) -> None:
        super().__init__(message)
        self.kind, self.tensor = kind, tensor


def kind_of(error: BaseException) -> Dict[str, Any]:
    """{"kind"} and what else is known of an exception, for rounds.fail; another try helps where memory or space was short."""
    if isinstance(error, Failure):
        return {"kind": error.kind, "tensor": error.tensor}
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":  # torch.cuda has one of its own
        return {"kind": "no_memory", "retry": True}
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return {"kind": "no_space", "retry": True}
    return {"kind": "program"}


def must_fit(weights: Mapping[str, np.ndarray], mine: Mapping[str, Tuple[int, ...]]) -> None:
    """Failure with its name for a tensor of the common model that is not among `mine`, {name: shape}, or has another shape."""
    for name, array in weights.items():
        if name not in mine:
            some = ", ".join(list(mine)[:6]) + (f" and {len(mine) - 6} more" if len(mine) > 6 else "")
            raise Failure("model", f'the common model has a tensor "{name}" that this model does not have; it has {some}', name)
        if tuple(mine[name]) != array.shape:
            raise Failure("model", f'tensor "{name}" has the shape {array.shape} in the common model and {tuple(mine[name])} here', name)
