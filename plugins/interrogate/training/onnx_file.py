"""How a small network is written as an ONNX file, without the package onnx: its protocol buffers, by hand.

Field numbers are those of onnx.proto (ONNX 1.14, IR version 8, opset 17)."""

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

TYPES = {"float32": 1, "int64": 7, "float16": 10}
OPSET = 17


@dataclass
class Node:
    """`op` on names of values; what it gives has the name `gives`. Attributes are ints, floats or lists of ints."""

    op: str
    takes: Sequence[str]
    gives: str
    attributes: Mapping[str, Any] = field(default_factory=dict)


def onnx_bytes(
    nodes: Sequence[Node], weights: Mapping[str, np.ndarray], given: tuple[str, Sequence], result: tuple[str, Sequence],
    metadata: Mapping[str, str] | None = None,
) -> bytes:  # fmt: skip
    """A network with one input and one output, each (name, shape); a dimension that is a text may be any number."""
    graph = b"".join(_message(1, _node(node)) for node in nodes) + _text(2, "network")
    graph += b"".join(_message(5, _tensor(name, array)) for name, array in weights.items())
    graph += _message(11, _value(*given)) + _message(12, _value(*result))
    entries = (_text(1, key) + _text(2, value) for key, value in (metadata or {}).items())
    model = _number(1, 8) + _text(2, "stable-core") + _message(7, graph)
    return model + _message(8, _text(1, "") + _number(2, OPSET)) + b"".join(_message(14, each) for each in entries)


def _node(node: Node) -> bytes:
    links = b"".join(_text(1, name) for name in node.takes) + _text(2, node.gives)
    attributes = b"".join(_message(5, _attribute(*each)) for each in node.attributes.items())
    return links + _text(4, node.op) + attributes


def _attribute(name: str, value: Any) -> bytes:
    if isinstance(value, float):
        return _text(1, name) + _key(2, 5) + struct.pack("<f", value) + _number(20, 1)
    if isinstance(value, int):
        return _text(1, name) + _number(3, value) + _number(20, 2)
    return _text(1, name) + b"".join(_number(8, each) for each in value) + _number(20, 7)


def _tensor(name: str, array: np.ndarray) -> bytes:
    dims = b"".join(_number(1, size) for size in array.shape)
    return dims + _number(2, TYPES[str(array.dtype)]) + _text(8, name) + _message(9, array.tobytes())


def _value(name: str, shape: Sequence) -> bytes:
    dims = (_text(2, size) if isinstance(size, str) else _number(1, size) for size in shape)
    tensor = _number(1, TYPES["float32"]) + _message(2, b"".join(_message(1, dim) for dim in dims))
    return _text(1, name) + _message(2, _message(1, tensor))


def _message(number: int, content: bytes) -> bytes:
    return _key(number, 2) + _varint(len(content)) + content


def _text(number: int, text: str) -> bytes:
    return _message(number, text.encode())


def _number(number: int, value: int) -> bytes:
    return _key(number, 0) + _varint(value & (2**64 - 1))


def _key(number: int, kind: int) -> bytes:
    return _varint(number << 3 | kind)


def _varint(value: int) -> bytes:
    found = bytearray()
    while value > 127:
        found.append(value & 127 | 128)
        value >>= 7
    return bytes([*found, value])
