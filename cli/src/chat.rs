//! A conversation with a model, at a terminal or through a pipe.

use std::io::{IsTerminal, Write, stdin, stdout};
use std::path::PathBuf;

use anyhow::Context;
use rustyline::error::ReadlineError;
use rustyline::{Config, DefaultEditor};
use warpwright::model::Session;
use warpwright::text::{ChatTemplate, Message, TextStream};

use crate::answer::{End, answer, take_in_prompt, watch_interrupts};
use crate::model::{ModelOptions, Ready};
use crate::sampling::SamplingOptions;

#[derive(Debug, clap::Args)]
#[command(
    after_help = "Ctrl-C ends an answer, and at the prompt the conversation, as Ctrl-D does. `/clear` begins anew.\n\n\
                        Examples:\n  warpwright chat Bonsai-8B-Q1_0.gguf --temp 0.7\n  \
                        warpwright chat -m Bonsai-8B-Q1_0.gguf --system \"Answer in one sentence.\"\n  \
                        echo \"Why is the sky blue?\" | warpwright chat Bonsai-8B-Q1_0.gguf"
)]
pub(crate) struct Arguments {
    /// A model file (GGUF) with a chat template.
    #[arg(value_name = "MODEL", required_unless_present = "model")]
    positional: Option<PathBuf>,
    /// A model file (GGUF) with a chat template.
    #[arg(short = 'm', long = "model", value_name = "FILE", conflicts_with = "positional")]
    model: Option<PathBuf>,
    /// What the model is told before all else.
    #[arg(long, visible_alias = "system-prompt", value_name = "TEXT")]
    system: Option<String>,
    /// Uses the ChatML template, whatever the file has.
    #[arg(long)]
    chatml: bool,
    /// Lets models think that can (`enable_thinking` of their template).
    #[arg(long)]
    think: bool,
    /// The most tokens of an answer.
    #[arg(short = 'n', long = "predict", value_name = "N", default_value_t = usize::MAX, hide_default_value = true)]
    tokens: usize,
    #[command(flatten)]
    sampling: SamplingOptions,
    #[command(flatten)]
    options: ModelOptions,
}

/// A conversation as far as it went.
struct Conversation<'a> {
    ready: &'a Ready,
    template: ChatTemplate,
    session: Session,
    messages: Vec<Message>,
}

impl Conversation<'_> {
    /// Puts into the session what the template makes of the messages. What it has of that already is kept.
    fn extend(&mut self) -> anyhow::Result<()> {
        let text = self.template.render(&self.messages, true)?;
        let tokens = self.ready.tokenizer.encode(&text, true)?;
        let known = self.session.tokens()?;
        // One token at least is taken in, so that there are logits.
        let same = known.iter().zip(&tokens).take_while(|(a, b)| a == b).count().min(tokens.len().saturating_sub(1));
        self.session.truncate(same)?;
        Ok(self.session.extend(&tokens[same..])?)
    }

    /// Answers a message. Says whether there is room for more.
    fn answer(&mut self, message: String, limit: usize) -> anyhow::Result<bool> {
        self.messages.push(Message::user(message));
        if let Err(error) = self.extend() {
            // as if it had not been said
            self.messages.pop();
            eprintln!("{error:#}");
            return Ok(false);
        }
        if !take_in_prompt(&mut self.session)? {
            self.messages.pop();
            eprintln!("(interrupted: the message is forgotten)");
            return Ok(true);
        }
        let mut out = stdout().lock();
        let answered = answer(&mut self.session, TextStream::new(&self.ready.tokenizer), limit, &mut out)?;
        writeln!(out)?;
        match answered.end {
            End::Context => eprintln!("the context of {} tokens is full: /clear begins anew", self.session.context()),
            End::Interrupted => eprintln!("(interrupted)"),
            End::Length | End::Stopped => {}
        }
        self.messages.push(Message::assistant(answered.text));
        Ok(answered.end != End::Context)
    }
}

pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let path = arguments.model.as_ref().or(arguments.positional.as_ref());
    // A conversation may take the whole context.
    let ready = arguments.options.open(path, arguments.sampling.sampling(), |_| Ok(usize::MAX))?;
    let mut template = if arguments.chatml {
        ChatTemplate::chatml()?
    } else {
        ChatTemplate::from_gguf(&ready.gguf).context("the file; --chatml goes without a template of its own")?
    };
    template.set("enable_thinking", arguments.think);
    let system: Vec<Message> = arguments.system.iter().map(|text| Message::system(text.clone())).collect();
    let session = ready.session()?;
    let mut conversation = Conversation { ready: &ready, template, session, messages: system.clone() };

    let terminal = stdin().is_terminal();
    if !terminal {
        for line in stdin().lines() {
            let line = line.context("standard input")?;
            if !line.trim().is_empty() && !conversation.answer(line, arguments.tokens)? {
                anyhow::bail!("there is no room for more");
            }
        }
        return Ok(());
    }
    eprintln!("on {}; Ctrl-D ends, /clear begins anew", ready.device.name);
    let mut editor = DefaultEditor::with_config(Config::builder().auto_add_history(true).build())?;
    // After the editor is made, which handles Ctrl-C too.
    watch_interrupts()?;
    loop {
        match editor.readline("> ") {
            Ok(line) if line.trim().is_empty() => {}
            Ok(line) if line.trim() == "/clear" => {
                conversation.messages.clone_from(&system);
                conversation.session.truncate(0)?;
            }
            Ok(line) => {
                conversation.answer(line, arguments.tokens)?;
            }
            Err(ReadlineError::Interrupted | ReadlineError::Eof) => return Ok(()),
            Err(error) => return Err(error).context("the terminal"),
        }
    }
}
