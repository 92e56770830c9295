//! Text for language models: the tokenizer and the chat template that a model's file describes.
//!
//! A [`Tokenizer`] makes tokens of text. Back, a [`TextStream`] makes text of tokens as they come, never half a
//! character, and ends it at a stop token or one of some [`StopStrings`]. A [`ChatTemplate`] makes the text of a
//! conversation. All of it is read from files of strangers: what is wrong there is a [`TextError`].
//!
//! ```no_run
//! use warpwright::gguf::Gguf;
//! use warpwright::text::{ChatTemplate, Message, TextStream, Tokenizer};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let gguf = Gguf::open("Bonsai-1.7B.gguf")?;
//! let tokenizer = Tokenizer::from_gguf(&gguf, 151_669)?;
//! let mut template = ChatTemplate::from_gguf(&gguf)?;
//! template.set("enable_thinking", false);
//! let prompt = template.render(&[Message::user("Why is the sky blue?")], true)?;
//! let tokens = tokenizer.encode(&prompt, true)?;
//! # let answer: Vec<u32> = tokens;
//!
//! let mut text = TextStream::new(&tokenizer);
//! for token in answer {
//!     print!("{}", text.push(token)?);
//!     if text.stop().is_some() {
//!         break;
//!     }
//! }
//! println!("{}", text.finish());
//! # Ok(())
//! # }
//! ```

mod chat;
mod error;
mod json;
mod stop;
mod stream;
mod tokenizer;

pub use chat::{ChatTemplate, Message};
pub use error::TextError;
pub use stop::StopStrings;
pub use stream::{Stop, TextStream};
pub use tokenizer::Tokenizer;
