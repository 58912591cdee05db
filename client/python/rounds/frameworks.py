"""Weights out of a model and into it, whatever made the model: PyTorch, scikit-learn, XGBoost, or a dict of arrays."""
from __future__ import annotations

import sys
from typing import Any, Dict, List, Mapping, Tuple

import numpy as np

from rounds.weights import BFloat16

Weights = Dict[str, np.ndarray]


def is_torch(model: Any) -> bool:
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(model, torch.nn.Module)


def _is_xgboost(model: Any) -> bool:
    xgboost = sys.modules.get("xgboost")
    return xgboost is not None and isinstance(model, (xgboost.Booster, xgboost.XGBModel))


def _is_sklearn(model: Any) -> bool:
    return hasattr(model, "get_params") and hasattr(model, "fit")


def _from_torch(tensor: Any) -> np.ndarray:
    import torch
    tensor = tensor.detach().cpu().contiguous()
    if tensor.dtype == torch.bfloat16:
        return BFloat16.of(tensor.view(torch.int16).numpy().view(np.uint16)).reshape(tuple(tensor.shape))
    return np.asarray(tensor.numpy())


def to_torch(array: np.ndarray) -> Any:
    """An array as a tensor of the same dtype and shape."""
    import torch
    if isinstance(array, BFloat16):
        return torch.from_numpy(np.asarray(array).view(np.int16).copy()).view(torch.bfloat16)
    return torch.from_numpy(np.array(array))


def _estimator_parts(model: Any) -> List[Tuple[str, np.ndarray]]:
    """What a fitted estimator has learned: linear models have coef_ and intercept_, networks coefs_ and intercepts_."""
    parts: List[Tuple[str, np.ndarray]] = []
    for name in ("coef_", "intercept_"):
        if hasattr(model, name):
            parts.append((name, getattr(model, name)))
    for name in ("coefs_", "intercepts_"):
        parts += [(f"{name}.{i}", array) for i, array in enumerate(getattr(model, name, []))]
    return parts


def weights_of(model: Any) -> Weights:
    """{name: array}: a module's state_dict, an estimator's coefficients, a booster's JSON as bytes, or a dict as it is."""
    if isinstance(model, Mapping):
        return {name: array if isinstance(array, np.ndarray) else _from_torch(array) if hasattr(array, "detach")
                else np.asarray(array) for name, array in model.items()}
    if is_torch(model):
        return {name: _from_torch(tensor) for name, tensor in model.state_dict().items()}
    if _is_xgboost(model):
        booster = model.get_booster() if hasattr(model, "get_booster") else model
        return {"booster": np.frombuffer(bytes(booster.save_raw("json")), np.uint8)}
    if _is_sklearn(model):
        parts = _estimator_parts(model)
        if not parts:
            raise TypeError(f"{type(model).__name__} has no coefficients yet: fit it (or partial_fit a few rows) before it "
                            "is sent or loaded into")
        return {name: np.atleast_1d(np.asarray(array, dtype=np.float64)) for name, array in parts}
    raise TypeError(f"rounds does not know how to take weights out of {type(model).__name__}; give a dict of arrays")


def frozen(model: Any) -> List[str]:
    """The parameters that training does not change (PyTorch's requires_grad=False): the same at every site."""
    return [name for name, p in model.named_parameters() if not p.requires_grad] if is_torch(model) else []


def _put(model: Any, name: str, array: np.ndarray) -> None:
    if "." in name:
        kind, index = name.split(".")
        getattr(model, kind)[int(index)][...] = array
        return
    old = np.asarray(getattr(model, name))
    setattr(model, name, np.asarray(array).reshape(old.shape).astype(old.dtype))


def put_into(model: Any, weights: Weights) -> None:
    """Puts arrays by name into the model; those that it has beside them stay as they are."""
    if _is_xgboost(model):
        booster = model.get_booster() if hasattr(model, "get_booster") else model
        booster.load_model(bytearray(weights["booster"].tobytes()))
        return
    mine = weights_of(model)
    for name, array in weights.items():
        if name not in mine:
            raise ValueError(f'the common model has a tensor "{name}" that this model does not have; it has {_some(mine)}')
        if np.size(mine[name]) != np.size(array) or (not _is_sklearn(model) and mine[name].shape != array.shape):
            raise ValueError(f'tensor "{name}" has the shape {array.shape} in the common model and {mine[name].shape} here')
    if is_torch(model):
        model.load_state_dict({name: to_torch(array) for name, array in weights.items()}, strict=False)
    elif isinstance(model, Mapping):
        for name, array in weights.items():
            if hasattr(model[name], "detach"):
                model[name].data.copy_(to_torch(array))
            else:
                np.asarray(model[name])[...] = array
    else:
        for name, array in weights.items():
            _put(model, name, array)


def _some(names: Any) -> str:
    names = list(names)
    return ", ".join(names[:6]) + (f" and {len(names) - 6} more" if len(names) > 6 else "")
