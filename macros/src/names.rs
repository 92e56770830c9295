//! Names in Rust for what has a name in CUDA.

use proc_macro2::{Ident, Span};

/// A type name: `rms_norm` becomes `RmsNorm`, and `q1_0_gemv` becomes `Q1_0Gemv`.
pub(crate) fn camel_case(name: &str) -> String {
    let mut out = String::new();
    let mut upper = true;
    let mut characters = name.chars().peekable();
    while let Some(c) = characters.next() {
        if c == '_' {
            // Between digits the underscore tells numbers apart, and stays.
            let digit = |c: Option<char>| c.is_some_and(|c| c.is_ascii_digit());
            if digit(out.chars().last()) && digit(characters.peek().copied()) {
                out.push('_');
            }
            upper = true;
        } else if upper {
            out.push(c.to_ascii_uppercase());
            upper = false;
        } else {
            out.push(c);
        }
    }
    out
}

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn camel_case_keeps_numbers_apart() {
        let names = ["rms_norm", "q1_0_gemv", "x", "kv_store", "gemv2", "_lead", "A_b"].map(camel_case);
        assert_eq!(names, ["RmsNorm", "Q1_0Gemv", "X", "KvStore", "Gemv2", "Lead", "AB"]);
    }
}
