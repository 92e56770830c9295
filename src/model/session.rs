//! A sequence of tokens that a model goes on with.

use std::sync::Arc;

use cudarc::driver::CudaStream;

use super::error::ModelError;
use super::kv_cache::{KvCache, KvFormat};
use super::{Activations, Model};
use crate::buffer::Buffer;
use crate::kernel::advance::Advance;
use crate::kernel::argmax::Argmax;
use crate::launch::Graph;

/// A sequence of tokens, and all that a model needs to go on with it.
///
/// One token is one launch of a graph: embedding, layers, logits, the choice of the next token, and the step to the next
/// position, all on the device. Tokens that are given and tokens that are chosen are in one buffer there, so going on
/// needs nothing from the host, and a prompt is fed token by token through the same graph.
#[derive(Debug)]
pub struct Session {
    stream: Arc<CudaStream>,
    graph: Graph,
    /// `[context]`
    tokens: Buffer<u32>,
    /// How many of them are given or chosen: `[1]`.
    known: Buffer<u32>,
    /// The token that was chosen last: `[1]`.
    next: Buffer<u32>,
    /// `[vocab]`
    logits: Buffer<f32>,
    vocab: u32,
    context: usize,
    /// What the device counts, as the host knows it without asking: tokens that are known, and those that were taken in.
    known_count: usize,
    position: usize,
}

impl Session {
    /// An empty sequence of up to `context` tokens, with the work on `stream`.
    ///
    /// # Errors
    /// A context that the model cannot have, or what the driver says.
    pub fn new(model: &Model, stream: &Arc<CudaStream>, context: usize) -> Result<Self, ModelError> {
        let config = model.config();
        let limit = config.context;
        let length = u32::try_from(context).ok().filter(|length| (1..=limit).contains(length));
        let length = length.ok_or(ModelError::ContextLength { context, limit })?;

        let tokens = Buffer::zeroed(stream, context)?;
        let mut known = Buffer::zeroed(stream, 1)?;
        let mut position = Buffer::zeroed(stream, 1)?;
        let mut next = Buffer::zeroed(stream, 1)?;
        let mut hidden = Buffer::zeroed(stream, config.hidden as usize)?;
        let mut logits = Buffer::zeroed(stream, config.vocab as usize)?;
        let mut activations = Activations::new(stream, config, 1)?;
        let layers = model.layers().len();
        let caches = (0..layers).map(|_| KvCache::new(stream, config, length, KvFormat::F16));
        let mut caches = caches.collect::<Result<Vec<_>, _>>()?;

        let graph = Graph::record(model.kernels(), |graph| {
            model.embed(graph, &tokens, &position, &mut hidden)?;
            for (layer, cache) in model.layers().iter().zip(&mut caches) {
                layer.forward(graph, &mut hidden, &position, 1, cache, &mut activations)?;
            }
            model.logits(graph, &hidden, &mut logits, &mut activations)?;
            Argmax { x: &logits, index: &mut next, len: config.vocab }.launch(graph)?;
            let (tokens, position) = (&mut tokens.clone(), &mut position);
            Advance { tokens, position, known: &mut known, next: &next, count: 1, context: length }.launch(graph)?;
            Ok(())
        })?;
        let (stream, vocab) = (Arc::clone(stream), config.vocab);
        Ok(Self { stream, graph, tokens, known, next, logits, vocab, context, known_count: 0, position: 0 })
    }

    /// Puts tokens at the end of the sequence, after those that were chosen.
    ///
    /// # Errors
    /// A token that the model has not, or more of them than there is room for; then nothing has changed.
    pub fn extend(&mut self, tokens: &[u32]) -> Result<(), ModelError> {
        if let Some(&token) = tokens.iter().find(|token| **token >= self.vocab) {
            return Err(ModelError::Token { token, vocab: self.vocab });
        }
        let needed = self.known_count.saturating_add(tokens.len());
        if needed > self.context {
            return Err(ModelError::Context { needed, context: self.context });
        }
        self.tokens.slice(self.known_count..needed)?.write(tokens)?;
        self.known.write(&[needed as u32])?;
        self.known_count = needed;
        Ok(())
    }

    /// Takes in the next token of the sequence: a step of the model. If it is the last that is known, the token that the
    /// model chooses is put after it, where there is room.
    ///
    /// # Errors
    /// [`ModelError::Empty`] without a token to take in, [`ModelError::Context`] at the end of the context, or what the
    /// driver says.
    pub fn step(&mut self) -> Result<(), ModelError> {
        if self.position == self.context {
            return Err(ModelError::Context { needed: self.context + 1, context: self.context });
        }
        if self.position == self.known_count {
            return Err(ModelError::Empty);
        }
        self.graph.launch(&self.stream)?;
        // As the device does it (`advance.cu`).
        self.position += 1;
        if self.position >= self.known_count && self.position < self.context {
            self.known_count = self.position + 1;
        }
        Ok(())
    }

    /// Takes in all that is known, and returns the token that the model chooses next: the one with the highest logit.
    ///
    /// # Errors
    /// As [`step`](Self::step).
    pub fn next_token(&mut self) -> Result<u32, ModelError> {
        let given = self.known_count;
        self.step()?;
        while self.position < given {
            self.step()?;
        }
        let mut token = [0];
        self.next.read_into(&mut token)?;
        Ok(token[0])
    }

    /// The logits of the last step, `[vocab]`.
    ///
    /// # Errors
    /// [`ModelError::Buffer`]
    pub fn logits(&self) -> Result<Vec<f32>, ModelError> {
        Ok(self.logits.read()?)
    }

    /// The tokens that are known: given, or chosen.
    ///
    /// # Errors
    /// [`ModelError::Buffer`]
    pub fn tokens(&self) -> Result<Vec<u32>, ModelError> {
        Ok(self.tokens.slice(..self.known_count)?.read()?)
    }

    /// How many tokens were taken in.
    #[must_use]
    pub fn position(&self) -> usize {
        self.position
    }

    /// The longest that the sequence can become.
    #[must_use]
    pub fn context(&self) -> usize {
        self.context
    }

    /// How many kernels a step launches, in its one graph.
    #[must_use]
    pub fn launches_per_step(&self) -> usize {
        self.graph.launches()
    }
}
