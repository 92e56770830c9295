//! A sequence of tokens that a model goes on with.

use std::sync::Arc;

use cudarc::driver::CudaStream;

use super::error::ModelError;
use super::kv_cache::{KvCache, KvFormat};
use super::sampling::{Choice, Sampling};
use super::{Activations, Model};
use crate::buffer::Buffer;
use crate::kernel::sample::Sample;
use crate::kernel::{Set, include};
use crate::launch::{Graph, LaunchError, Target, Timeline};

/// How a [`Session`] is made.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SessionOptions {
    /// The longest that the sequence can become. The cache of keys and values is made for as many tokens.
    pub context: usize,
    /// How keys and values are kept.
    pub kv_format: KvFormat,
    /// Tokens of a prompt that are taken in at once, at most; 0 is as 1.
    pub chunk: usize,
    /// How tokens are chosen. It can be [changed](Session::set_sampling) later.
    pub sampling: Sampling,
    /// Whether kernels of a step begin while the kernel before them ends, where that is sound and the device can do it.
    /// What they compute is the same; it is here to be compared.
    pub overlapping: bool,
}

impl SessionOptions {
    /// For a context, with everything else as it is usual: keys and values in f16, chunks of 512, the most likely token,
    /// kernels that overlap.
    #[must_use]
    pub fn new(context: usize) -> Self {
        let sampling = Sampling::default();
        Self { context, kv_format: KvFormat::F16, chunk: 512, sampling, overlapping: true }
    }

    /// The tokens that are taken in at once, at most.
    pub(super) fn rows(&self) -> usize {
        self.chunk.min(self.context).max(1)
    }
}

impl From<usize> for SessionOptions {
    /// As [`SessionOptions::new`].
    fn from(context: usize) -> Self {
        Self::new(context)
    }
}

/// A token that was chosen.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Chosen {
    /// The token.
    pub token: u32,
    /// The natural logarithm of its probability, as the model has it: before anything of [`Sampling`].
    pub log_probability: f32,
}

/// Positions whose logits are computed at once where all of them are wanted.
const LOGIT_ROWS: usize = 16;

/// A sequence of tokens, and all that a model needs to go on with it.
///
/// One token is one launch of a graph: embedding, layers, logits, the choice of the next token, and the step to the next
/// position, all on the device. Tokens that are given and tokens that are chosen are in one buffer there, so going on
/// needs nothing from the host. A prompt is taken in by chunks, each with a few launches a layer, whatever its length.
#[derive(Debug)]
pub struct Session {
    model: Model,
    stream: Arc<CudaStream>,
    options: SessionOptions,
    state: State,
    /// A step of one token.
    graph: Graph,
    /// What the device counts, as the host knows it without asking: tokens that are known, and those that were taken in.
    known: usize,
    position: usize,
}

/// What a session has on the device.
#[derive(Debug)]
struct State {
    /// `[context]`
    tokens: Buffer<u32>,
    /// How many of them are given or chosen: `[1]`.
    known: Buffer<u32>,
    /// How many of them were taken in: `[1]`.
    position: Buffer<u32>,
    /// How tokens are chosen: `[1]`.
    sampling: Buffer<include::Sampling>,
    /// The token that was chosen last, and the logarithm of its probability: `[1]` each.
    next: Buffer<u32>,
    log_probability: Buffer<f32>,
    /// `[rows, hidden]`
    hidden: Buffer<f32>,
    /// `[vocab]`
    logits: Buffer<f32>,
    choice: Choice,
    activations: Activations,
    caches: Vec<KvCache>,
}

impl State {
    fn new(model: &Model, stream: &Arc<CudaStream>, options: &SessionOptions) -> Result<Self, ModelError> {
        let config = model.config();
        let rows = options.rows();
        let cache = |_| KvCache::new(stream, config, options.context as u32, options.kv_format);
        Ok(Self {
            tokens: Buffer::zeroed(stream, options.context)?,
            known: Buffer::zeroed(stream, 1)?,
            position: Buffer::zeroed(stream, 1)?,
            sampling: Buffer::from_host(stream, &[options.sampling.to_device()?])?,
            next: Buffer::zeroed(stream, 1)?,
            log_probability: Buffer::zeroed(stream, 1)?,
            hidden: Buffer::zeroed(stream, rows.saturating_mul(config.hidden as usize))?,
            logits: Buffer::zeroed(stream, config.vocab as usize)?,
            choice: Choice::new(stream, config.vocab)?,
            activations: Activations::new(stream, config, rows as u32)?,
            caches: (0..model.layers().len()).map(cache).collect::<Result<_, _>>()?,
        })
    }

    /// The hidden state of `count` tokens.
    fn rows(&self, model: &Model, first: usize, count: usize) -> Result<Buffer<f32>, ModelError> {
        let hidden = model.config().hidden as usize;
        Ok(self.hidden.slice(first * hidden..(first + count) * hidden)?)
    }

    /// A step: takes in one token, and chooses the one after it.
    fn step<Q: Target<Set = Set>>(
        &mut self,
        model: &Model,
        onto: &Q,
        hidden: &mut Buffer<f32>,
    ) -> Result<(), LaunchError> {
        self.take_in(model, onto, hidden, 1)?;
        self.choose(model, onto, hidden, 1)
    }

    /// Takes in `count` tokens, from the position on.
    fn take_in<Q: Target<Set = Set>>(
        &mut self,
        model: &Model,
        onto: &Q,
        hidden: &mut Buffer<f32>,
        count: u32,
    ) -> Result<(), LaunchError> {
        model.embed(onto, &self.tokens, &self.position, hidden, count)?;
        for (layer, cache) in model.layers().iter().zip(&mut self.caches) {
            layer.forward(onto, hidden, &self.position, count, cache, &mut self.activations)?;
        }
        Ok(())
    }

    /// Chooses the token after the last of `count` that were taken in, and moves on.
    fn choose<Q: Target<Set = Set>>(
        &mut self,
        model: &Model,
        onto: &Q,
        last: &Buffer<f32>,
        count: u32,
    ) -> Result<(), LaunchError> {
        // Both fit: the options were checked.
        let (vocab, context) = (model.config().vocab, self.tokens.len() as u32);
        model.logits(onto, last, &mut self.logits, 1, &mut self.activations)?;
        let Self { tokens, known, position, sampling, next, log_probability, logits, choice, .. } = self;
        Sample {
            logits: &*logits,
            tokens,
            position,
            known,
            sampling: &*sampling,
            next,
            logprob: log_probability,
            parts: &mut choice.parts,
            arrivals: &mut choice.arrivals,
            vocab,
            context,
            count,
            blocks: choice.blocks,
        }
        .launch(onto)?;
        Ok(())
    }
}

impl Session {
    /// An empty sequence, with the work on `stream`. A length alone is the context; everything else is then as usual.
    ///
    /// # Errors
    /// A context that the model cannot have, settings that make no sense, or what the driver says.
    pub fn new(
        model: &Model,
        stream: &Arc<CudaStream>,
        options: impl Into<SessionOptions>,
    ) -> Result<Self, ModelError> {
        let options = options.into();
        let limit = model.config().context;
        let context = options.context;
        if u32::try_from(context).ok().filter(|length| (1..=limit).contains(length)).is_none() {
            return Err(ModelError::ContextLength { context, limit });
        }
        let mut state = State::new(model, stream, &options)?;
        let mut hidden = state.rows(model, 0, 1)?;
        let graph = Graph::record(model.kernels(), |graph| {
            graph.set_overlapping(options.overlapping);
            Ok(state.step(model, graph, &mut hidden)?)
        })?;
        let (model, stream) = (model.clone(), Arc::clone(stream));
        Ok(Self { model, stream, options, state, graph, known: 0, position: 0 })
    }

    /// Puts tokens at the end of the sequence, after those that were chosen. They are taken in by what comes next.
    ///
    /// # Errors
    /// A token that the model has not, or more of them than there is room for; then nothing has changed.
    pub fn extend(&mut self, tokens: &[u32]) -> Result<(), ModelError> {
        if let Some(&token) = tokens.iter().find(|token| !self.has(**token)) {
            return Err(ModelError::Token { token, vocab: self.model.config().vocab });
        }
        let needed = self.known.saturating_add(tokens.len());
        self.room_for(needed)?;
        self.state.tokens.slice(self.known..needed)?.write(tokens)?;
        self.set_known(needed)
    }

    fn has(&self, token: u32) -> bool {
        token < self.model.config().vocab
    }

    fn room_for(&self, needed: usize) -> Result<(), ModelError> {
        let context = self.options.context;
        if needed > context { Err(ModelError::Context { needed, context }) } else { Ok(()) }
    }

    fn set_known(&mut self, known: usize) -> Result<(), ModelError> {
        self.state.known.write(&[known as u32])?;
        self.known = known;
        Ok(())
    }

    /// Takes in the next token of the sequence: a step of the model. If it is the last that is known, the token that is
    /// chosen is put after it, where there is room.
    ///
    /// # Errors
    /// [`ModelError::Empty`] without a token to take in, [`ModelError::Context`] at the end of the context, or what the
    /// driver says.
    pub fn step(&mut self) -> Result<(), ModelError> {
        self.check_next()?;
        self.graph.launch(&self.stream)?;
        self.move_on(1);
        Ok(())
    }

    /// As [`step`](Self::step), with the kernels launched one by one onto a timeline, which measures each.
    ///
    /// # Errors
    /// As [`step`](Self::step).
    pub fn step_timed(&mut self, timeline: &Timeline<'_, Set>) -> Result<(), ModelError> {
        self.check_next()?;
        let mut hidden = self.state.rows(&self.model, 0, 1)?;
        self.state.step(&self.model, timeline, &mut hidden)?;
        self.move_on(1);
        Ok(())
    }

    /// Whether there is a token to take in.
    fn check_next(&self) -> Result<(), ModelError> {
        self.room_for(self.position + 1)?;
        if self.position == self.known { Err(ModelError::Empty) } else { Ok(()) }
    }

    /// Counts as the device does it (`sample.cu`).
    fn move_on(&mut self, count: usize) {
        self.position += count;
        if self.position >= self.known && self.position < self.options.context {
            self.known = self.position + 1;
        }
    }

    /// Takes in all that is known, chunk by chunk, and chooses the token after it.
    ///
    /// # Errors
    /// As [`step`](Self::step).
    pub fn prefill(&mut self) -> Result<(), ModelError> {
        while self.prefill_chunk()? > 0 {}
        Ok(())
    }

    /// Takes in the next chunk of what is known, and says how many tokens are left then: for a host that shows how far a
    /// long prompt is. After the last chunk the next token is chosen.
    ///
    /// # Errors
    /// As [`step`](Self::step).
    pub fn prefill_chunk(&mut self) -> Result<usize, ModelError> {
        self.check_next()?;
        let end = self.known;
        match (end - self.position).min(self.options.rows()) {
            1 => self.step()?,
            count => self.take_in_chunk(count, |_, _| Ok(()))?,
        }
        Ok(end - self.position)
    }

    /// Takes in all that is known, and gives the logits after each of these tokens, with the token's position.
    ///
    /// # Errors
    /// As [`step`](Self::step).
    pub fn evaluate(&mut self, mut each: impl FnMut(usize, &[f32])) -> Result<(), ModelError> {
        self.check_next()?;
        let vocab = self.model.config().vocab as usize;
        let logits = Buffer::zeroed(&self.stream, LOGIT_ROWS * vocab)?;
        let end = self.known;
        while self.position < end {
            let count = (end - self.position).min(self.options.rows());
            let start = self.position;
            self.take_in_chunk(count, |session, count| {
                let queue = session.model.kernels().on(&session.stream);
                for first in (0..count).step_by(LOGIT_ROWS) {
                    let rows = LOGIT_ROWS.min(count - first);
                    let hidden = session.state.rows(&session.model, first, rows)?;
                    let mut logits = logits.slice(..rows * vocab)?;
                    let activations = &mut session.state.activations;
                    session.model.logits(&queue, &hidden, &mut logits, rows as u32, activations)?;
                    for (row, logits) in logits.read()?.chunks_exact(vocab).enumerate() {
                        each(start + first + row, logits);
                    }
                }
                Ok(())
            })?;
        }
        Ok(())
    }

    /// Takes in `count` tokens that are known, and chooses the token after them; `between` sees their hidden states.
    fn take_in_chunk(
        &mut self,
        count: usize,
        between: impl FnOnce(&mut Self, usize) -> Result<(), ModelError>,
    ) -> Result<(), ModelError> {
        let mut hidden = self.state.rows(&self.model, 0, count)?;
        let last = self.state.rows(&self.model, count - 1, 1)?;
        let model = self.model.clone();
        let stream = Arc::clone(&self.stream);
        let queue = model.kernels().on(&stream);
        self.state.take_in(&model, &queue, &mut hidden, count as u32)?;
        between(self, count)?;
        self.state.choose(&model, &queue, &last, count as u32)?;
        self.move_on(count);
        Ok(())
    }

    /// Takes in all that is known, and returns the token that is chosen next.
    ///
    /// # Errors
    /// As [`step`](Self::step).
    pub fn next_token(&mut self) -> Result<u32, ModelError> {
        self.prefill()?;
        let mut token = [0];
        self.state.next.read_into(&mut token)?;
        Ok(token[0])
    }

    /// As [`next_token`](Self::next_token), with the token's probability.
    ///
    /// # Errors
    /// As [`step`](Self::step).
    pub fn next_chosen(&mut self) -> Result<Chosen, ModelError> {
        let token = self.next_token()?;
        let mut log_probability = [0.0];
        self.state.log_probability.read_into(&mut log_probability)?;
        Ok(Chosen { token, log_probability: log_probability[0] })
    }

    /// The tokens that are chosen, one after the other, without an end but an error: [`ModelError::Context`] at the end of
    /// the context.
    pub fn generate(&mut self) -> impl Iterator<Item = Result<Chosen, ModelError>> + '_ {
        let mut failed = false;
        std::iter::from_fn(move || {
            let chosen = (!failed).then(|| self.next_chosen())?;
            failed = chosen.is_err();
            Some(chosen)
        })
    }

    /// Puts another token in place of the one that was chosen last: for an engine that looks at
    /// [`logits`](Self::logits) and chooses by itself.
    ///
    /// # Errors
    /// [`ModelError::Token`]; [`ModelError::Empty`] if no token was chosen, or there is no room for it.
    pub fn choose(&mut self, token: u32) -> Result<(), ModelError> {
        if !self.has(token) {
            return Err(ModelError::Token { token, vocab: self.model.config().vocab });
        }
        if self.position == 0 || self.position + 1 != self.known {
            return Err(ModelError::Empty);
        }
        Ok(self.state.tokens.slice(self.position..self.known)?.write(&[token])?)
    }

    /// Goes back to the first `length` tokens of the sequence; does nothing if it has not more. The last of them is taken in
    /// again by what comes next, so that there are logits to choose from.
    ///
    /// # Errors
    /// [`ModelError::Buffer`]
    pub fn truncate(&mut self, length: usize) -> Result<(), ModelError> {
        if length >= self.known {
            return Ok(());
        }
        let position = self.position.min(length.saturating_sub(1));
        self.state.position.write(&[position as u32])?;
        self.position = position;
        self.set_known(length)
    }

    /// Another session that goes on from here: what this one has taken in is copied, not computed again.
    ///
    /// # Errors
    /// What the driver says.
    pub fn fork(&self) -> Result<Self, ModelError> {
        let mut fork = Self::new(&self.model, &self.stream, self.options)?;
        let tokens = self.tokens()?;
        fork.state.tokens.slice(..self.known)?.write(&tokens)?;
        fork.state.position.write(&[self.position as u32])?;
        for (to, from) in fork.state.caches.iter_mut().zip(&self.state.caches) {
            to.copy_from(from, self.position as u32)?;
        }
        fork.state.next.write(&self.state.next.read()?)?;
        fork.state.log_probability.write(&self.state.log_probability.read()?)?;
        fork.state.logits.write(&self.state.logits.read()?)?;
        fork.position = self.position;
        fork.set_known(self.known)?;
        Ok(fork)
    }

    /// Chooses tokens in another way from now on.
    ///
    /// # Errors
    /// A setting that makes no sense, or what the driver says.
    pub fn set_sampling(&mut self, sampling: Sampling) -> Result<(), ModelError> {
        self.state.sampling.write(&[sampling.to_device()?])?;
        self.options.sampling = sampling;
        Ok(())
    }

    /// The logits of the last step, `[vocab]`.
    ///
    /// # Errors
    /// [`ModelError::Buffer`]
    pub fn logits(&self) -> Result<Vec<f32>, ModelError> {
        Ok(self.state.logits.read()?)
    }

    /// The tokens that are known: given, or chosen.
    ///
    /// # Errors
    /// [`ModelError::Buffer`]
    pub fn tokens(&self) -> Result<Vec<u32>, ModelError> {
        Ok(self.state.tokens.slice(..self.known)?.read()?)
    }

    /// How many tokens are known: given, or chosen.
    #[must_use]
    pub fn len(&self) -> usize {
        self.known
    }

    /// Whether there is no token yet.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.known == 0
    }

    /// How many tokens were taken in.
    #[must_use]
    pub fn position(&self) -> usize {
        self.position
    }

    /// The longest that the sequence can become.
    #[must_use]
    pub fn context(&self) -> usize {
        self.options.context
    }

    /// The stream that its work is on.
    #[must_use]
    pub fn stream(&self) -> &Arc<CudaStream> {
        &self.stream
    }

    /// How it was made; the sampling is the one of now.
    #[must_use]
    pub fn options(&self) -> &SessionOptions {
        &self.options
    }

    /// The model that it goes on with.
    #[must_use]
    pub fn model(&self) -> &Model {
        &self.model
    }

    /// How many kernels a step launches, in its one graph.
    #[must_use]
    pub fn launches_per_step(&self) -> usize {
        self.graph.launches()
    }

    /// How many kernels of a step begin while the kernel before them ends.
    #[must_use]
    pub fn programmatic_edges(&self) -> usize {
        self.graph.programmatic_edges()
    }
}
