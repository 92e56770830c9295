"""Writes GGUF v3 files whose matrices are Q1_0 or TQ2_0 and whose vectors are F32."""

import struct
import typing

import numpy as np

ALIGNMENT = 32
GGML_F32 = 0


class Format(typing.NamedTuple):
    """How a matrix is stored."""

    ggml_type: int
    file_type: int
    """What `general.file_type` says (of Q1_0: what Bonsai's files say)."""
    block: int
    """Weights that share a scale, along a row."""
    codes: typing.Callable[[np.ndarray], np.ndarray]
    """Signs `[blocks, block]` -> the bytes that stand for them `[blocks, n]`."""
    scale_first: bool


def _q1_0_codes(signs):
    """128 sign bits, 1 for plus, LSB first."""
    return np.packbits(signs > 0, axis=1, bitorder="little")


def _tq2_0_codes(signs):
    """Two bits a weight, sign + 1: byte j of either half of a block has the weights j, j + 32, j + 64 and j + 96."""
    planes = (signs + 1).astype(np.uint8).reshape(-1, 2, 4, 32)
    return (planes << np.arange(0, 8, 2, dtype=np.uint8)[:, None]).sum(2, dtype=np.uint8).reshape(-1, 64)


FORMATS = {
    "q1_0": Format(41, 41, 128, _q1_0_codes, scale_first=True),
    "tq2_0": Format(35, 37, 256, _tq2_0_codes, scale_first=False),
}


def pack(weights, form):
    """Packs `[rows, k]` weights that have, in each block of a row, no values but one f16 scale, its negative and 0."""
    rows, k = weights.shape
    assert k % form.block == 0, f"row length {k} is not a multiple of {form.block}"
    blocks = weights.reshape(-1, form.block)
    scales = np.abs(blocks).max(1, keepdims=True).astype("<f2")
    signs = np.sign(blocks)
    # nothing is rounded here: the file computes what was trained
    assert (signs * scales == blocks).all(), "the weights are not what the format can hold"
    assert signs.all() or form.ggml_type != FORMATS["q1_0"].ggml_type, "Q1_0 has no zero"
    parts = [scales.view(np.uint8), form.codes(signs)]
    return np.concatenate(parts if form.scale_first else parts[::-1], 1).tobytes()


def _string(text):
    data = text.encode()
    return struct.pack("<Q", len(data)) + data


def _value(value):
    """Encodes one metadata value as (type id, bytes); ints are u32, floats f32."""
    if isinstance(value, bool):
        return 7, struct.pack("<?", value)
    if isinstance(value, int):
        return 4, struct.pack("<I", value)
    if isinstance(value, float):
        return 6, struct.pack("<f", value)
    if isinstance(value, str):
        return 8, _string(value)
    if isinstance(value, np.ndarray) and value.dtype == np.int32:
        return 9, struct.pack("<IQ", 5, value.size) + value.astype("<i4").tobytes()
    if isinstance(value, list) and all(isinstance(item, str) for item in value):
        return 9, struct.pack("<IQ", 8, len(value)) + b"".join(map(_string, value))
    raise TypeError(f"no GGUF type for {value!r}")


def write_gguf(path, metadata, tensors, form):
    """Writes `metadata` (name -> value) and `tensors` (name -> float array): 1-D is F32, 2-D `[out, in]` is packed."""
    infos, data = b"", b""
    for name, array in tensors.items():
        data += b"\0" * (-len(data) % ALIGNMENT)
        kind = GGML_F32 if array.ndim == 1 else form.ggml_type
        dims = array.shape[::-1]  # GGUF puts the input dimension first
        infos += _string(name) + struct.pack("<I", len(dims)) + struct.pack(f"<{len(dims)}Q", *dims)
        infos += struct.pack("<IQ", kind, len(data))
        data += array.astype("<f4").tobytes() if kind == GGML_F32 else pack(array, form)

    header = b"GGUF" + struct.pack("<IQQ", 3, len(tensors), len(metadata))
    for key, value in metadata.items():
        kind, encoded = _value(value)
        header += _string(key) + struct.pack("<I", kind) + encoded
    header += infos
    header += b"\0" * (-len(header) % ALIGNMENT)
    with open(path, "wb") as file:
        file.write(header + data)
