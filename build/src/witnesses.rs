//! Hears the three witnesses of every kernel of a file, and makes kernels of what they say, if they agree.

use std::collections::BTreeMap;

use crate::contract::{Contract, RuleError, Scope, split_comment};
use crate::diagnostic::Diagnostic;
use crate::expression::words;
use crate::headers::Shared;
use crate::manifest::{Kernel, Parameter};
use crate::ptx::Entry;
use crate::signature::{self, Resolved, Signature};
use crate::source::{Source, SourceKernel};
use crate::target::Target;
use crate::types::{Element, Number, Type};

/// What is known of a file before its kernels are.
pub(crate) struct Context<'a> {
    /// The source, as its user knows it: `kernels/k.cu`.
    pub(crate) file: &'a str,
    pub(crate) source: &'a Source,
    pub(crate) shared: &'a Shared,
    /// The whole numbers of the shared headers.
    pub(crate) constants: &'a BTreeMap<String, i64>,
    pub(crate) targets: &'a [Target],
    /// What the compiler says of instances of templates.
    pub(crate) instances: &'a BTreeMap<String, Resolved>,
}

/// What the kernels of a file state with `@targets`, which has to be the same for all of them.
pub(crate) fn targets(file: &str, source: &Source) -> Result<Vec<Target>, Vec<Diagnostic>> {
    let mut stated: Option<(Vec<Target>, &str)> = None;
    let mut errors = Vec::new();
    for kernel in source.kernels.iter() {
        // A template of a header that has no instance here counts for nothing.
        if kernel.file != file && !source.instances.iter().any(|instance| instance.template() == kernel.name) {
            continue;
        }
        let (_, rules) = split_comment(&kernel.comment);
        for (_, text, offset) in rules.iter().filter(|(rule, ..)| rule == "targets") {
            let here = |message: String| {
                Diagnostic::new(format!("kernel `{}`: {message}", kernel.name))
                    .at(&*kernel.file, kernel.comment_line + *offset as u32)
            };
            match (crate::contract::targets(text), &stated) {
                (Err(error), _) => errors.push(here(error.to_string())),
                (Ok(targets), Some((others, other))) if targets != *others => errors.push(
                    here(format!("`@targets` is for the whole file, and the kernel `{other}` states others"))
                        .note("state the same for both, or move one of them to a file of its own"),
                ),
                (Ok(targets), _) => stated = Some((targets, &kernel.name)),
            }
        }
    }
    if !errors.is_empty() {
        return Err(errors);
    }
    Ok(stated.map_or_else(|| vec![Target::DEFAULT], |(targets, _)| targets))
}

impl Context<'_> {
    /// The kernels of a file, each with its contract.
    pub(crate) fn kernels(&self, entries: &[Entry]) -> Result<Vec<(Kernel, Contract)>, Vec<Diagnostic>> {
        let (mut kernels, mut errors) = (Vec::new(), Vec::new());
        let mut heard = vec![false; self.source.kernels.len()];
        for entry in entries {
            let found = self.signature(entry).and_then(|signature| Ok((self.find(&signature, entry)?, signature)));
            let (index, signature) = match found {
                Ok(found) => found,
                Err(error) => {
                    // Several kernels may be wrong in one way.
                    if !errors.contains(&error) {
                        errors.push(error);
                    }
                    continue;
                }
            };
            heard[index] = true;
            match self.agree(entry, &signature, &self.source.kernels[index]) {
                Ok(kernel) => kernels.push(kernel),
                // Instances of a template may be wrong in one way too.
                Err(of_kernel) => of_kernel.into_iter().for_each(|error| {
                    if !errors.contains(&error) {
                        errors.push(error);
                    }
                }),
            }
        }
        // What is in the source and not in the PTX cannot be launched.
        if errors.is_empty() {
            let silent = self.source.kernels.iter().zip(heard).filter(|(kernel, heard)| {
                !heard && (kernel.certain || kernel.template.is_some() && kernel.file == self.file)
            });
            errors.extend(silent.map(|(kernel, _)| {
                let error = Diagnostic::new(format!("the kernel `{}` is not in the PTX", kernel.name));
                let error = error.at(&*kernel.file, kernel.line);
                match kernel.template.is_some() {
                    true => error.note(format!(
                        "a template gives no code until it is instantiated: `template __global__ void {}<…>(…);`",
                        kernel.name
                    )),
                    false => error.note("is it left out by a condition of the preprocessor?"),
                }
            }));
        }
        // As they stand in the source, then those of headers; instances of a template as they stand in the PTX.
        kernels.sort_by_key(|(kernel, _)| (kernel.file.is_some(), kernel.line));
        if errors.is_empty() { Ok(kernels) } else { Err(errors) }
    }

    /// What the mangled name says.
    fn signature(&self, entry: &Entry) -> Result<Signature, Diagnostic> {
        signature::read(&entry.symbol, self.instances).map_err(|error| {
            let named = self.source.kernels.iter().find(|kernel| entry.symbol.contains(&kernel.name));
            let line = named.map_or(1, |kernel| kernel.line);
            let shown = signature::demangle(&entry.symbol).unwrap_or_else(|| entry.symbol.clone());
            Diagnostic::new(error.to_string()).at(self.file, line).note(format!("kernel {shown}"))
        })
    }

    /// The kernel of the source that a signature is of.
    fn find(&self, signature: &Signature, entry: &Entry) -> Result<usize, Diagnostic> {
        let kernels = || self.source.kernels.iter().enumerate();
        let template = !signature.arguments.is_empty();
        let named =
            kernels().filter(|(_, kernel)| kernel.name == signature.name && kernel.template.is_some() == template);
        let named: Vec<(usize, &SourceKernel)> = named.collect();
        let fitting = named.iter().filter(|(_, kernel)| kernel.parameters.len() == entry.parameters.len());
        let fitting: Vec<usize> = fitting.map(|(index, _)| *index).collect();
        match (&named[..], &fitting[..]) {
            (_, [index]) => Ok(*index),
            ([(index, _)], _) => Ok(*index),
            ([], _) => Err(Diagnostic::new(format!(
                "kernel `{}`: the source has no `__global__` function of that name",
                signature.name
            ))
            .at(self.file, 1)
            .note(format!("it is in the PTX as {}", entry.symbol))
            .note("is it made by a macro of a system header, or one that is defined several times?")),
            ([(_, first), ..], _) => Err(Diagnostic::new(format!(
                "kernel `{}`: the source has several `__global__` functions of that name",
                signature.name
            ))
            .at(&*first.file, first.line)
            .note("give each a name of its own: a launcher is named after its kernel")),
        }
    }

    /// Makes one kernel of what its witnesses say, if they agree.
    fn agree(
        &self,
        entry: &Entry,
        signature: &Signature,
        source: &SourceKernel,
    ) -> Result<(Kernel, Contract), Vec<Diagnostic>> {
        let name = &signature.name;
        let here =
            |message: String| Diagnostic::new(format!("kernel `{name}`: {message}")).at(&*source.file, source.line);
        let mangled = signature.parameters.as_ref().map_or(entry.parameters.len(), Vec::len);
        let counts = [mangled, entry.parameters.len(), source.parameters.len()];
        if counts.iter().any(|count| *count != counts[0]) {
            let [mangled, ptx, written] = counts;
            return Err(vec![
                here(format!(
                    "its witnesses disagree: the symbol has {mangled} parameters, the PTX {ptx}, the source {written}"
                ))
                .note(format!("symbol {}", entry.symbol)),
            ]);
        }
        let mut errors = Vec::new();
        let mut parameters: Vec<Parameter> = Vec::new();
        for (n, (layout, written)) in entry.parameters.iter().zip(&source.parameters).enumerate() {
            let Some(parameter) = &written.name else {
                errors.push(here(format!("a parameter `{}` has no name, and a launcher needs one", written.ty)));
                continue;
            };
            let said = signature.parameters.as_ref().map(|types| types[n].as_str());
            let ty = match said {
                Some(cpp) => self.parameter(cpp).ok_or(cpp),
                None => self.plain_type(&written.ty).ok_or(&*written.ty),
            };
            let ty = match ty {
                Ok(ty) => ty,
                Err(cpp) => {
                    errors.push(self.no_counterpart(here, parameter, cpp, said.is_none()));
                    continue;
                }
            };
            if ty.layout() != *layout {
                let (size, align) = ty.layout();
                let (found, aligned) = *layout;
                errors.push(here(format!(
                    "its witnesses disagree on `{parameter}`: the symbol says `{}`, {size} bytes aligned to {align}; the \
                     PTX says {found} bytes aligned to {aligned}",
                    ty.cpp()
                )));
            }
            if let Some(other) = self.plain_type(&written.ty).filter(|other| *other != ty) {
                errors.push(here(format!(
                    "its witnesses disagree on `{parameter}`: the symbol says `{}`, the source `{}`",
                    ty.cpp(),
                    other.cpp()
                )));
            }
            parameters.push(Parameter { name: parameter.clone(), ty });
        }
        if !errors.is_empty() {
            return Err(errors);
        }
        let (documentation, rules) = split_comment(&source.comment);
        let mut kernel = Kernel {
            name: name.clone(),
            arguments: signature.arguments.clone(),
            symbol: entry.symbol.clone(),
            file: inside(&source.file, self.file),
            line: source.line,
            documentation,
            parameters,
            rules: rules.iter().map(|(rule, text, _)| (rule.clone(), text.clone())).collect(),
            constants: BTreeMap::new(),
            cluster: entry.cluster,
        };
        let line_of = |number: Option<usize>| match number.and_then(|number| rules.get(number)) {
            Some((.., offset)) => source.comment_line + *offset as u32,
            None => source.line,
        };
        for constant in source.constants() {
            match self.constant(&constant, signature, source) {
                Ok(value) => drop(kernel.constants.insert(constant, value)),
                Err((problem, remedy)) => {
                    let naming = rules.iter().enumerate().filter(|(_, (_, text, _))| words(text).contains(&&*constant));
                    errors.extend(naming.map(|(number, (rule, ..))| {
                        let kernel = kernel.full_name();
                        Diagnostic::new(format!("kernel `{kernel}`: `@{rule}` names `{constant}`, {problem}"))
                            .at(&*source.file, line_of(Some(number)))
                            .note(remedy.as_str())
                    }));
                }
            }
        }
        if !errors.is_empty() {
            return Err(errors);
        }
        let texts = rules.iter().map(|(rule, text, _)| (rule.as_str(), text.as_str()));
        let scope = kernel.scope();
        let template = (!kernel.arguments.is_empty()).then_some(&kernel.constants);
        let contract = Contract::read(texts, Scope { parameters: &scope, constants: self.constants, template });
        let contract = contract.map_err(|errors| {
            let diagnostic = |(number, error): (Option<usize>, RuleError)| {
                Diagnostic::new(format!("kernel `{name}`: {error}")).at(&*source.file, line_of(number))
            };
            errors.into_iter().map(diagnostic).collect::<Vec<_>>()
        })?;
        let problems = self.against_the_code(&contract, entry);
        if problems.is_empty() { Ok((kernel, contract)) } else { Err(problems.into_iter().map(here).collect()) }
    }

    /// The value of a constant that the rules of a template name, or what is wrong with it and what to do.
    fn constant(&self, name: &str, signature: &Signature, source: &SourceKernel) -> Result<i64, (String, String)> {
        let asked = self.source.constants(&source.name);
        let number = asked.iter().position(|other| other == name);
        match number.and_then(|number| signature.constants.as_ref()?.get(number)) {
            Some(Some(value)) if *value >= 0 => Ok(*value),
            Some(Some(value)) => Err((
                format!("which is {value} in this instance"),
                "rules take constants of a template from 0 on".to_owned(),
            )),
            Some(None) => Err((
                "which is no integer constant in this instance".to_owned(),
                "a struct has one as `static constexpr uint32_t NAME = 4;`, less than 2^63".to_owned(),
            )),
            None => Err((
                "whose value the compiler tells for explicit instances alone".to_owned(),
                format!(
                    "write `template __global__ void {0}<…>(…);`, and give the name `{0}` to one template only",
                    source.name
                ),
            )),
        }
    }

    /// What of a contract the code does not allow.
    fn against_the_code(&self, contract: &Contract, entry: &Entry) -> Vec<String> {
        let mut problems = Vec::new();
        if contract.safe && !entry.variables.is_empty() {
            let names = entry.variables.join("`, `");
            problems.push(format!(
                "`@safe` signs that it touches only what it is given, and it names the device variable `{names}`: give it \
                 as a parameter, or leave `@safe` out"
            ));
        }
        let block = contract.block.as_ref().and_then(|block| block.constant());
        let fits = |block: [i64; 3], max: u64| {
            let threads = block.iter().try_fold(1i64, |product, size| product.checked_mul(*size));
            block.iter().all(|size| *size > 0) && threads.is_some_and(|threads| threads as u64 <= max)
        };
        if let (Some(block), Some(max)) = (block, entry.max_threads)
            && !fits(block, max)
        {
            problems.push(format!("`@block` is {block:?}, and `__launch_bounds__` allows {max} threads"));
        } else if let Some(block) = block.filter(|block| !fits(*block, 1024)) {
            problems.push(format!("`@block` is {block:?}, and a block has between 1 and 1024 threads"));
        }
        if let (Some(stated), Some(written)) = (contract.cluster, entry.cluster)
            && stated != written
        {
            problems.push(format!("`@cluster` is {stated:?}, and `__cluster_dims__` says {written:?}"));
        }
        let old = self.targets.iter().find(|target| target.capability < 90);
        if let (Some(_), Some(target)) = (contract.cluster, old) {
            problems.push(format!(
                "`@cluster` needs compute capability 9.0, and the file is compiled for {target} too: state `@targets 90`"
            ));
        }
        if contract.programmatic.is_some() && self.targets.iter().all(|target| target.capability < 90) {
            problems.push("`@pdl` needs compute capability 9.0: state `@targets` with one of 90 or more".to_owned());
        }
        problems
    }

    fn no_counterpart(
        &self,
        here: impl Fn(String) -> Diagnostic,
        parameter: &str,
        cpp: &str,
        extern_c: bool,
    ) -> Diagnostic {
        let name = cpp.trim_end_matches(['*', ' ']).trim_end_matches(" const").trim_start_matches("const ");
        let name = name.rsplit("::").next().unwrap_or(name);
        if let Some(reason) = self.shared.refused.get(name) {
            return here(format!("parameter `{parameter}` has the type `{cpp}`, which Rust cannot have: {reason}"));
        }
        let error = here(format!("parameter `{parameter}` has the type `{cpp}`, which has no counterpart in Rust"));
        if extern_c {
            return error.note(
                "the kernel is `extern \"C\"`, so that its name does not say its types, and the source has to spell them \
                 out: write a plain type, or leave `extern \"C\"` out",
            );
        }
        error
            .note("supported are numbers of 8 to 64 bits, bool, __half, __nv_bfloat16, vectors such as float4, and pointers to these")
            .note("a struct is defined in a header `include/*.h`, which Rust reads too")
    }

    /// A type as the demangler writes it: `float const*`, `unsigned int`.
    fn parameter(&self, text: &str) -> Option<Type> {
        let element = |text: &str| self.shared.element_of(text);
        let pointee = |text: &str| element(text).filter(Element::is_plain);
        match text.strip_suffix('*') {
            None => element(text).map(Type::Scalar),
            Some(target) => match target.strip_suffix(" const") {
                Some(target) => pointee(target).map(Type::Read),
                None => pointee(target).map(Type::Write),
            },
        }
    }

    /// The type that a source spells out, if it is one of the usual spellings and not a typedef or a macro.
    fn plain_type(&self, text: &str) -> Option<Type> {
        let text = text.replace("__restrict__", " ").replace("__grid_constant__", " ");
        let (pointee, pointer) = match text.trim_end().trim_end_matches("const").trim_end().strip_suffix('*') {
            Some(pointee) => (pointee, true),
            None => (text.as_str(), false),
        };
        let words: Vec<&str> = pointee.split_whitespace().collect();
        let constant = words.contains(&"const");
        let words: Vec<&str> = words.into_iter().filter(|word| *word != "const").collect();
        let cpp = match &words[..] {
            ["int8_t"] => "signed char",
            ["uint8_t"] => "unsigned char",
            ["int16_t"] => "short",
            ["uint16_t"] => "unsigned short",
            ["int32_t"] => "int",
            ["uint32_t" | "unsigned"] => "unsigned int",
            ["int64_t"] => "long",
            ["uint64_t" | "size_t"] => "unsigned long",
            ["half"] => "__half",
            ["half2"] => "__half2",
            [one] => one,
            ["unsigned", rest @ ..] => &format!("unsigned {}", rest.join(" ")),
            ["long", "long"] => "long",
            _ => return None,
        };
        // (A name with a namespace is none of these.)
        let known = Number::from_cpp(cpp).map(Element::Number);
        let element =
            known.or_else(|| self.parameter(cpp).filter(|ty| ty.pointee().is_none()).map(|ty| ty.element().clone()))?;
        Some(match (pointer, constant) {
            (false, _) => Type::Scalar(element),
            (true, _) if !element.is_plain() => return None,
            (true, true) => Type::Read(element),
            (true, false) => Type::Write(element),
        })
    }
}

/// A header relative to the folder of kernels, if it is not the source itself.
fn inside(file: &str, source: &str) -> Option<String> {
    (file != source).then(|| file.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diagnostic::Diagnostics;

    const SOURCE: &str = "/// Scales.\n/// @grid n\n/// @block 32\n/// @len x == n\n/// @safe\n__global__ void scale(float* x, uint32_t n) {}\n";

    fn entry(symbol: &str, parameters: &[u64]) -> Entry {
        let parameters = parameters.iter().map(|size| (*size, *size)).collect();
        Entry { symbol: symbol.to_owned(), parameters, ..Entry::default() }
    }

    fn witnesses(source: &str, entries: &[Entry]) -> Result<Vec<(Kernel, Contract)>, Vec<Diagnostic>> {
        let file = "kernels/k.cu";
        let source = Source::of(source, file);
        let targets = targets(file, &source)?;
        let instances = signature::additions(entries.iter().map(|entry| entry.symbol.as_str()));
        let entries = entries.iter().filter(|entry| !entry.symbol.contains(signature::ADDED)).cloned();
        let entries: Vec<Entry> = entries.collect();
        let (shared, constants) = (Shared::default(), BTreeMap::new());
        let context = Context {
            file,
            source: &source,
            shared: &shared,
            constants: &constants,
            targets: &targets,
            instances: &instances,
        };
        context.kernels(&entries)
    }

    fn messages(source: &str, entries: &[Entry]) -> String {
        Diagnostics(witnesses(source, entries).unwrap_err()).to_string()
    }

    #[test]
    fn witnesses_that_agree_make_a_kernel() {
        let kernels = witnesses(SOURCE, &[entry("_Z5scalePfj", &[8, 4])]).unwrap();
        let (kernel, contract) = &kernels[0];
        assert_eq!((kernel.name.as_str(), kernel.line, kernel.documentation.as_str()), ("scale", 6, "Scales."));
        assert_eq!(kernel.parameters[0], Parameter { name: "x".into(), ty: Type::Write(Number::F32.into()) });
        assert_eq!(contract.block.as_ref().unwrap().constant(), Some([32, 1, 1]));
    }

    #[test]
    fn witnesses_that_disagree_are_errors() {
        let cases = [
            (entry("_Z5scalePfj", &[8]), "the symbol has 2 parameters, the PTX 1, the source 2"),
            (
                entry("_Z5scalePfm", &[8, 8]),
                "disagree on `n`: the symbol says `unsigned long`, the source `unsigned int`",
            ),
            (entry("_Z5scalePKfj", &[8, 4]), "disagree on `x`: the symbol says `const float*`, the source `float*`"),
            (
                entry("_Z5scalePfj", &[8, 8]),
                "the symbol says `unsigned int`, 4 bytes aligned to 4; the PTX says 8 bytes",
            ),
            (entry("_Z5scaleP6Paramsj", &[8, 4]), "`x` has the type `Params*`, which has no counterpart in Rust"),
            (entry("_Z5otherPfj", &[8, 4]), "the source has no `__global__` function of that name"),
        ];
        for (entry, message) in cases {
            let shown = messages(SOURCE, &[entry]);
            assert!(shown.contains(message), "{shown}");
            assert!(shown.contains("--> kernels/k.cu:"), "{shown}");
        }
        assert!(messages(SOURCE, &[]).contains("the kernel `scale` is not in the PTX"));
    }

    #[test]
    fn rule_errors_name_their_line() {
        let source = SOURCE.replace("@len x == n", "@len z == n").replace("@grid n", "@grid m");
        let shown = messages(&source, &[entry("_Z5scalePfj", &[8, 4])]);
        assert!(shown.contains("error: kernel `scale`: `@len` names `z`") && shown.contains("k.cu:4"), "{shown}");
        assert!(shown.contains("`@grid` names `m`") && shown.contains("k.cu:2"), "{shown}");
        let bounded = Entry { max_threads: Some(16), ..entry("_Z5scalePfj", &[8, 4]) };
        assert!(messages(SOURCE, &[bounded]).contains("`__launch_bounds__` allows 16 threads"));
        let variables = Entry { variables: vec!["count".into()], ..entry("_Z5scalePfj", &[8, 4]) };
        assert!(messages(SOURCE, &[variables]).contains("it names the device variable `count`"));
        for block in ["0", "2048", "32, 64"] {
            let source = SOURCE.replace("@block 32", &format!("@block {block}"));
            assert!(messages(&source, &[entry("_Z5scalePfj", &[8, 4])]).contains("between 1 and 1024 threads"));
        }
    }

    #[test]
    fn without_a_mangled_name_the_source_says_the_types() {
        let source = SOURCE.replace("__global__", "extern \"C\" __global__");
        let kernels = witnesses(&source, &[entry("scale", &[8, 4])]).unwrap();
        assert_eq!(kernels[0].0.signature(), "scale(float* x, unsigned int n)");
        let shown = messages(&source.replace("float*", "real*"), &[entry("scale", &[8, 4])]);
        assert!(shown.contains("the type `real*`, which has no counterpart") && shown.contains("extern"), "{shown}");
    }

    #[test]
    fn instances_of_a_template() {
        let source = SOURCE.replace("__global__", "template <class T> __global__").replace("float*", "T*");
        let kernels =
            witnesses(&source, &[entry("_Z5scaleIfEvPT_j", &[8, 4]), entry("_Z5scaleIiEvPT_j", &[8, 4])]).unwrap();
        assert_eq!(kernels[1].0.signature(), "scale<int>(int* x, unsigned int n)");
        assert!(messages(&source, &[]).contains("until it is instantiated"));
    }

    #[test]
    fn constants_of_a_template() {
        let source = SOURCE
            .replace("__global__", "template <class W, uint32_t N> __global__")
            .replace("@grid n", "@grid div_ceil(n, N), W::ROWS")
            .replace("@len x == n", "@len x == n * W::WORDS");
        let source = source + "template __global__ void scale<Q, 8>(float*, uint32_t);\n";
        // The constants in the order in which rules name them: N, W::ROWS, W::WORDS.
        let added = |constants: &str| {
            let symbol = format!(
                "_Z22warpwright_signature_0P19warpwright_instanceIXadL_Z5scaleI1QLj8EEvPfjEEEP15warpwright_listIJS2_jEE\
                 PS5_IJ{constants}EE"
            );
            entry(&symbol, &[8, 8, 8])
        };
        let instance = || entry("_Z5scaleI1QLj8EEvPfj", &[8, 4]);
        let resolved = added("19warpwright_constantILx8EES8_ILx2EES8_ILx4EE");
        let kernels = witnesses(&source, &[instance(), resolved]).unwrap();
        let (kernel, contract) = &kernels[0];
        let constants: Vec<_> = kernel.constants.iter().map(|(name, value)| (name.as_str(), *value)).collect();
        assert_eq!(constants, [("N", 8), ("W::ROWS", 2), ("W::WORDS", 4)]);
        assert_eq!(contract.lengths[0].elements.to_string(), "(n * 4)");
        assert_eq!(kernel.contract(&Default::default()).as_ref(), Ok(contract));

        let wrong = added("19warpwright_constantILx8EES8_ILxn2EE18warpwright_nothing");
        let shown = messages(&source, &[instance(), wrong]);
        assert!(shown.contains("`scale<Q, 8>`: `@grid` names `W::ROWS`, which is -2 in this"), "{shown}");
        assert!(shown.contains("`@len` names `W::WORDS`, which is no integer constant in"), "{shown}");
        assert!(shown.contains("k.cu:2") && shown.contains("k.cu:4"), "{shown}");
        let shown = messages(&source, &[instance()]);
        assert!(shown.contains("`@grid` names `N`, whose value the compiler tells for explicit"), "{shown}");
    }

    #[test]
    fn rules_that_the_code_does_not_allow() {
        let source = SOURCE.replace("@safe", "@cluster 2\n/// @pdl x");
        let shown = messages(&source, &[entry("_Z5scalePfj", &[8, 4])]);
        assert!(shown.contains("`@cluster` needs compute") && shown.contains("`@pdl` needs compute"), "{shown}");
        let source = source.replace("@cluster 2", "@cluster 2\n/// @targets 90");
        let other = Entry { cluster: Some([4, 1, 1]), ..entry("_Z5scalePfj", &[8, 4]) };
        assert!(messages(&source, &[other]).contains("`__cluster_dims__` says [4, 1, 1]"));
        let two = source.clone() + &source.replace("scale", "other").replace("@targets 90", "@targets 90a");
        assert!(messages(&two, &[]).contains("the kernel `scale` states others"));
    }

    #[test]
    fn types_that_only_look_like_known_ones() {
        let own = SOURCE.replace("float*", "mine::float4*");
        let shown = messages(&own, &[entry("_Z5scalePN4mine6float4Ej", &[8, 4])]);
        assert!(shown.contains("`x` has the type `mine::float4*`, which has no counterpart"), "{shown}");
        // an array is a pointer, so it needs a length
        let array = SOURCE.replace("float* x", "double x[4]").replace("@len x == n", "");
        let array = array.replace("__global__", "extern \"C\" __global__");
        let shown = messages(&array, &[entry("scale", &[8, 4])]);
        assert!(shown.contains("lacks `@len x`"), "{shown}");
    }

    #[test]
    fn usual_spellings_are_known() {
        let (source, shared, empty) = (Source::default(), Shared::default(), BTreeMap::new());
        let context = Context {
            file: "",
            source: &source,
            shared: &shared,
            constants: &empty,
            targets: &[],
            instances: &BTreeMap::new(),
        };
        let shown = |text: &str| context.plain_type(text).map(|ty| ty.cpp());
        assert_eq!(shown("const float* __restrict__").as_deref(), Some("const float*"));
        assert_eq!(shown("float const *").as_deref(), Some("const float*"));
        assert_eq!(shown("unsigned char").as_deref(), Some("unsigned char"));
        assert_eq!(shown("const uint32_t").as_deref(), Some("unsigned int"));
        assert_eq!(shown("__half* const").as_deref(), Some("__half*"));
        assert_eq!(shown("bool").as_deref(), Some("bool"));
        assert_eq!(shown("bool*"), None);
        assert_eq!(shown("index_t"), None);
        assert_eq!(shown("std::array<int,3>"), None);
    }
}
