"""Weights as safetensors files, with NumPy alone. NumPy has no bfloat16: it comes and goes as :class:`BFloat16`."""
from __future__ import annotations

import json
import os
import struct
from typing import Any, Dict, Mapping, Union

import numpy as np

PathLike = Union[str, "os.PathLike[str]"]

_NAMES = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "I64": "<i8", "I32": "<i4", "I16": "<i2", "I8": "i1", "U8": "u1",
          "BOOL": "?"}
_CODES = {np.dtype(code): name for name, code in _NAMES.items()}


class BFloat16(np.ndarray):
    """An array of uint16 that holds the bits of bfloat16 numbers."""

    @classmethod
    def of(cls, bits: np.ndarray) -> "BFloat16":
        return np.ascontiguousarray(bits, dtype=np.uint16).view(cls)

    def floats(self) -> np.ndarray:
        """The same numbers as float32."""
        return (np.asarray(self).astype(np.uint32) << 16).view(np.float32)


def save(tensors: Mapping[str, np.ndarray], path: PathLike) -> None:
    """Writes {name: array} as a safetensors file. A dtype that it does not have is a TypeError that names the tensor."""
    header: Dict[str, Any] = {}
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
            file.write(array.tobytes())


def load(path: PathLike) -> Dict[str, np.ndarray]:
    """A safetensors file as {name: array}; the arrays are copies and may be changed."""
    with open(path, "rb") as file:
        raw = file.read()
    return parse(raw)


def parse(raw: bytes) -> Dict[str, np.ndarray]:
    """The bytes of a safetensors file as {name: array}; ValueError if it is none."""
    if len(raw) < 8 or struct.unpack("<Q", raw[:8])[0] > len(raw) - 8:
        raise ValueError("not a safetensors file: it is too short for its header")
    begin = 8 + struct.unpack("<Q", raw[:8])[0]
    header = json.loads(raw[8:begin])
    tensors: Dict[str, np.ndarray] = {}
    for name, entry in header.items():
        if name == "__metadata__":
            continue
        first, last = entry["data_offsets"]
        code = "<u2" if entry["dtype"] == "BF16" else _NAMES[entry["dtype"]]
        array = np.frombuffer(raw[begin + first:begin + last], code).reshape(entry["shape"]).copy()
        tensors[name] = BFloat16.of(array).reshape(entry["shape"]) if entry["dtype"] == "BF16" else array
    return tensors
