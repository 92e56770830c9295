//! Qwen3 models as Hugging Face has them: a folder with a configuration, a tokenizer and safetensors.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::path::Path;

use anyhow::{Context, bail, ensure};
use memmap2::Mmap;
use safetensors::{Dtype, SafeTensors};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use warpwright::gguf::{ArrayBuf, Header, Value};
use warpwright::quant::Format;
use warpwright::quantize::Source;

/// What is needed of `config.json`.
#[derive(Deserialize)]
struct Config {
    model_type: String,
    hidden_size: u32,
    intermediate_size: u32,
    num_hidden_layers: u32,
    num_attention_heads: u32,
    num_key_value_heads: u32,
    head_dim: u32,
    max_position_embeddings: u32,
    rms_norm_eps: f32,
    /// Newer files have it among `rope_parameters`.
    rope_theta: Option<f32>,
    #[serde(alias = "rope_parameters")]
    rope_scaling: Option<Rope>,
    #[serde(default)]
    tie_word_embeddings: bool,
    eos_token_id: Option<OneOrMany>,
    pad_token_id: Option<u32>,
    bos_token_id: Option<u32>,
}

#[derive(Deserialize)]
struct Rope {
    #[serde(alias = "type")]
    rope_type: Option<String>,
    rope_theta: Option<f32>,
    factor: Option<f32>,
    original_max_position_embeddings: Option<u32>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum OneOrMany {
    One(u32),
    Many(Vec<u32>),
}

/// What is needed of `tokenizer.json`.
#[derive(Deserialize)]
struct Tokenizer {
    model: Bpe,
    #[serde(default)]
    added_tokens: Vec<AddedToken>,
}

#[derive(Deserialize)]
struct Bpe {
    vocab: BTreeMap<String, u32>,
    merges: Vec<Merge>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Merge {
    Text(String),
    Pair(String, String),
}

#[derive(Deserialize)]
struct AddedToken {
    id: u32,
    content: String,
    special: bool,
}

/// Which file has which tensor.
#[derive(Deserialize)]
struct Index {
    weight_map: BTreeMap<String, String>,
}

/// Kinds of tokens, as GGUF files number them.
const NORMAL: i32 = 1;
const CONTROL: i32 = 3;
const USER_DEFINED: i32 = 4;
const UNUSED: i32 = 5;

/// A folder, with its weights mapped into memory.
pub(crate) struct Checkpoint {
    config: Config,
    tokenizer: Tokenizer,
    chat_template: Option<String>,
    files: Vec<Mmap>,
}

fn read_json<T: DeserializeOwned>(path: &Path) -> anyhow::Result<T> {
    let text = fs::read(path).with_context(|| path.display().to_string())?;
    serde_json::from_slice(&text).with_context(|| path.display().to_string())
}

impl Checkpoint {
    /// Opens a folder.
    pub(crate) fn open(folder: &Path) -> anyhow::Result<Self> {
        let config: Config = read_json(&folder.join("config.json"))?;
        let model = &config.model_type;
        ensure!(model == "qwen3", "`model_type` is `{model}`, and only `qwen3` is read from safetensors");
        let index = folder.join("model.safetensors.index.json");
        let names: BTreeSet<String> = if index.is_file() {
            read_json::<Index>(&index)?.weight_map.into_values().collect()
        } else {
            ["model.safetensors".to_owned()].into()
        };
        let files = names.iter().map(|name| {
            ensure!(!name.contains(['/', '\\']), "{}: {name:?} is outside of the folder", index.display());
            let path = folder.join(name);
            let file = File::open(&path).with_context(|| path.display().to_string())?;
            // SAFETY: the file is only read, and that no other program changes it meanwhile is the user's part, as with
            // every file that is mapped.
            unsafe { Mmap::map(&file) }.with_context(|| path.display().to_string())
        });
        let files = files.collect::<anyhow::Result<Vec<_>>>()?;
        let chat_template = chat_template(folder)?;
        Ok(Self { config, tokenizer: read_json(&folder.join("tokenizer.json"))?, chat_template, files })
    }

    /// The model with the keys and the names of tensors that it has in GGUF files.
    pub(crate) fn source(&self) -> anyhow::Result<Source<'_>> {
        let mut tensors = BTreeMap::new();
        for file in &self.files {
            for (name, view) in SafeTensors::deserialize(file)?.tensors() {
                let format = match view.dtype() {
                    Dtype::F32 => Format::F32,
                    Dtype::F16 => Format::F16,
                    Dtype::BF16 => Format::Bf16,
                    other => bail!("the tensor `{name}` is {other:?}, and F32, F16 and BF16 are read"),
                };
                let dimensions: Vec<u64> = view.shape().iter().rev().map(|n| *n as u64).collect();
                let start = view.data().as_ptr() as usize - file.as_ptr() as usize;
                let data = &file[start..start + view.data().len()];
                ensure!(tensors.insert(name.clone(), (dimensions, format, data)).is_none(), "`{name}` is there twice");
            }
        }
        let rows = tensors.get("model.embed_tokens.weight").map(|(dimensions, ..)| dimensions.get(1).copied());
        let rows = rows.flatten().context("the tensor `model.embed_tokens.weight` is missing, or no matrix")?;
        let mut source = Source::new(self.keys(rows)?);
        for (name, (dimensions, format, data)) in tensors {
            let renamed = renamed(&name).with_context(|| format!("the tensor `{name}` is none of a Qwen3"))?;
            if !(self.config.tie_word_embeddings && renamed == "output.weight") {
                source.push(&renamed, &dimensions, format, data)?;
            }
        }
        Ok(source)
    }

    /// The keys of a model with `vocab` tokens.
    fn keys(&self, vocab: u64) -> anyhow::Result<Header> {
        let Config { rope_scaling, .. } = &self.config;
        let mut header = Header::new();
        header.set("general.architecture", Value::String("qwen3"))?;
        header.set("general.quantization_version", Value::U32(2))?;
        let integers = [
            ("block_count", self.config.num_hidden_layers),
            ("context_length", self.config.max_position_embeddings),
            ("embedding_length", self.config.hidden_size),
            ("feed_forward_length", self.config.intermediate_size),
            ("attention.head_count", self.config.num_attention_heads),
            ("attention.head_count_kv", self.config.num_key_value_heads),
            ("attention.key_length", self.config.head_dim),
            ("attention.value_length", self.config.head_dim),
        ];
        for (name, value) in integers {
            header.set(&format!("qwen3.{name}"), Value::U32(value))?;
        }
        header.set("qwen3.attention.layer_norm_rms_epsilon", Value::F32(self.config.rms_norm_eps))?;
        let base = self.config.rope_theta.or(rope_scaling.as_ref().and_then(|rope| rope.rope_theta));
        header.set("qwen3.rope.freq_base", Value::F32(base.context("`rope_theta` is missing in config.json")?))?;
        if let Some(rope) = rope_scaling {
            match rope.rope_type.as_deref() {
                None | Some("default") => {}
                Some("yarn") => {
                    let factor = rope.factor.context("`factor` of YaRN is missing in config.json")?;
                    let original = rope.original_max_position_embeddings;
                    let original = original.context("`original_max_position_embeddings` is missing in config.json")?;
                    header.set("qwen3.rope.scaling.type", Value::String("yarn"))?;
                    header.set("qwen3.rope.scaling.factor", Value::F32(factor))?;
                    header.set("qwen3.rope.scaling.original_context_length", Value::U32(original))?;
                }
                Some(other) => bail!("`rope_type` is `{other}`, and `default` and `yarn` are supported"),
            }
        }
        self.vocabulary(&mut header, vocab)?;
        Ok(header)
    }

    fn vocabulary(&self, header: &mut Header, vocab: u64) -> anyhow::Result<()> {
        // The embedding was read, so there are not more tokens than bytes.
        let mut tokens: Vec<(String, i32)> = (0..vocab).map(|n| (format!("[PAD{n}]"), UNUSED)).collect();
        let mut put = |id: u32, token: &str, kind: i32| {
            let place = tokens.get_mut(id as usize);
            let place = place.with_context(|| format!("the token {token:?} has the number {id} of {vocab}"))?;
            *place = (token.to_owned(), kind);
            anyhow::Ok(())
        };
        for (token, id) in &self.tokenizer.model.vocab {
            put(*id, token, NORMAL)?;
        }
        for AddedToken { id, content, special } in &self.tokenizer.added_tokens {
            put(*id, content, if *special { CONTROL } else { USER_DEFINED })?;
        }
        let merges = self.tokenizer.model.merges.iter().map(|merge| match merge {
            Merge::Text(text) => text.clone(),
            Merge::Pair(left, right) => format!("{left} {right}"),
        });
        header.set("tokenizer.ggml.model", Value::String("gpt2"))?;
        header.set("tokenizer.ggml.pre", Value::String("qwen2"))?;
        header.set("tokenizer.ggml.tokens", ArrayBuf::strings(tokens.iter().map(|(token, _)| token)).value())?;
        let kinds = ArrayBuf::new(tokens.iter().map(|(_, kind)| Value::I32(*kind)))?;
        header.set("tokenizer.ggml.token_type", kinds.value())?;
        header.set("tokenizer.ggml.merges", ArrayBuf::strings(merges).value())?;
        header.set("tokenizer.ggml.add_bos_token", Value::Bool(false))?;
        let end = match &self.config.eos_token_id {
            Some(OneOrMany::One(id)) => Some(*id),
            Some(OneOrMany::Many(ids)) => ids.first().copied(),
            None => None,
        };
        let special = [("eos", end), ("padding", self.config.pad_token_id), ("bos", self.config.bos_token_id)];
        for (name, id) in special {
            if let Some(id) = id {
                header.set(&format!("tokenizer.ggml.{name}_token_id"), Value::U32(id))?;
            }
        }
        if let Some(template) = &self.chat_template {
            header.set("tokenizer.chat_template", Value::String(template))?;
        }
        Ok(())
    }
}

/// The chat template, which is a file of its own or a part of `tokenizer_config.json`.
fn chat_template(folder: &Path) -> anyhow::Result<Option<String>> {
    let (own, config) = (folder.join("chat_template.jinja"), folder.join("tokenizer_config.json"));
    if own.is_file() {
        return Ok(Some(fs::read_to_string(&own).with_context(|| own.display().to_string())?));
    }
    if !config.is_file() {
        return Ok(None);
    }
    let config: serde_json::Value = read_json(&config)?;
    Ok(config.get("chat_template").and_then(|template| template.as_str()).map(str::to_owned))
}

/// The name that a tensor has in GGUF files.
fn renamed(name: &str) -> Option<String> {
    match name {
        "model.embed_tokens.weight" => return Some("token_embd.weight".to_owned()),
        "model.norm.weight" => return Some("output_norm.weight".to_owned()),
        "lm_head.weight" => return Some("output.weight".to_owned()),
        _ => {}
    }
    let (layer, part) = name.strip_prefix("model.layers.")?.split_once('.')?;
    let layer: u32 = layer.parse().ok()?;
    let part = match part.strip_suffix(".weight")? {
        "input_layernorm" => "attn_norm",
        "self_attn.q_proj" => "attn_q",
        "self_attn.k_proj" => "attn_k",
        "self_attn.v_proj" => "attn_v",
        "self_attn.q_norm" => "attn_q_norm",
        "self_attn.k_norm" => "attn_k_norm",
        "self_attn.o_proj" => "attn_output",
        "post_attention_layernorm" => "ffn_norm",
        "mlp.gate_proj" => "ffn_gate",
        "mlp.up_proj" => "ffn_up",
        "mlp.down_proj" => "ffn_down",
        _ => return None,
    };
    Some(format!("blk.{layer}.{part}.weight"))
}
