//! Identifiers in Rust for what has a name in CUDA.

use proc_macro2::{Ident, Span, TokenStream};
use quote::quote;
use warpwright_build::names::{SHARED, generic_name};
use warpwright_build::types::{Element, Number};

/// An identifier, raw if it is a keyword.
pub(crate) fn identifier(name: &str) -> Ident {
    const KEYWORDS: &str = "abstract as async await become box break const continue do dyn else enum extern false final \
        fn for gen if impl in let loop macro match mod move mut override priv pub ref return static struct trait true \
        try type typeof union unsafe unsized use virtual where while yield";
    if KEYWORDS.split_whitespace().any(|keyword| keyword == name) {
        Ident::new_raw(name, Span::call_site())
    } else {
        Ident::new(name, Span::call_site())
    }
}

/// The generic type of the field of a pointer parameter.
pub(crate) fn generic(parameter: &str) -> Ident {
    Ident::new(&generic_name(parameter), Span::call_site())
}

/// The Rust type of a number.
pub(crate) fn number(number: Number) -> TokenStream {
    let name = Ident::new(number.rust(), Span::call_site());
    match number.is_primitive() {
        // A marker or module may have the name of a number.
        true => quote! { ::core::primitive::#name },
        false => quote! { ::warpwright::types::#name },
    }
}

/// The Rust type of an element, as `place` finds the module of what is shared.
pub(crate) fn element(element: &Element, place: &TokenStream) -> TokenStream {
    match element {
        Element::Number(of) => number(*of),
        Element::Struct(of) => {
            let (shared, name) = (identifier(SHARED), identifier(&of.name));
            quote! { #place #shared::#name }
        }
    }
}

/// A comment as documentation in Rust: code in it is not Rust's, and no test.
pub(crate) fn prose(comment: &str) -> String {
    #[derive(PartialEq)]
    enum In {
        Text,
        Fence,
        Indented,
    }
    let (mut lines, mut place, mut after_blank) = (Vec::new(), In::Text, true);
    for line in comment.lines() {
        let blank = line.trim().is_empty();
        let indented = line.starts_with("    ") || line.starts_with('\t');
        if place == In::Indented && !indented && !blank {
            lines.push("```");
            place = In::Text;
        }
        let fence = line.trim_start().starts_with("```");
        match place {
            In::Text if fence => {
                place = In::Fence;
                lines.push(if line.trim() == "```" { "```text" } else { line });
            }
            In::Fence if fence => {
                place = In::Text;
                lines.push(line);
            }
            In::Text if indented && after_blank && !blank => {
                place = In::Indented;
                lines.extend(["```text", line]);
            }
            _ => lines.push(line),
        }
        after_blank = blank;
    }
    if place != In::Text {
        lines.push("```");
    }
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::prose;

    #[test]
    fn code_in_comments_is_no_rust() {
        assert_eq!(prose("Adds.\n\nMore."), "Adds.\n\nMore.");
        assert_eq!(prose("A:\n\n    y = x;\n\nB"), "A:\n\n```text\n    y = x;\n\n```\nB");
        assert_eq!(prose("```\ny = x;\n```\n```cuda\nz;"), "```text\ny = x;\n```\n```cuda\nz;\n```");
        assert_eq!(prose("- a\n    goes on"), "- a\n    goes on");
    }
}
