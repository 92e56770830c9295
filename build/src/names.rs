//! Names in Rust for what has a name in CUDA: which launchers there are, and whether all of it can be named.

use std::collections::BTreeMap;

use crate::diagnostic::{Diagnostic, Diagnostics};
use crate::manifest::{Kernel, Manifest, Module, Parameter};
use crate::types::{Element, Number, Type};

/// The module that holds what CUDA and Rust share.
pub const SHARED: &str = "include";

/// A launcher: a kernel, or the instances of a template over element types.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Launcher<'m> {
    /// Its name in Rust.
    pub name: String,
    /// The kernels that it launches, with the index of each in the module. More than one only if it is generic.
    pub kernels: Vec<(usize, &'m Kernel)>,
    /// For a generic one and for each parameter of the kernels, the argument of the template that is its element.
    pub generic: Vec<Option<usize>>,
}

/// A type name: `rms_norm` becomes `RmsNorm`, and `q1_0_gemv` becomes `Q1_0Gemv`.
#[must_use]
pub fn camel_case(name: &str) -> String {
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

/// The launchers of a module's kernels, in their order.
#[must_use]
pub fn launchers(module: &Module) -> Vec<Launcher<'_>> {
    let mut launchers: Vec<Launcher<'_>> = Vec::new();
    let mut taken: Vec<&str> = Vec::new();
    for (index, kernel) in module.kernels.iter().enumerate() {
        if kernel.arguments.is_empty() {
            let kernels = vec![(index, kernel)];
            launchers.push(Launcher { name: camel_case(&kernel.name), kernels, generic: Vec::new() });
            continue;
        }
        if taken.contains(&kernel.name.as_str()) {
            continue;
        }
        taken.push(&kernel.name);
        let instances = || module.kernels.iter().enumerate().filter(|(_, other)| other.name == kernel.name);
        let instances: Vec<(usize, &Kernel)> = instances().filter(|(_, other)| !other.arguments.is_empty()).collect();
        match generic(&instances) {
            Some(generic) => launchers.push(Launcher { name: camel_case(&kernel.name), kernels: instances, generic }),
            None => launchers.extend(instances.into_iter().map(|(index, instance)| Launcher {
                name: instance_name(instance),
                kernels: vec![(index, instance)],
                generic: Vec::new(),
            })),
        }
    }
    launchers
}

/// `gemv<Q1, 4>` is `GemvQ1_4`, `gemv<ns::T2<1>>` is `GemvT2_1`, and `gemv<float>` is `GemvF32`.
fn instance_name(kernel: &Kernel) -> String {
    let mut name = kernel.name.clone();
    for argument in &kernel.arguments {
        let text: &str = Number::from_cpp(argument).map_or(argument, |number| number.rust());
        // Without namespaces.
        let parts = text.split_inclusive(|c: char| !c.is_ascii_alphanumeric() && !matches!(c, '_' | ':'));
        let parts = parts.map(|part| part.rsplit("::").next().unwrap_or(part).replace('-', "minus_"));
        name.push('_');
        name.extend(parts.flat_map(|part| part.chars().collect::<Vec<_>>()).map(|c| match c {
            c if c.is_ascii_alphanumeric() => c,
            _ => '_',
        }));
    }
    camel_case(&name)
}

/// For each parameter, which argument of the template is its element, where all instances agree on that and on their
/// contract, and every argument is found in a parameter. Then the types of what is given say which instance is meant.
fn generic(instances: &[(usize, &Kernel)]) -> Option<Vec<Option<usize>>> {
    let (_, first) = instances.first().filter(|_| instances.len() > 1)?;
    let arguments: Vec<Vec<Element>> = instances
        .iter()
        .map(|(_, kernel)| {
            let element = |text: &String| Number::from_cpp(text).map(Element::Number);
            kernel.arguments.iter().map(element).collect::<Option<Vec<_>>>()
        })
        .collect::<Option<_>>()?;
    let count = arguments[0].len();
    let alike = |(kernel, arguments): (&Kernel, &Vec<Element>)| {
        let contract = kernel.constants == first.constants;
        contract && arguments.len() == count && kernel.parameters.len() == first.parameters.len()
    };
    if !instances.iter().map(|(_, kernel)| *kernel).zip(&arguments).all(alike) {
        return None;
    }
    let same_kind = |a: &Type, b: &Type| std::mem::discriminant(a) == std::mem::discriminant(b);
    let mut found = Vec::new();
    for (n, parameter) in first.parameters.iter().enumerate() {
        let types: Vec<&Type> = instances.iter().map(|(_, kernel)| &kernel.parameters[n].ty).collect();
        if !types.iter().all(|ty| same_kind(ty, &parameter.ty)) {
            return None;
        }
        if types.iter().all(|ty| **ty == parameter.ty) {
            found.push(None);
            continue;
        }
        let is_argument =
            |j: &usize| types.iter().zip(&arguments).all(|(ty, arguments)| ty.element() == &arguments[*j]);
        found.push(Some((0..count).find(is_argument)?));
    }
    (0..count).all(|argument| found.contains(&Some(argument))).then_some(found)
}

/// Names that Rust takes in no form (others it takes as `r#name`).
const RESERVED: [&str; 5] = ["self", "Self", "super", "crate", "_"];

/// Names that cannot be those of variables, since they are known everywhere.
const PRELUDE: [&str; 4] = ["None", "Some", "Ok", "Err"];

/// Why a name cannot be that of a parameter, if it cannot.
fn refused(name: &str) -> Option<&'static str> {
    match name {
        name if RESERVED.contains(&name) || PRELUDE.contains(&name) => Some("cannot be a name in Rust"),
        name if name.starts_with("__") => Some("begins as names of the compiler's own do"),
        _ => None,
    }
}

/// The name of the generic type of the field of a pointer.
#[must_use]
pub fn generic_name(parameter: &str) -> String {
    match camel_case(parameter) {
        // `Self` is no name, and digits need a letter in front; `OntoTarget` is what a kernel is launched onto.
        name if name.starts_with(|c: char| c.is_ascii_alphabetic()) && name != "Self" && name != "OntoTarget" => name,
        name => format!("P{name}"),
    }
}

/// Modules and launchers have the names of their files, kernels and parameters, which have to be names in Rust, each its
/// own.
pub(crate) fn check_names(manifest: &Manifest, folder: &str) -> Result<(), Diagnostics> {
    let mut errors = Vec::new();
    let identifier = |name: &str| {
        name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
            && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
    };
    for module in &manifest.modules {
        let file = format!("{folder}/{}.cu", module.name);
        let place = |kernel: &Kernel| match &kernel.file {
            Some(header) => format!("{folder}/{header}"),
            None => file.clone(),
        };
        for kernel in &module.kernels {
            let mut wrong = |problem: String| {
                let message = format!("kernel `{}`: {problem}", kernel.name);
                errors.push(Diagnostic::new(message).at(place(kernel), kernel.line));
            };
            for Parameter { name, .. } in &kernel.parameters {
                if let Some(reason) = refused(name) {
                    wrong(format!("its parameter `{name}` {reason}: rename it"));
                }
            }
            let pointers = kernel.parameters.iter().filter(|parameter| parameter.ty.pointee().is_some());
            let mut generics: BTreeMap<String, &str> = BTreeMap::new();
            for Parameter { name, .. } in pointers {
                if let Some(other) = generics.insert(generic_name(name), name) {
                    wrong(format!("`{other}` and `{name}` are too much alike: rename one of them"));
                }
            }
        }
        let mut known: BTreeMap<String, &Kernel> = BTreeMap::new();
        for launcher in launchers(module) {
            let (_, kernel) = launcher.kernels[0];
            if !identifier(&launcher.name) || RESERVED.contains(&&*launcher.name) {
                let message = format!(
                    "kernel `{}`: it would be launched by a struct `{}`, which cannot be a name in Rust: rename it",
                    kernel.name, launcher.name
                );
                errors.push(Diagnostic::new(message).at(place(kernel), kernel.line));
            }
            if let Some(other) = known.insert(launcher.name.clone(), kernel) {
                let message = format!(
                    "two kernels would be launched by a struct `{}`: `{}` and `{}`",
                    launcher.name,
                    other.signature(),
                    kernel.signature()
                );
                let note = format!("the other one is at {}:{}; rename one of them", place(other), other.line);
                errors.push(Diagnostic::new(message).at(place(kernel), kernel.line).note(note));
            }
        }
        // What stands beside the modules.
        const BESIDE: [&str; 2] = ["Set", "Kernels"];
        if BESIDE.contains(&&*module.name) {
            let message =
                format!("`{0}.cu` has the name of the type `{0}` beside the modules: rename the file", module.name);
            errors.push(Diagnostic::new(message).at(file, 1));
        } else if !identifier(&module.name) || RESERVED.contains(&module.name.as_str()) {
            let message = format!("`{}.cu` cannot be a Rust module: rename the file", module.name);
            errors.push(Diagnostic::new(message).at(file, 1));
        } else if module.name == SHARED && manifest.headers != Default::default() {
            let message =
                format!("`{SHARED}.cu` has the name of the module for what the headers share: rename the file");
            errors.push(Diagnostic::new(message).at(file, 1));
        }
    }
    if errors.is_empty() { Ok(()) } else { Err(Diagnostics(errors)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kernel(name: &str, arguments: &[&str], types: &[Type]) -> Kernel {
        let parameters = types.iter().enumerate().map(|(n, ty)| Parameter { name: format!("p{n}"), ty: ty.clone() });
        Kernel {
            name: name.to_owned(),
            arguments: arguments.iter().map(|&argument| argument.to_owned()).collect(),
            symbol: String::new(),
            file: None,
            line: 1,
            documentation: String::new(),
            parameters: parameters.collect(),
            rules: Vec::new(),
            constants: BTreeMap::new(),
            cluster: None,
        }
    }

    fn module(kernels: Vec<Kernel>) -> Module {
        let (name, documentation, compiler) = ("m".into(), String::new(), String::new());
        Module { name, documentation, inputs: Vec::new(), compiler, images: Vec::new(), kernels }
    }

    #[test]
    fn camel_case_keeps_numbers_apart() {
        let names = ["rms_norm", "q1_0_gemv", "x", "kv_store", "gemv2", "_lead", "A_b"].map(camel_case);
        assert_eq!(names, ["RmsNorm", "Q1_0Gemv", "X", "KvStore", "Gemv2", "Lead", "AB"]);
    }

    #[test]
    fn instances_over_elements_are_one_launcher() {
        let write = |number: Number| Type::Write(number.into());
        let scalar = |number: Number| Type::Scalar(number.into());
        let scale =
            |name: &str, number| kernel("scale", &[name], &[write(number), scalar(number), scalar(Number::U32)]);
        let gemv = |arguments: &[&str]| kernel("gemv", arguments, &[write(Number::F32)]);
        let module = module(vec![
            scale("float", Number::F32),
            gemv(&["ns::Q1_0", "4"]),
            scale("__half", Number::F16),
            gemv(&["float", "-1"]),
            gemv(&["ns::T2<ns::Q1_0, 1>", "8"]),
            kernel("plain", &[], &[]),
        ]);
        let launchers = launchers(&module);
        let names: Vec<&str> = launchers.iter().map(|launcher| launcher.name.as_str()).collect();
        assert_eq!(names, ["Scale", "GemvQ1_0_4", "GemvF32Minus1", "GemvT2Q1_0_1_8", "Plain"]);
        assert_eq!(launchers[0].generic, [Some(0), Some(0), None]);
        assert_eq!(launchers[0].kernels.iter().map(|(index, _)| *index).collect::<Vec<_>>(), [0, 2]);
        assert!(launchers[1].generic.is_empty());
        // With constants that differ their contracts do, and each has a launcher.
        let mut apart = module.clone();
        apart.kernels[0].constants.insert("T::WORDS".to_owned(), 4);
        let names: Vec<String> = super::launchers(&apart).into_iter().map(|launcher| launcher.name).collect();
        assert_eq!(names[..2], ["ScaleF32", "ScaleF16"]);
    }

    #[test]
    fn names_that_rust_does_not_take_are_refused() {
        let named = |kernel: &Kernel, names: [&str; 2]| {
            let parameters = names.map(|name| Parameter { name: name.into(), ty: Type::Read(Number::F32.into()) });
            Kernel { parameters: parameters.to_vec(), ..kernel.clone() }
        };
        let plain = kernel("k", &[], &[]);
        let cases = [
            (kernel("_1x", &[], &[]), "a struct `1x`, which cannot be a name"),
            (kernel("_self", &[], &[]), "a struct `Self`, which cannot be a name"),
            (kernel("__", &[], &[]), "a struct ``, which cannot be a name"),
            (named(&plain, ["None", "b"]), "its parameter `None` cannot be a name in Rust"),
            (named(&plain, ["a", "__onto"]), "its parameter `__onto` begins as"),
            (named(&plain, ["x", "X"]), "`x` and `X` are too much alike"),
        ];
        for (kernel, message) in cases {
            let modules = vec![module(vec![kernel])];
            let manifest = Manifest { format: 0, flags: Vec::new(), headers: Default::default(), modules };
            let shown = check_names(&manifest, "kernels").unwrap_err().to_string();
            assert!(shown.contains(message) && shown.contains("kernels/m.cu:1"), "{shown}");
        }
        assert_eq!(["x_y", "self_", "_1", "onto_target"].map(generic_name), ["XY", "PSelf", "P1", "POntoTarget"]);
    }

    #[test]
    fn every_launcher_has_a_name_of_its_own() {
        let apart = module(vec![kernel("a_b", &[], &[]), kernel("ab", &[], &[])]);
        let manifest = Manifest { format: 0, flags: Vec::new(), headers: Default::default(), modules: vec![apart] };
        assert_eq!(check_names(&manifest, "kernels"), Ok(()));
        let clash = module(vec![kernel("a_b", &[], &[]), kernel("aB", &[], &[])]);
        let manifest = Manifest { modules: vec![clash], ..manifest };
        let shown = check_names(&manifest, "kernels").unwrap_err().to_string();
        assert!(shown.contains("launched by a struct `AB`: `a_b()` and `aB()`"), "{shown}");
    }
}
