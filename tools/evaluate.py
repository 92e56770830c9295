"""Runs a Qwen3 GGUF file in float64 with numpy alone, from the bytes of the file.

    venv/bin/python tools/evaluate.py models/adder-tq2_0.gguf models/adder-heldout.txt
    venv/bin/python tools/evaluate.py tests/data/qwen3-tq2_0-yarn-tied.gguf tests/data/qwen3-tq2_0-yarn-tied.logits.json

The first answers sums greedily and says how many it got right; the second compares logits with those of the JSON file.
"""

import argparse
import json
import math
import pathlib

import gguf
import numpy as np


def dequantize(tensor):
    """The values of a tensor, float64, the input dimension last."""
    if tensor.tensor_type == gguf.GGMLQuantizationType.Q1_0:  # the package knows its size alone
        blocks = tensor.data.reshape(-1, 18)
        signs = np.unpackbits(blocks[:, 2:], axis=1, bitorder="little") * 2.0 - 1.0
        values = signs * blocks[:, :2].copy().view("<f2").astype(np.float64)
    else:
        values = gguf.quants.dequantize(tensor.data, tensor.tensor_type)
    return values.astype(np.float64).reshape(tensor.shape[::-1])


def rms_norm(x, weight, eps):
    return x / np.sqrt((x * x).mean(-1, keepdims=True) + eps) * weight


class Model:
    """The weights of a file and what its metadata says."""

    def __init__(self, path):
        reader = gguf.GGUFReader(path)
        self.weights = {tensor.name: dequantize(tensor) for tensor in reader.tensors}
        key = lambda name, default=None: (  # noqa: E731
            reader.fields[name].contents() if name in reader.fields else default
        )
        assert key("general.architecture") == "qwen3"
        self.tokens = key("tokenizer.ggml.tokens")
        self.end = key("tokenizer.ggml.eos_token_id")
        self.layers = key("qwen3.block_count")
        self.heads = key("qwen3.attention.head_count")
        self.kv_heads = key("qwen3.attention.head_count_kv")
        self.head_dim = key("qwen3.attention.key_length")
        self.eps = key("qwen3.attention.layer_norm_rms_epsilon")

        pair = np.arange(self.head_dim // 2)
        base = key("qwen3.rope.freq_base")
        self.frequency = base ** (-2.0 * pair / self.head_dim)
        self.rope_scale = 1.0
        if key("qwen3.rope.scaling.type") == "yarn":
            factor, original = key("qwen3.rope.scaling.factor"), key("qwen3.rope.scaling.original_context_length")
            # the pair that turns `turns` times within the original context
            turning = lambda turns: (  # noqa: E731
                self.head_dim * math.log(original / (turns * 2 * math.pi)) / (2 * math.log(base))
            )
            low, high = max(math.floor(turning(32)), 0), min(math.ceil(turning(1)), self.head_dim - 1)
            slow = np.clip((pair - low) / max(high - low, 0.001), 0, 1)
            self.frequency *= (1 - slow) + slow / factor
            self.rope_scale = 1 + 0.1 * math.log(factor)

    def rope(self, x):
        """Rotates pairs (i, i + head_dim/2) of `[batch, position, head, head_dim]`."""
        angle = np.arange(x.shape[1])[:, None, None] * self.frequency
        cos, sin = np.cos(angle) * self.rope_scale, np.sin(angle) * self.rope_scale
        a, b = np.split(x, 2, axis=-1)
        return np.concatenate([a * cos - b * sin, b * cos + a * sin], -1)

    def logits(self, ids):
        """Logits `[batch, position, vocab]` of token ids `[batch, position]`."""
        w = self.weights
        batch, length = ids.shape
        future = np.triu(np.full((length, length), -np.inf), 1)
        h = w["token_embd.weight"][ids]
        for n in range(self.layers):
            p = lambda name: w[f"blk.{n}.{name}.weight"]  # noqa: E731, B023
            x = rms_norm(h, p("attn_norm"), self.eps)
            q = (x @ p("attn_q").T).reshape(batch, length, self.heads, -1)
            k = (x @ p("attn_k").T).reshape(batch, length, self.kv_heads, -1)
            v = (x @ p("attn_v").T).reshape(batch, length, self.kv_heads, -1)
            q = self.rope(rms_norm(q, p("attn_q_norm"), self.eps))
            k = self.rope(rms_norm(k, p("attn_k_norm"), self.eps))
            k, v = (np.repeat(t, self.heads // self.kv_heads, axis=2) for t in (k, v))
            scores = np.einsum("bqhd,bkhd->bhqk", q, k) / math.sqrt(self.head_dim) + future
            scores = np.exp(scores - scores.max(-1, keepdims=True))
            mixed = np.einsum("bhqk,bkhd->bqhd", scores / scores.sum(-1, keepdims=True), v)
            h = h + mixed.reshape(batch, length, -1) @ p("attn_output").T
            x = rms_norm(h, p("ffn_norm"), self.eps)
            gate = x @ p("ffn_gate").T
            h = h + (gate / (1 + np.exp(-gate)) * (x @ p("ffn_up").T)) @ p("ffn_down").T
        return rms_norm(h, w["output_norm.weight"], self.eps) @ w.get("output.weight", w["token_embd.weight"]).T

    def answers(self, questions, limit=8):
        """What greedy decoding says to each question, up to the end token; None where `limit` tokens have none."""
        ids = [[self.tokens.index(c) for c in question] for question in questions]
        starts = [len(row) for row in ids]
        for _ in range(limit):
            # an ended row stays as it is; what pads the others is in the future of all that is read
            going = [n for n, row in enumerate(ids) if row[-1] != self.end]
            if not going:
                break
            padded = np.full((len(going), max(len(ids[n]) for n in going)), self.end)
            for row, n in zip(padded, going, strict=True):
                row[: len(ids[n])] = ids[n]
            last = [len(ids[n]) - 1 for n in going]
            for n, token in zip(going, self.logits(padded)[np.arange(len(going)), last].argmax(-1), strict=True):
                ids[n].append(int(token))
        texts = ["".join(self.tokens[i] for i in row[start:]) for start, row in zip(starts, ids, strict=True)]
        end = self.tokens[self.end]
        return [text.removesuffix(end) if text.endswith(end) else None for text in texts]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=pathlib.Path)
    parser.add_argument("expected", type=pathlib.Path, help="sums (.txt) or logits (.json)")
    args = parser.parse_args()
    model = Model(args.model)

    if args.expected.suffix == ".json":
        expected = json.loads(args.expected.read_text())
        logits = np.array(expected["logits"])
        difference = np.abs(model.logits(np.array([expected["tokens"]]))[0] - logits).max()
        print(f"largest difference {difference:.1e}, largest logit {np.abs(logits).max():.2f}")
        return

    sums = [line.split("=") for line in args.expected.read_text().split()]
    answers = model.answers([question + "=" for question, _ in sums])
    wrong = [(*one, answer) for one, answer in zip(sums, answers, strict=True) if one[1] != answer]
    print(f"{1 - len(wrong) / len(sums):.2%} of {len(sums):,} sums right")
    for question, expected, answer in wrong:
        print(f"    {question} is {expected}, not {answer}")


if __name__ == "__main__":
    main()
