//! The first witness: the mangled name of a kernel, in which the compiler wrote its name and its types.

use std::collections::BTreeMap;

/// What a mangled name says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Signature {
    /// Without namespaces.
    pub(crate) name: String,
    /// The arguments of an instance of a template, in C++.
    pub(crate) arguments: Vec<String>,
    /// The type of each parameter in C++, as the demangler writes it; `None` if the name does not say (`extern "C"`).
    pub(crate) parameters: Option<Vec<String>>,
    /// The values of the constants that were asked for with [`addition`], `None` where it is not one; nothing for what is
    /// no instance that the source has.
    pub(crate) constants: Option<Vec<Option<i64>>>,
}

/// What the added function of an instance says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Resolved {
    /// The types of its parameters.
    pub(crate) types: Vec<String>,
    /// The values of its constants.
    pub(crate) constants: Vec<Option<i64>>,
}

/// Why a name has no signature.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum SignatureError {
    #[error("the kernel is in an anonymous namespace, so its name differs from file to file: name the namespace")]
    Anonymous,
    #[error("the name is not one that a C++ compiler makes")]
    Name,
}

/// The name of the functions that the build adds so that the compiler writes down the types of an instance.
pub(crate) const ADDED: &str = "warpwright_signature_";

/// What the build adds to a source for each instance of a template: a kernel whose own name has the types of the
/// instance's parameters, resolved (the mangled name of the instance itself has them as they depend on its arguments), and
/// the values of the first `constants` of [`constants`].
pub(crate) fn addition(number: usize, namespaces: &[String], instance: &str, constants: usize) -> String {
    // `ns::scale<float>` has them as `ns::…scale_0<float>(0)`.
    let (path, arguments) = instance.split_at(instance.find('<').unwrap_or(instance.len()));
    let (namespace, name) = path.split_at(path.rfind("::").map_or(0, |at| at + 2));
    let constants = (0..constants).map(|n| format!("decltype({namespace}{CONSTANT}{name}_{n}{arguments}(0))"));
    let constants: Vec<String> = constants.collect();
    let constants = match &constants[..] {
        [] => String::new(),
        list => format!(", ::warpwright_list<{}>*", list.join(", ")),
    };
    let added = format!(
        "__global__ void {ADDED}{number}(::warpwright_instance<&{instance}>*, \
         decltype(::warpwright_types(&{instance}))*{constants}) {{}}"
    );
    in_namespaces(namespaces, &added)
}

/// The start of the names of functions that have a constant as their type.
const CONSTANT: &str = "warpwright_constant_";

/// What the build adds to a source for each constant of a template that rules name: a template with the same parameters,
/// of a function that is never called, whose type has the constant's value. Where it has none, or one that 64 bits with a
/// sign do not hold, only the second function fits.
pub(crate) fn constants(namespaces: &[String], template: &str, head: &str, names: &[String]) -> String {
    let functions = names.iter().enumerate().map(|(n, name)| {
        format!(
            "template <{head}> ::warpwright_constant<({name})> {CONSTANT}{template}_{n}(int); \
             template <{head}> ::warpwright_nothing {CONSTANT}{template}_{n}(...);"
        )
    });
    in_namespaces(namespaces, &functions.collect::<Vec<_>>().join(" "))
}

/// A line of C++ as if it stood in namespaces, the outermost first.
pub(crate) fn in_namespaces(namespaces: &[String], text: &str) -> String {
    match namespaces {
        [] => format!("{text}\n"),
        names => format!("namespace {} {{ {text} }}\n", names.join("::")),
    }
}

/// What stands before the additions.
pub(crate) const ADDITIONS: &str = "template <auto* Function> struct warpwright_instance;\n\
    template <class... Types> struct warpwright_list;\n\
    template <class... Types> warpwright_list<Types...> warpwright_types(void (*)(Types...));\n\
    template <long long Value> struct warpwright_constant;\n\
    struct warpwright_nothing;\n";

/// A symbol as C++ writes it.
pub(crate) fn demangle(symbol: &str) -> Option<String> {
    cpp_demangle::Symbol::new(symbol).ok()?.demangle().ok()
}

/// Reads what the added functions say of each instance, by the instance's name as the demangler writes it.
pub(crate) fn additions<'a>(symbols: impl Iterator<Item = &'a str>) -> BTreeMap<String, Resolved> {
    let mut instances = BTreeMap::new();
    for text in symbols.filter(|symbol| symbol.contains(ADDED)).filter_map(demangle) {
        let arguments = text.find('(').and_then(|open| text[open + 1..].strip_suffix(')'));
        let parts = split(arguments.unwrap_or_default());
        let [instance, types, constants @ ..] = &parts[..] else { continue };
        let inside = |text: &str, before: &str| -> Option<String> {
            Some(text.strip_prefix(before)?.strip_suffix(">*")?.trim().to_owned())
        };
        let list = |text: &str| -> Option<Vec<String>> {
            let list = inside(text, "warpwright_list<")?;
            Some(if list.is_empty() { Vec::new() } else { split(&list).into_iter().map(str::to_owned).collect() })
        };
        let constants = constants.first().map_or(Some(Vec::new()), |constants| list(constants));
        if let (Some(instance), Some(types), Some(constants)) =
            (inside(instance, "warpwright_instance<&"), list(types), constants)
        {
            let value = |text: &String| -> Option<i64> {
                let value = text.strip_prefix("warpwright_constant<")?.strip_suffix('>')?;
                plain_argument(value).parse().ok()
            };
            instances.insert(instance, Resolved { types, constants: constants.iter().map(value).collect() });
        }
    }
    instances
}

/// Reads the signature from a symbol; `instances` is what [`additions`] found.
pub(crate) fn read(symbol: &str, instances: &BTreeMap<String, Resolved>) -> Result<Signature, SignatureError> {
    if !symbol.starts_with("_Z") {
        let name = symbol.to_owned();
        return Ok(Signature { name, arguments: Vec::new(), parameters: None, constants: None });
    }
    let text = demangle(symbol).ok_or(SignatureError::Name)?;
    if text.contains("(anonymous namespace)") {
        return Err(SignatureError::Anonymous);
    }
    // The parameters are in the last parentheses that are in no others: template arguments may have some too.
    let close = text.strip_suffix(')').ok_or(SignatureError::Name)?;
    let mut depth = 0u32;
    let open = close.char_indices().rev().find(|&(_, c)| {
        match c {
            ')' => depth += 1,
            '(' if depth == 0 => return true,
            '(' => depth -= 1,
            _ => {}
        }
        false
    });
    let (open, _) = open.ok_or(SignatureError::Name)?;
    let (head, parameters) = (&close[..open], &close[open + 1..]);
    let (name, arguments) = match head.strip_suffix('>').and_then(|inside| Some((inside, opening_angle(inside)?))) {
        Some((inside, angle)) => (&inside[..angle], split(&inside[angle + 1..])),
        None => (head, Vec::new()),
    };
    // An instance has its return type in front.
    let name = name.rsplit([':', ' ']).next().unwrap_or(name).to_owned();
    let instance = instances.get(&text);
    let parameters = match instance {
        Some(resolved) => resolved.types.clone(),
        None if parameters.is_empty() => Vec::new(),
        None => split(parameters).into_iter().map(str::to_owned).collect(),
    };
    let arguments = arguments.into_iter().map(plain_argument).collect();
    let constants = instance.map(|resolved| resolved.constants.clone());
    Ok(Signature { name, arguments, parameters: Some(parameters), constants })
}

/// `(unsigned int)16` is `16`, and `T2<(unsigned int)1>` is `T2<1>`.
fn plain_argument(text: &str) -> String {
    let is_number = |text: &str| text.starts_with(|c: char| c == '-' || c.is_ascii_digit());
    let mut out = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('(') {
        out.push_str(before);
        rest = match after.split_once(')') {
            Some((_, value)) if is_number(value) => value,
            _ => {
                out.push('(');
                after
            }
        };
    }
    out + rest
}

/// The index of the `<` that a `>` after the text closes.
fn opening_angle(text: &str) -> Option<usize> {
    let mut depth = 0u32;
    for (at, c) in text.char_indices().rev() {
        match c {
            '>' | ')' => depth += 1,
            '<' if depth == 0 => return Some(at),
            '<' | '(' => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    None
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

#[cfg(test)]
mod tests {
    use super::*;

    fn plain(symbol: &str) -> Result<Signature, SignatureError> {
        read(symbol, &BTreeMap::new())
    }

    #[test]
    fn types_come_from_the_mangled_name() {
        let signature = plain("_Z4sigsPKhPK6__halfPfjmdPK6float4PiS_").unwrap();
        assert_eq!(signature.name, "sigs");
        let types = "unsigned char const*, __half const*, float*, unsigned int, unsigned long, double, float4 const*, \
                     int*, unsigned char const";
        assert_eq!(signature.parameters.unwrap().join(", "), types);
        let none = Signature { name: "axpy".to_owned(), arguments: vec![], parameters: Some(vec![]), constants: None };
        assert_eq!(plain("_ZN5inner4axpyEv").unwrap(), none);
    }

    #[test]
    fn instances_have_arguments_and_resolved_types() {
        let scale = plain("_ZN3foo5scaleI6__halfLi4ELj16ELb1EEEvPT_S2_j").unwrap();
        assert_eq!((scale.name.as_str(), scale.arguments.join(" ")), ("scale", "__half 4 16 true".to_owned()));
        let gemv = "_Z4gemvI2Q1Li4EEvPKNT_5acc_tEPf";
        assert_eq!(plain(gemv).unwrap().parameters.unwrap(), ["Q1::acc_t const*", "float*"]);
        let added = "_Z22warpwright_signature_1P19warpwright_instanceIXadL_Z4gemvI2Q1Li4EEvPKNT_5acc_tEPfEEEP15warpwright_\
                     listIJPKiS6_EE";
        let instances = additions([added, gemv].into_iter());
        let resolved = read(gemv, &instances).unwrap();
        assert_eq!(
            (resolved.parameters.unwrap(), resolved.constants),
            (vec!["int const*".into(), "float*".into()], Some(vec![]))
        );
        let nested = plain("_ZN2ns1kINS_2T2ILj1ELi3EEELj8EEEvPf").unwrap();
        let arguments = nested.arguments.join(" ");
        assert_eq!(arguments, "ns::T2<1, 3> 8");
        assert_eq!(plain_argument("F<void (*)(int), -2>"), "F<void (*)(int), -2>");
    }

    #[test]
    fn names_that_have_no_types() {
        assert_eq!(plain("rms_norm").unwrap().parameters, None);
        assert_eq!(plain("_ZN12_GLOBAL__N_14axpyEPf"), Err(SignatureError::Anonymous));
        assert_eq!(plain("_Zqq"), Err(SignatureError::Name));
    }
}
