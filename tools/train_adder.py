"""Trains models/adder-q1_0.gguf or models/adder-tq2_0.gguf: a Qwen3-shaped model of 1-bit or ternary weights that adds
two numbers of up to three digits.

    python3 -m venv venv && venv/bin/pip install -r tools/requirements.txt
    venv/bin/python tools/train_adder.py --format q1_0      # about an hour on 2 CPU cores

Every linear layer and the embedding train through a straight-through estimator: the forward pass sees just what the
format stores, and the gradient passes to the weight as if it were not quantized.
    q1_0     sign(w) * mean|w|, the mean over 128 inputs
    tq2_0    mean|w| * (-1, 0 or 1, whichever is nearest to w / mean|w|), the mean over 256 inputs
The scales are rounded to f16 as in the file. One in twenty pairs of operands is never trained on; 1,000 of those go to
models/adder-heldout.txt.
"""

import argparse
import functools
import pathlib
import time

import jax
import jax.numpy as jnp
import numpy as np
import optax

from gguf_writer import FORMATS, write_gguf

LAYERS, HIDDEN, FFN, HEADS, KV_HEADS, HEAD_DIM = 3, 256, 512, 4, 2, 64
ROPE_THETA, RMS_EPS, CONTEXT = 1e6, 1e-6, 64
TOKENS = [*"0123456789+=", "Ċ", "<|endoftext|>", "<|extra_0|>", "<|extra_1|>"]
TOKEN_ID = {token: i for i, token in enumerate(TOKENS)}
END = TOKEN_ID["<|endoftext|>"]
LENGTH = len("999+999=1998") + 1


# --- data -----------------------------------------------------------------------------------------------------------

def is_held_out(a, b):
    """A fixed twentieth of all pairs of operands."""
    return (np.asarray(a, np.uint64) * 1000 + b) * np.uint64(2654435761) % np.uint64(2**32) < 2**32 // 20


def operands(rng, count):
    """Operands of one to three digits, the number of digits drawn first so that short numbers are not rare."""
    digits = rng.integers(1, 4, count)
    low = np.where(digits == 1, 0, 10 ** (digits - 1))
    return rng.integers(low, 10**digits)


def sums(rng, count, held_out):
    """`count` pairs of operands, all held out or none."""
    a, b = operands(rng, 40 * count if held_out else 2 * count), operands(rng, 40 * count if held_out else 2 * count)
    keep = is_held_out(a, b) == held_out
    return list(zip(a[keep][:count].tolist(), b[keep][:count].tolist(), strict=True))


def encode(pairs):
    """Token ids `[n, LENGTH + 1]` and a mask of the tokens that belong to an answer (its end included)."""
    ids = np.full((len(pairs), LENGTH + 1), END, np.int32)
    mask = np.zeros(ids.shape, np.float32)
    for row, (a, b) in enumerate(pairs):
        prompt, answer = f"{a}+{b}=", f"{a + b}"
        ids[row, : len(prompt) + len(answer)] = [TOKEN_ID[c] for c in prompt + answer]
        mask[row, len(prompt) : len(prompt) + len(answer) + 1] = 1
    return ids, mask


# --- model ----------------------------------------------------------------------------------------------------------

def initial_weights(rng):
    """GGUF tensor name -> array; linear layers are `[out, in]`."""
    def linear(out, inp):
        return jnp.asarray(rng.normal(0, inp**-0.5, (out, inp)), jnp.float32)

    ones = functools.partial(jnp.ones, dtype=jnp.float32)
    weights = {"token_embd.weight": linear(len(TOKENS), HIDDEN)}
    for n in range(LAYERS):
        weights |= {
            f"blk.{n}.attn_norm.weight": ones(HIDDEN),
            f"blk.{n}.attn_q.weight": linear(HEADS * HEAD_DIM, HIDDEN),
            f"blk.{n}.attn_k.weight": linear(KV_HEADS * HEAD_DIM, HIDDEN),
            f"blk.{n}.attn_v.weight": linear(KV_HEADS * HEAD_DIM, HIDDEN),
            f"blk.{n}.attn_q_norm.weight": ones(HEAD_DIM),
            f"blk.{n}.attn_k_norm.weight": ones(HEAD_DIM),
            f"blk.{n}.attn_output.weight": linear(HIDDEN, HEADS * HEAD_DIM),
            f"blk.{n}.ffn_norm.weight": ones(HIDDEN),
            f"blk.{n}.ffn_gate.weight": linear(FFN, HIDDEN),
            f"blk.{n}.ffn_up.weight": linear(FFN, HIDDEN),
            f"blk.{n}.ffn_down.weight": linear(HIDDEN, FFN),
        }
    return weights | {"output_norm.weight": ones(HIDDEN), "output.weight": linear(len(TOKENS), HIDDEN)}


def quantized(weights, form):
    """The weights that the file holds; vectors stay as they are."""
    def quantize(w):
        if w.ndim == 1:
            return w
        blocks = w.reshape(w.shape[0], -1, FORMATS[form].block)
        mean = jnp.abs(blocks).mean(-1, keepdims=True)
        # f16's digits; the compiler is free to drop a conversion to f16 and back
        scale = jax.lax.reduce_precision(mean, exponent_bits=5, mantissa_bits=10)
        if form == "q1_0":
            return jnp.where(blocks >= 0, scale, -scale).reshape(w.shape)
        return (jnp.sign(blocks) * jnp.where(jnp.abs(blocks) > 0.5 * mean, scale, 0)).reshape(w.shape)

    return {name: quantize(w) for name, w in weights.items()}


def straight_through(weights, form):
    """`quantized` to the last bit, with the gradient of the identity."""
    rounded = jax.lax.stop_gradient(quantized(weights, form))
    return {name: rounded[name] + (w - jax.lax.stop_gradient(w)) for name, w in weights.items()}


def rms_norm(x, weight):
    return x * jax.lax.rsqrt(jnp.mean(x * x, -1, keepdims=True) + RMS_EPS) * weight


def rope(x):
    """Rotates pairs (i, i + HEAD_DIM/2) of `[batch, position, head, HEAD_DIM]`."""
    half = HEAD_DIM // 2
    angle = jnp.arange(x.shape[1])[:, None] * ROPE_THETA ** (-jnp.arange(half) / half)
    cos, sin = jnp.cos(angle)[:, None], jnp.sin(angle)[:, None]
    a, b = x[..., :half], x[..., half:]
    return jnp.concatenate([a * cos - b * sin, b * cos + a * sin], -1)


def logits(w, ids):
    """Logits `[batch, position, vocab]` of token ids `[batch, position]`, of weights by their names."""
    batch, length = ids.shape
    causal = jnp.tril(jnp.ones((length, length), bool))
    h = w["token_embd.weight"][ids]
    for n in range(LAYERS):
        p = lambda name: w[f"blk.{n}.{name}.weight"]  # noqa: E731, B023
        x = rms_norm(h, p("attn_norm"))
        q = (x @ p("attn_q").T).reshape(batch, length, HEADS, HEAD_DIM)
        k = (x @ p("attn_k").T).reshape(batch, length, KV_HEADS, HEAD_DIM)
        v = (x @ p("attn_v").T).reshape(batch, length, KV_HEADS, HEAD_DIM)
        q, k = rope(rms_norm(q, p("attn_q_norm"))), rope(rms_norm(k, p("attn_k_norm")))
        k, v = (jnp.repeat(t, HEADS // KV_HEADS, axis=2) for t in (k, v))
        scores = jnp.einsum("bqhd,bkhd->bhqk", q, k) * HEAD_DIM**-0.5
        attention = jax.nn.softmax(jnp.where(causal, scores, -jnp.inf), -1)
        mixed = jnp.einsum("bhqk,bkhd->bqhd", attention, v).reshape(batch, length, -1)
        h = h + mixed @ p("attn_output").T
        x = rms_norm(h, p("ffn_norm"))
        h = h + (jax.nn.silu(x @ p("ffn_gate").T) * (x @ p("ffn_up").T)) @ p("ffn_down").T
    return rms_norm(h, w["output_norm.weight"]) @ w["output.weight"].T


# --- training -------------------------------------------------------------------------------------------------------

def train(form, steps, stop, batch, seed):
    """The weights after `stop` steps of a schedule of `steps`, as the file holds them."""
    rng = np.random.default_rng(seed)
    weights = initial_weights(rng)
    schedule = optax.warmup_cosine_decay_schedule(0.0, 2e-3, min(200, steps // 4), steps)
    decayed = {name: value.ndim == 2 for name, value in weights.items()}
    optimizer = optax.adamw(schedule, b2=0.98, weight_decay=0.01, mask=decayed)
    state = optimizer.init(weights)

    @jax.jit
    def step(weights, state, ids, mask):
        def loss(weights):
            each = optax.softmax_cross_entropy_with_integer_labels(
                logits(straight_through(weights, form), ids[:, :-1]), ids[:, 1:]
            )
            return (each * mask[:, 1:]).sum() / mask[:, 1:].sum()

        value, gradient = jax.value_and_grad(loss)(weights)
        updates, state = optimizer.update(gradient, state, weights)
        return optax.apply_updates(weights, updates), state, value

    start = time.time()
    for n in range(1, stop + 1):
        ids, mask = encode(sums(rng, batch, held_out=False))
        weights, state, value = step(weights, state, ids, mask)
        if n % 250 == 0 or n == stop:
            right = accuracy(quantized(weights, form), sums(rng, 500, held_out=True))
            print(f"step {n:6}  loss {value:.5f}  held out {right:.1%}  {time.time() - start:.0f} s", flush=True)
    return quantized(weights, form)


@jax.jit
def _argmax(weights, ids):
    return logits(weights, ids).argmax(-1)


def accuracy(weights, pairs):
    """The fraction of whole answers right. With teacher forcing an answer is right exactly if greedy decoding's is."""
    ids, mask = encode(pairs)
    predicted = np.asarray(_argmax(weights, ids[:, :-1]))
    return float(((predicted == ids[:, 1:]) | (mask[:, 1:] == 0)).all(1).mean())


def metadata(form):
    """The keys that a Bonsai (Qwen3) GGUF file carries."""
    kinds = [3 if token.startswith("<|") else 1 for token in TOKENS]
    return {
        "general.architecture": "qwen3",
        "general.type": "model",
        "general.name": "Warpwright adder",
        "general.license": "MIT OR Apache-2.0",
        "general.alignment": 32,
        "general.file_type": FORMATS[form].file_type,
        "general.quantization_version": 2,
        "qwen3.block_count": LAYERS,
        "qwen3.context_length": CONTEXT,
        "qwen3.embedding_length": HIDDEN,
        "qwen3.feed_forward_length": FFN,
        "qwen3.attention.head_count": HEADS,
        "qwen3.attention.head_count_kv": KV_HEADS,
        "qwen3.attention.key_length": HEAD_DIM,
        "qwen3.attention.value_length": HEAD_DIM,
        "qwen3.attention.layer_norm_rms_epsilon": RMS_EPS,
        "qwen3.rope.freq_base": ROPE_THETA,
        "tokenizer.ggml.model": "gpt2",
        "tokenizer.ggml.pre": "qwen2",
        "tokenizer.ggml.tokens": TOKENS,
        "tokenizer.ggml.token_type": np.array(kinds, np.int32),
        "tokenizer.ggml.merges": [],
        "tokenizer.ggml.eos_token_id": END,
        "tokenizer.ggml.padding_token_id": END,
        "tokenizer.ggml.add_bos_token": False,
        "tokenizer.chat_template": "{% for message in messages %}{{ message.content }}{% endfor %}",
    }


def main():
    models = pathlib.Path(__file__).resolve().parent.parent / "models"
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--format", choices=FORMATS, required=True)
    parser.add_argument("--steps", type=int, default=12_000, help="length of the learning rate's schedule")
    parser.add_argument("--stop", type=int, help="steps taken, if not all of the schedule")
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--out", type=pathlib.Path, default=models, help="folder for the model and its held-out sums")
    args = parser.parse_args()

    weights = train(args.format, args.steps, args.stop or args.steps, args.batch, args.seed)
    held_out = list(dict.fromkeys(sums(np.random.default_rng(args.seed + 1), 4_000, held_out=True)))[:1_000]
    print(f"{accuracy(weights, held_out):.2%} of {len(held_out):,} held-out sums right")
    args.out.mkdir(parents=True, exist_ok=True)
    tensors = {name: np.asarray(value) for name, value in weights.items()}
    write_gguf(args.out / f"adder-{args.format}.gguf", metadata(args.format), tensors, FORMATS[args.format])
    (args.out / "adder-heldout.txt").write_text("".join(f"{a}+{b}={a + b}\n" for a, b in held_out))


if __name__ == "__main__":
    main()
