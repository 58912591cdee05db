"""Weights as safetensors files, with NumPy alone. NumPy has no bfloat16: it comes and goes as :class:`BFloat16`."""
from __future__ import annotations

import io
import json
import math
import os
import struct
from typing import Any, BinaryIO, Dict, Mapping, Optional, Tuple, Union

import numpy as np

PathLike = Union[str, "os.PathLike[str]"]
Weights = Dict[str, np.ndarray]

_NAMES = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "I64": "<i8", "I32": "<i4", "I16": "<i2", "I8": "i1", "U8": "u1",
          "BOOL": "?", "BF16": "<u2"}
_CODES = {np.dtype(code): name for name, code in _NAMES.items() if name != "BF16"}
_HEADER_LIMIT = 100 << 20


def _numbers(value: Any) -> Any:
    """The same with float32 in place of bfloat16, also inside lists and tuples."""
    if isinstance(value, BFloat16):
        return value.floats()
    return type(value)(_numbers(v) for v in value) if type(value) in (list, tuple) else value


class BFloat16(np.ndarray):
    """Numbers in bfloat16, of any shape: their bits are kept as uint16, and whoever counts with them gets float32.

    ``np.asarray(a)`` is the bits (uint16), ``a.floats()`` the numbers (float32); ``BFloat16.rounded(numbers)`` goes back.
    """

    @classmethod
    def of(cls, bits: np.ndarray) -> "BFloat16":
        """From bits: an array of uint16."""
        return np.asarray(np.asarray(bits), dtype=np.uint16).view(cls)

    @classmethod
    def rounded(cls, numbers: Any) -> "BFloat16":
        """The nearest bfloat16 of any numbers, ties to even; what is too large becomes infinite, NaN stays NaN."""
        single = np.asarray(_numbers(numbers), dtype=np.float32)
        bits = single.view(np.uint32).astype(np.uint64)
        near = ((bits + 0x7fff + (bits >> 16 & 1)) >> 16).astype(np.uint16)
        return cls.of(np.where(np.isnan(single), np.uint16(0x7fc0), near))

    def floats(self) -> np.ndarray:
        """The same numbers as float32, in an array of its own."""
        return (np.asarray(self).astype(np.uint32) << np.uint32(16)).view(np.float32)

    def astype(self, dtype: Any, *rest: Any, **options: Any) -> np.ndarray:
        """The numbers (not the bits) in that dtype."""
        return self.floats().astype(dtype, *rest, **options)

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **options: Any) -> Any:
        if any(isinstance(out, BFloat16) for out in options.get("out", ())):
            raise TypeError("an array of bfloat16 cannot be changed in place: a = BFloat16.rounded(a + b)")
        return getattr(ufunc, method)(*(_numbers(value) for value in inputs), **options)

    def __array_function__(self, func: Any, types: Any, args: Any, kwargs: Any) -> Any:
        return func(*_numbers(args), **{name: _numbers(value) for name, value in kwargs.items()})

    def __getitem__(self, index: Any) -> Any:
        found = super().__getitem__(index)
        return BFloat16.of(np.asarray(found)).floats()[()] if isinstance(found, np.generic) else found

    def __repr__(self) -> str:
        return f"BFloat16.rounded({self.floats()!r})"


def save(tensors: Mapping[str, np.ndarray], path: PathLike, metadata: Optional[Mapping[str, str]] = None) -> None:
    """Writes {name: array} of any shapes as a safetensors file, with texts beside them if `metadata` gives some.

    The dtypes are float64, float32, float16, :class:`BFloat16`, int64, int32, int16, int8, uint8 and bool; another one is a
    TypeError that names the tensor.
    """
    header: Dict[str, Any] = {"__metadata__": dict(metadata)} if metadata else {}
    arrays, offset = [], 0
    for name, array in tensors.items():
        brain = isinstance(array, BFloat16)
        array = np.ascontiguousarray(np.asarray(array)).reshape(np.shape(array))
        dtype = array.dtype.newbyteorder("<")
        if not brain and dtype not in _CODES:
            raise TypeError(f'tensor "{name}" has the dtype {array.dtype}, which safetensors does not have')
        header[name] = {"dtype": "BF16" if brain else _CODES[dtype], "shape": list(array.shape),
                        "data_offsets": [offset, offset + array.nbytes]}
        arrays.append(array.astype(dtype, copy=False))
        offset += array.nbytes
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for array in arrays:
            file.write(array.reshape(-1).view(np.uint8).data)


def load(path: PathLike) -> Weights:
    """A safetensors file as {name: array}, each with the shape and dtype that it has there; they may be changed."""
    with open(path, "rb") as file:
        return read(file)[0]


def metadata(path: PathLike) -> Dict[str, str]:
    """The texts that travel with the weights of a safetensors file, {name: text}; its tensors are not read."""
    with open(path, "rb") as file:
        return dict(_read_header(file).get("__metadata__") or {})


def parse(raw: bytes) -> Weights:
    """The bytes of a safetensors file as {name: array}; ValueError if it is none."""
    return read(io.BytesIO(raw))[0]


def read(file: BinaryIO) -> Tuple[Weights, Dict[str, str]]:
    """What a stream holds: the weights, and the texts beside them. The tensors' bytes are read once, into their place."""
    header = _read_header(file)
    texts = dict(header.pop("__metadata__", None) or {})
    for name, entry in header.items():
        _check(name, entry)
    size = max((entry["data_offsets"][1] for entry in header.values()), default=0)
    data = np.empty(size, np.uint8)
    space, filled = data.data, 0
    while filled < size:
        got = file.readinto(space[filled:])  # type: ignore[attr-defined]
        if not got:
            raise ValueError(f"not a whole safetensors file: {size - filled} bytes are missing at its end")
        filled += got
    return {name: _tensor(entry, data) for name, entry in header.items()}, texts


def _read_header(file: BinaryIO) -> Dict[str, Any]:
    prefix = file.read(8)
    length = struct.unpack("<Q", prefix)[0] if len(prefix) == 8 else _HEADER_LIMIT + 1
    text = file.read(length) if length <= _HEADER_LIMIT else b""
    if len(text) != length:
        raise ValueError("not a safetensors file: it is too short for its header")
    header = json.loads(text)
    if not isinstance(header, dict):
        raise ValueError("not a safetensors file: its header is no JSON object")
    return header


def _check(name: str, entry: Any) -> None:
    """ValueError unless a tensor's entry in the header is one."""
    try:
        first, last = entry["data_offsets"]
        count = math.prod(entry["shape"])
        fits = 0 <= first <= last and all(extent >= 0 for extent in entry["shape"])
        dtype = entry["dtype"]
    except (KeyError, TypeError, ValueError):
        raise ValueError(f'tensor "{name}" is not described as in a safetensors file') from None
    if dtype not in _NAMES:
        raise ValueError(f'tensor "{name}" has the dtype {dtype}, which this package does not read')
    if not fits or last - first != count * np.dtype(_NAMES[dtype]).itemsize:
        raise ValueError(f'tensor "{name}" has other bytes than its shape and dtype need')


def _tensor(entry: Mapping[str, Any], data: np.ndarray) -> np.ndarray:
    """A view into the file's bytes; a copy where they lie at an address that the dtype cannot have."""
    first, last = entry["data_offsets"]
    array = data[first:last]
    dtype = np.dtype(_NAMES[entry["dtype"]])
    if first % dtype.itemsize:
        array = array.copy()
    array = array.view(dtype).reshape(entry["shape"])
    return BFloat16.of(array) if entry["dtype"] == "BF16" else array
