"""Weights out of a model and into it, whatever made the model: PyTorch, scikit-learn, XGBoost, or a dict of arrays.

Weights are {name: array}; each array has the shape and dtype of the model's own tensor, bfloat16 as :class:`BFloat16`.
"""
from __future__ import annotations

import sys
from typing import Any, Dict, List, Mapping, Set

import numpy as np

from rounds import estimators
from rounds.failure import Failure, must_fit
from rounds.weights import BFloat16, Weights


_WRAPPERS = {"DistributedDataParallel": "module", "DataParallel": "module", "OptimizedModule": "_orig_mod"}  # torch.compile's


def bare(model: Any) -> Any:
    """The module that a wrapper (for several processes, or compiled) holds; else the model itself."""
    while is_torch(model) and type(model).__name__ in _WRAPPERS:
        model = getattr(model, _WRAPPERS[type(model).__name__])
    return model


def is_torch(model: Any) -> bool:
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(model, torch.nn.Module)


def _is_xgboost(model: Any) -> bool:
    xgboost = sys.modules.get("xgboost")
    return xgboost is not None and isinstance(model, (xgboost.Booster, xgboost.XGBModel))


def _must_be_tensor(name: str, value: Any) -> Any:
    """The value, unless it is what a module's get_extra_state returns."""
    if name.rsplit(".", 1)[-1] == "_extra_state":
        raise Failure("unsupported", f'"{name}" of the module is no tensor but what its get_extra_state returns, which cannot be '
                      "averaged: send a dict of the tensors that should travel, such as dict(model.named_parameters()), and "
                      "load task.weights with load_state_dict(..., strict=False)", tensor=name)
    return value


def _from_torch(name: str, tensor: Any) -> np.ndarray:
    import torch
    try:
        plain = tensor.detach().cpu().contiguous()
        if plain.dtype == torch.bfloat16:
            return BFloat16.of(plain.view(torch.int16).numpy().view(np.uint16))
        return np.asarray(plain.numpy())
    except (TypeError, NotImplementedError, RuntimeError):  # sparse, quantized, on no device, or of a dtype that NumPy lacks
        raise Failure("tensor", f'tensor "{name}" is {tensor.dtype}, {tensor.layout} on {tensor.device}, which cannot travel: send a dict '
                      "of dense tensors", tensor=name) from None


def to_torch(array: np.ndarray) -> Any:
    """The array as a tensor of the same shape and dtype; they share their memory where the array may be changed."""
    import torch
    bits = np.asarray(array)
    if not (bits.flags.writeable and bits.flags.c_contiguous):
        bits = bits.copy()
    return torch.from_numpy(bits.view(np.int16)).view(torch.bfloat16) if isinstance(array, BFloat16) else torch.from_numpy(bits)


def _state(model: Any) -> Dict[str, Any]:
    """A module's state_dict: the tensors themselves, under every name that they have."""
    return {name: _must_be_tensor(name, value) for name, value in model.state_dict(keep_vars=True).items()}


def weights_of(model: Any) -> Weights:
    """{name: array}: a module's state_dict, an estimator's coefficients, a booster's JSON as bytes, or a dict as it is.

    What lies in this machine's memory is not copied: the arrays are views of the model.
    """
    model = bare(model)
    if isinstance(model, Mapping):
        return {name: array if isinstance(array, np.ndarray) else _from_torch(name, array) if hasattr(array, "detach")
                else np.asarray(_must_be_tensor(name, array)) for name, array in model.items()}
    if is_torch(model):
        return {name: _from_torch(name, tensor) for name, tensor in _state(model).items()}
    if _is_xgboost(model):
        booster = model.get_booster() if hasattr(model, "get_booster") else model
        return {"booster": np.frombuffer(bytes(booster.save_raw("json")), np.uint8)}
    if estimators.is_estimator(model):
        return estimators.weights_of(model)
    raise Failure("unsupported", f"rounds does not know how to take weights out of {type(model).__name__}; give a dict of arrays")


def frozen(model: Any) -> Set[str]:
    """The parameters that training does not change (PyTorch's requires_grad=False), the same at every site: all their names."""
    model = bare(model)
    return {name for name, tensor in _state(model).items() if _is_parameter(tensor) and not tensor.requires_grad} \
        if is_torch(model) else set()


def buffers(model: Any) -> Set[str]:
    """The tensors of a module that are no parameters: running means, masks, counters."""
    model = bare(model)
    return {name for name, tensor in _state(model).items() if not _is_parameter(tensor)} if is_torch(model) else set()


def _is_parameter(tensor: Any) -> bool:
    import torch
    return isinstance(tensor, torch.nn.Parameter)


def parameter_names(model: Any) -> Dict[int, List[str]]:
    """{id of a parameter: all the names that a module's state_dict has for it}."""
    names: Dict[int, List[str]] = {}
    for name, tensor in _state(bare(model)).items():
        if _is_parameter(tensor):
            names.setdefault(id(tensor), []).append(name)
    return names


def tied(model: Any) -> Dict[str, str]:
    """{name: the first name of the same tensor}, for those that a model has under several names (tied embeddings)."""
    model = bare(model)
    tensors = _state(model) if is_torch(model) else model if isinstance(model, Mapping) else {}
    first: Dict[Any, str] = {}
    found: Dict[str, str] = {}
    for name, tensor in tensors.items():
        place = _place(tensor)
        if place is not None and first.setdefault(place, name) != name:
            found[name] = first[place]
    return found


def _place(tensor: Any) -> Any:
    """Where a tensor's numbers lie and how they are read; None if it has none."""
    if hasattr(tensor, "data_ptr"):
        return (tensor.data_ptr(), tuple(tensor.shape), tensor.stride(), str(tensor.dtype), str(tensor.device)) \
            if tensor.numel() and tensor.data_ptr() else None
    if isinstance(tensor, np.ndarray) and tensor.size:
        return tensor.__array_interface__["data"][0], tensor.shape, tensor.strides, tensor.dtype.str
    return None


def not_finite(array: np.ndarray) -> int:
    """How many of the numbers are infinite or NaN."""
    if array.dtype.kind != "f" and not isinstance(array, BFloat16):
        return 0
    if isinstance(array, BFloat16):
        return int(np.count_nonzero((np.asarray(array) & np.uint16(0x7f80)) == 0x7f80))
    with np.errstate(all="ignore"):
        if np.isfinite(array.sum(dtype=np.float64)):  # a sum that is finite has finite terms, and needs no array of its own
            return 0
    return int(array.size - np.count_nonzero(np.isfinite(array)))


def put_into(model: Any, weights: Weights) -> None:
    """Puts arrays by name into the model; those that it has beside them stay as they are.

    Shapes must be the model's own; dtypes are converted to the model's.
    """
    model = bare(model)
    if _is_xgboost(model):
        booster = model.get_booster() if hasattr(model, "get_booster") else model
        booster.load_model(bytearray(weights["booster"].tobytes()))
        return
    if estimators.is_estimator(model):
        estimators.put_into(model, weights)
        return
    mine = _state(model) if is_torch(model) else model
    if not isinstance(mine, Mapping):
        raise Failure("unsupported", f"rounds does not know how to put weights into {type(model).__name__}; give a dict of arrays")
    must_fit(weights, {name: tuple(getattr(tensor, "shape", ())) for name, tensor in mine.items()})
    if is_torch(model):
        model.load_state_dict({name: to_torch(array) for name, array in weights.items()}, strict=False)
        return
    for name, array in weights.items():
        _put_array(model, name, array)


def _put_array(model: Any, name: str, array: np.ndarray) -> None:
    mine = model[name]
    if hasattr(mine, "detach"):
        mine.data.copy_(to_torch(array))
    elif isinstance(mine, BFloat16):
        np.asarray(mine)[...] = np.asarray(array if isinstance(array, BFloat16) else BFloat16.rounded(array))
    elif not isinstance(mine, np.ndarray):  # a number: there is no array to fill
        model[name] = np.asarray(array).astype(np.asarray(mine).dtype)
    else:
        numbers = array.floats() if isinstance(array, BFloat16) else array
        if not np.can_cast(numbers.dtype, mine.dtype, "same_kind"):
            raise Failure("model", f'tensor "{name}" is {array.dtype} in the common model and {mine.dtype} here', name)
        mine[...] = numbers

