"""Writes GGUF v3 files with Q1_0 and F32 tensors."""

import struct

import numpy as np

ALIGNMENT = 32
GGML_F32, GGML_Q1_0 = 0, 41
Q1_0_BLOCK = 128


def pack_q1_0(weights):
    """Packs `[rows, k]` weights: per 128 of a row, `f16 d = mean|w|`, then 128 sign bits (w >= 0), LSB first."""
    rows, k = weights.shape
    assert k % Q1_0_BLOCK == 0, f"row length {k} is not a multiple of {Q1_0_BLOCK}"
    blocks = weights.astype(np.float32).reshape(-1, Q1_0_BLOCK)
    out = np.empty((blocks.shape[0], 18), np.uint8)
    out[:, :2] = np.abs(blocks).mean(axis=1, dtype=np.float32).astype("<f2")[:, None].view(np.uint8)
    out[:, 2:] = np.packbits(blocks >= 0, axis=1, bitorder="little")
    return out.tobytes()


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


def write_gguf(path, metadata, tensors):
    """Writes `metadata` (name -> value) and `tensors` (name -> float array; 1-D stays F32, 2-D `[out, in]` becomes Q1_0)."""
    infos, data = b"", b""
    for name, array in tensors.items():
        data += b"\0" * (-len(data) % ALIGNMENT)
        kind = GGML_F32 if array.ndim == 1 else GGML_Q1_0
        dims = array.shape[::-1]  # GGUF puts the input dimension first
        infos += _string(name) + struct.pack("<I", len(dims)) + struct.pack(f"<{len(dims)}Q", *dims)
        infos += struct.pack("<IQ", kind, len(data))
        data += array.astype("<f4").tobytes() if kind == GGML_F32 else pack_q1_0(array)

    header = b"GGUF" + struct.pack("<IQQ", 3, len(tensors), len(metadata))
    for key, value in metadata.items():
        kind, encoded = _value(value)
        header += _string(key) + struct.pack("<I", kind) + encoded
    header += infos
    header += b"\0" * (-len(header) % ALIGNMENT)
    with open(path, "wb") as file:
        file.write(header + data)
