"""The Python package `gguf` at work, for tests/gguf_python.rs: writes files, and says what is in files."""

import json
import sys

import numpy as np
from gguf import GGMLQuantizationType as Type
from gguf import GGUFReader, GGUFValueType, GGUFWriter, quants


def show(value):
    if isinstance(value, bool | np.bool_):
        return "true" if value else "false"
    if isinstance(value, list):
        return ",".join(map(show, value))
    if isinstance(value, float | np.floating):
        # Rust's digits: no exponent from 1e-5 to 1e16, and no plus sign.
        text = repr(float(value))
        mantissa, _, exponent = text.partition("e")
        return text if not exponent else f"{mantissa.removesuffix('.0')}e{int(exponent)}"
    return str(value)


def read(path):
    reader = GGUFReader(path)
    keys, tensors = [], []
    for name, field in reader.fields.items():
        if name.startswith("GGUF."):
            continue
        # Of nested arrays it names the type of all and of the first, and their elements one after another.
        value = field.contents()
        keys.append((name, " ".join(kind.name for kind in field.types), show(value)))
    for tensor in reader.tensors:
        data = tensor.data.tobytes().hex()
        tensors.append((tensor.name, tensor.tensor_type.name, [int(n) for n in tensor.shape], data))
    print(json.dumps({"keys": sorted(keys), "tensors": sorted(tensors)}))


def write(path, alignment):
    writer = GGUFWriter(path, "qwen3")
    keys, tensors = [("general.architecture", "STRING", "qwen3")], []
    if alignment != 32:
        writer.add_custom_alignment(alignment)
    else:
        writer.add_uint32("general.alignment", 32)
    keys.append(("general.alignment", "UINT32", str(alignment)))
    values = [
        (GGUFValueType.UINT8, 255),
        (GGUFValueType.INT8, -128),
        (GGUFValueType.UINT16, 65535),
        (GGUFValueType.INT16, -32768),
        (GGUFValueType.UINT32, 2**32 - 1),
        (GGUFValueType.INT32, -(2**31)),
        (GGUFValueType.UINT64, 2**64 - 1),
        (GGUFValueType.INT64, -(2**63)),
        (GGUFValueType.FLOAT32, 0.15625),
        (GGUFValueType.FLOAT64, 0.1),
        (GGUFValueType.BOOL, True),
        (GGUFValueType.STRING, "é 中 \u0000 \"'"),
    ]
    for kind, value in values:
        writer.add_key_value(f"a.{kind.name}", value, kind)
        keys.append((f"a.{kind.name}", kind.name, show(value)))
    arrays = {
        "INT32": [1, -2, 3],
        "FLOAT32": [0.5, -0.25],
        "BOOL": [True, False, True],
        "STRING": ["", "x", "Ġé"],
        "ARRAY INT32": [[1, 2], [3], [4, 5, 6]],
        "ARRAY STRING": [["a"], ["b", "c"]],
        "ARRAY ARRAY INT32": [[[1], [2, 3]], [[4]]],
    }
    for n, (kind, value) in enumerate(arrays.items()):
        writer.add_array(f"b.{n}", value)
        keys.append((f"b.{n}", f"ARRAY {kind}", show(value)))
    writer.add_array("b.bytes", b"\x00\x7f\xff")
    keys.append(("b.bytes", "ARRAY UINT8", "0,127,255"))

    random = np.random.default_rng(7)

    def tensor(name, array, kind=None):
        writer.add_tensor(name, array, raw_dtype=kind)
        shape = array.shape
        if array.dtype == np.uint8:
            block, size = quants.GGML_QUANT_SIZES[kind]
            shape = (*shape[:-1], shape[-1] // size * block)
        kind = kind or {"float32": Type.F32, "float16": Type.F16}.get(str(array.dtype))
        name_of_kind = kind.name if kind else {"i": "I", "f": "F"}[array.dtype.kind] + str(8 * array.dtype.itemsize)
        tensors.append((name, name_of_kind, list(reversed(shape)), array.tobytes().hex()))

    tensor("f32", random.normal(size=(3, 5)).astype(np.float32))
    tensor("f16", random.normal(size=(7,)).astype(np.float16))
    tensor("f64", random.normal(size=(2, 2, 3)))
    for bits in (8, 16, 32, 64):
        tensor(f"i{bits}", random.integers(-100, 100, size=(2, 3, 1, 5)).astype(f"int{bits}"))
    for kind, columns in [
        (Type.BF16, 6),
        (Type.Q8_0, 32 * 2),
        (Type.TQ1_0, 256),
        (Type.TQ2_0, 512),
        (Type.Q1_0, 128 * 3),
        (Type.Q4_K, 256),
    ]:
        block, size = quants.GGML_QUANT_SIZES[kind]
        tensor(kind.name, random.integers(0, 256, size=(3, columns // block * size)).astype(np.uint8), kind)

    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    print(json.dumps({"keys": keys, "tensors": tensors}))


def quantize(path):
    writer = GGUFWriter(path, "qwen3")
    random = np.random.default_rng(8)
    expected = []
    for kind in (Type.F32, Type.F16, Type.BF16, Type.Q8_0, Type.TQ1_0, Type.TQ2_0):
        weights = (random.normal(size=(3, 512)) * 0.05).astype(np.float32)
        packed = quants.quantize(weights, kind)
        writer.add_tensor(kind.name, packed, raw_dtype=kind)
        values = quants.dequantize(packed, kind)
        expected.append((kind.name, [float(value) for value in values.flatten()]))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    print(json.dumps(expected))


if __name__ == "__main__":
    command, path = sys.argv[1:3]
    if command == "read":
        read(path)
    elif command == "write":
        write(path, int(sys.argv[3]))
    else:
        quantize(path)
