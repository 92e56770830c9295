//! The first witness: the mangled name of a kernel, in which the compiler wrote its name and its types.

use crate::types::{Element, Type};

/// What a mangled name says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Signature {
    /// Without namespaces.
    pub(crate) name: String,
    /// Each parameter: its type, or the type in C++ if it has no counterpart in Rust.
    pub(crate) parameters: Vec<Result<Type, String>>,
}

/// Why a name has no signature.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum SignatureError {
    #[error("the kernel is `extern \"C\"`, so its name does not say its types: leave `extern \"C\"` out")]
    ExternC,
    #[error("the kernel is in an anonymous namespace, so its name differs from machine to machine: name the namespace")]
    Anonymous,
    #[error(
        "the kernel is a template: write a `__global__` function for each instance, which calls a `__device__` one"
    )]
    Template,
    #[error("the name is not one that a C++ compiler makes")]
    Name,
}

/// Reads the signature from a symbol.
pub(crate) fn read(symbol: &str) -> Result<Signature, SignatureError> {
    if !symbol.starts_with("_Z") {
        return Err(SignatureError::ExternC);
    }
    let demangled = cpp_demangle::Symbol::new(symbol).map_err(|_| SignatureError::Name)?;
    let text = demangled.demangle().map_err(|_| SignatureError::Name)?;
    if text.contains("(anonymous namespace)") {
        return Err(SignatureError::Anonymous);
    }
    let open = text.find('(').ok_or(SignatureError::Name)?;
    let (name, parameters) = text.split_at(open);
    if name.contains('<') {
        return Err(SignatureError::Template);
    }
    let name = name.rsplit("::").next().unwrap_or(name).to_owned();
    let parameters =
        parameters.strip_prefix('(').and_then(|rest| rest.strip_suffix(')')).ok_or(SignatureError::Name)?;
    let parameters = if parameters.is_empty() { Vec::new() } else { split(parameters) };
    Ok(Signature { name, parameters: parameters.into_iter().map(parameter).collect() })
}

/// Splits at the commas that are in no brackets.
fn split(text: &str) -> Vec<&str> {
    let (mut parts, mut depth, mut start) = (Vec::new(), 0u32, 0);
    for (at, c) in text.char_indices() {
        match c {
            '(' | '<' | '[' => depth += 1,
            ')' | '>' | ']' => depth = depth.saturating_sub(1),
            ',' if depth == 0 => {
                parts.push(text[start..at].trim());
                start = at + 1;
            }
            _ => {}
        }
    }
    parts.push(text[start..].trim());
    parts
}

/// A type as the demangler writes it: `float const*`, `unsigned int`.
fn parameter(text: &str) -> Result<Type, String> {
    let ty = match text.strip_suffix('*') {
        None => Element::from_cpp(text).map(Type::Scalar),
        Some(pointee) => match pointee.strip_suffix(" const") {
            Some(element) => Element::from_cpp(element).map(Type::Read),
            None => Element::from_cpp(pointee).map(Type::Write),
        },
    };
    ty.ok_or_else(|| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_come_from_the_mangled_name() {
        let signature = read("_Z4sigsPKhPK6__halfPfjmdPK6float4PiS_").unwrap();
        assert_eq!(signature.name, "sigs");
        let types: Vec<_> = signature.parameters.into_iter().map(|ty| ty.map(Type::cpp)).collect();
        let known = |name: &str| Ok(name.to_owned());
        assert_eq!(
            types,
            [
                known("const unsigned char*"),
                known("const __half*"),
                known("float*"),
                known("unsigned int"),
                known("unsigned long"),
                known("double"),
                known("const float4*"),
                known("int*"),
                Err("unsigned char const".to_owned()),
            ]
        );
    }

    #[test]
    fn names_that_have_no_signature() {
        assert_eq!(read("rms_norm"), Err(SignatureError::ExternC));
        assert_eq!(read("_ZN12_GLOBAL__N_14axpyEPf"), Err(SignatureError::Anonymous));
        assert_eq!(read("_Z4axpyIfEvPT_"), Err(SignatureError::Template));
        assert_eq!(read("_Zqq"), Err(SignatureError::Name));
        assert_eq!(read("_ZN5inner4axpyEv").unwrap(), Signature { name: "axpy".to_owned(), parameters: vec![] });
    }
}
