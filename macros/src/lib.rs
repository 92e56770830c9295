//! The macro `warpwright::kernels!()`: reads the manifest that the build script left, and expands to launchers.
//!
//! `expand` makes the set of kernels and the modules, `launcher` the structs and how they are launched, `contract` the
//! checks that come before, `shared` what the headers have for Rust, `names` the identifiers.

mod contract;
mod expand;
mod launcher;
mod names;
mod shared;

use std::path::{Path, PathBuf};

use proc_macro2::{Literal, Span, TokenStream, TokenTree};
use quote::quote_spanned;
use warpwright_build::manifest::{FOLDER, Manifest};

/// Makes a module of every `.cu` file of the crate, or of those that are named: `kernels!("rms_norm", "axpy")`.
///
/// The crate's build script calls `warpwright_build::compile("kernels")` first. Each module has a struct for each of its
/// kernels, with the kernel's parameters as its fields and a method `launch`. Beside the modules there is a type
/// `Kernels`: the kernels that were named, to be loaded into a context. Invoke it once in a Rust module.
#[proc_macro]
pub fn kernels(input: proc_macro::TokenStream) -> proc_macro::TokenStream {
    let expanded = parse(input.into()).and_then(|names| {
        let folder = folder()?;
        let manifest = Manifest::read(&folder).map_err(|error| Error::new(error.to_string()))?;
        expand::expand(&manifest, &names)
    });
    expanded.unwrap_or_else(|error| error.to_tokens()).into()
}

/// What is wrong with an invocation, and where.
struct Error {
    message: String,
    span: Span,
}

impl Error {
    fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), span: Span::call_site() }
    }

    fn to_tokens(&self) -> TokenStream {
        let message = Literal::string(&self.message);
        quote_spanned! { self.span => ::core::compile_error! { #message } }
    }
}

/// The names of modules, as string literals separated by commas.
fn parse(input: TokenStream) -> Result<Vec<(String, Span)>, Error> {
    let mut names = Vec::new();
    let mut tokens = input.into_iter();
    while let Some(token) = tokens.next() {
        let span = token.span();
        let text = token.to_string();
        let name = text.strip_prefix('"').and_then(|text| text.strip_suffix('"'));
        let Some(name) = name else {
            let message = format!("expected the name of a `.cu` file in quotes, such as \"rms_norm\", found `{text}`");
            return Err(Error { message, span });
        };
        names.push((name.to_owned(), span));
        match tokens.next() {
            None => break,
            Some(TokenTree::Punct(mark)) if mark.as_char() == ',' => {}
            Some(other) => {
                let message = format!("expected a comma between names, found `{other}`");
                return Err(Error { message, span: other.span() });
            }
        }
    }
    Ok(names)
}

/// Where the build script of the crate left its manifest.
fn folder() -> Result<PathBuf, Error> {
    let no_build_script = || {
        Error::new(
            "there is no manifest of kernels: the crate needs a build script, `build.rs`, with \
             `fn main() { warpwright_build::compile(\"kernels\") }`, and `warpwright-build` in [build-dependencies]",
        )
    };
    // Cargo sets it while it compiles a crate with a build script.
    let out = std::env::var_os("OUT_DIR").ok_or_else(no_build_script)?;
    let folder = Path::new(&out).join(FOLDER);
    if folder.is_dir() { Ok(folder) } else { Err(no_build_script()) }
}
