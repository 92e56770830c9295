//! Launchers: the struct of a kernel, or of the instances of a template, and its `launch`.

use proc_macro2::{Ident, Span, TokenStream};
use quote::{format_ident, quote};
use warpwright_build::contract::Contract;
use warpwright_build::manifest::{Headers, Kernel, Parameter};
use warpwright_build::names::Launcher;
use warpwright_build::types::{Element, Number, Type};

use crate::Error;
use crate::contract::checks;
use crate::names::{element, generic, identifier, number, prose};

/// Makes the struct of a launcher, and how it is launched. The kernels of its module are numbered from `first`.
pub(crate) fn launcher(of: &Launcher<'_>, first: usize, headers: &Headers) -> Result<TokenStream, Error> {
    let mut contract = None;
    let mut missing = Vec::new();
    for (_, kernel) in &of.kernels {
        let read = kernel.contract(headers).map_err(|errors| {
            let errors = errors.into_iter().map(|(_, error)| error.to_string()).collect::<Vec<_>>().join("; ");
            Error::new(format!("the manifest's contract of `{}` is wrong: {errors}", kernel.full_name()))
        })?;
        missing.extend(read.missing(&kernel.scope()));
        // All instances of a template have the rules of the template.
        contract.get_or_insert(read);
    }
    let (Some(contract), Some((_, kernel))) = (contract, of.kernels.first()) else {
        return Err(Error::new(format!("the manifest has no kernel for `{}`", of.name)));
    };
    missing.dedup();
    let expansion = Expansion { of, kernel, first, contract: &contract, missing };
    let (structure, markers, implementation) = (expansion.structure(), expansion.markers(), expansion.implementation());
    Ok(quote! {
        #structure
        #markers
        #implementation
    })
}

struct Expansion<'a> {
    of: &'a Launcher<'a>,
    /// The kernel, or the first instance, which differs from the others only in the types that are generic.
    kernel: &'a Kernel,
    first: usize,
    contract: &'a Contract,
    /// What the contract lacks.
    missing: Vec<String>,
}

impl Expansion<'_> {
    fn name(&self) -> Ident {
        Ident::new(&self.of.name, Span::call_site())
    }

    /// The module that holds a type for each pointer parameter, which errors name.
    fn markers_name(&self) -> Ident {
        // Each instance of a template that has a launcher of its own has types of its own.
        let is_one_of_several = !self.kernel.arguments.is_empty() && self.of.generic.is_empty();
        let name = if is_one_of_several { &self.of.name } else { &self.kernel.name };
        format_ident!("{name}_parameters")
    }

    fn parameters(&self) -> impl Iterator<Item = (usize, &Parameter)> {
        self.kernel.parameters.iter().enumerate()
    }

    fn pointers(&self) -> impl Iterator<Item = (usize, &Parameter, &Element)> {
        self.parameters().filter_map(|(n, parameter)| Some((n, parameter, parameter.ty.pointee()?)))
    }

    fn is_optional(&self, parameter: &Parameter) -> bool {
        self.contract.optional.contains(&parameter.name)
    }

    /// The generic type for an argument of the template: a letter that is not taken by a field.
    fn argument(&self, number: usize) -> Ident {
        let fields: Vec<Ident> = self.pointers().map(|(_, parameter, _)| generic(&parameter.name)).collect();
        let letters = ["T", "U", "V", "W"].map(|letter| Ident::new(letter, Span::call_site()));
        match letters.get(number).filter(|letter| !fields.contains(letter)) {
            Some(letter) => letter.clone(),
            None => format_ident!("Argument{number}"),
        }
    }

    /// How many arguments the template has, if the launcher is generic over them.
    fn arguments(&self) -> usize {
        if self.of.generic.is_empty() { 0 } else { self.kernel.arguments.len() }
    }

    /// The element of a parameter, in a module beside that of what is shared.
    fn element_of(&self, n: usize, of: &Element) -> TokenStream {
        match self.of.generic.get(n).copied().flatten() {
            Some(argument) => {
                let argument = self.argument(argument);
                quote! { #argument }
            }
            None => element(of, &quote! { super:: }),
        }
    }

    /// Whether an argument of the template is the type of a field, and not only of what fields point at.
    fn in_a_field(&self, argument: usize) -> bool {
        let scalars = self.parameters().filter(|(_, parameter)| parameter.ty.pointee().is_none());
        scalars.map(|(n, _)| n).any(|n| self.of.generic.get(n).copied().flatten() == Some(argument))
    }

    /// The generic types of the struct.
    fn generics(&self) -> Vec<Ident> {
        let arguments = (0..self.arguments()).filter(|&argument| self.in_a_field(argument));
        let arguments = arguments.map(|argument| self.argument(argument));
        arguments.chain(self.pointers().map(|(_, parameter, _)| generic(&parameter.name))).collect()
    }

    fn structure(&self) -> TokenStream {
        let (name, generics) = (self.name(), self.generics());
        let documentation = self.documentation();
        let fields = self.parameters().map(|(n, parameter)| {
            let field = identifier(&parameter.name);
            let documentation = self.field_documentation(n, parameter);
            let ty = match &parameter.ty {
                Type::Scalar(scalar) => self.element_of(n, scalar),
                Type::Read(_) | Type::Write(_) => {
                    let generic = generic(&parameter.name);
                    match self.is_optional(parameter) {
                        true => quote! { ::core::option::Option<#generic> },
                        false => quote! { #generic },
                    }
                }
            };
            quote! {
                #[doc = #documentation]
                pub #field: #ty
            }
        });
        quote! {
            #[doc = #documentation]
            #[must_use = "a launcher does nothing until it is launched"]
            #[derive(Debug, Clone, Copy)]
            pub struct #name<#(#generics),*> {
                #(#fields),*
            }
        }
    }

    /// The types that errors name, and which instances of a template there are.
    fn markers(&self) -> TokenStream {
        let markers = self.markers_name();
        let names = self.pointers().map(|(_, parameter, _)| identifier(&parameter.name));
        let instances = match self.arguments() {
            0 => TokenStream::new(),
            _ => self.instances(),
        };
        quote! {
            #[doc(hidden)]
            #[allow(non_camel_case_types, non_snake_case, clippy::missing_safety_doc)]
            pub mod #markers {
                #(
                    #[derive(Debug)]
                    pub enum #names {}
                )*
                #instances
            }
        }
    }

    /// A trait of the types that the template has an instance for, which gives the kernel.
    fn instances(&self) -> TokenStream {
        let types = |kernel: &Kernel| -> Vec<TokenStream> {
            let numbers = kernel.arguments.iter().filter_map(|argument| Number::from_cpp(argument));
            numbers.map(number).collect()
        };
        let impls = self.of.kernels.iter().map(|(index, kernel)| {
            let types = types(kernel);
            let ty = match &types[..] {
                [one] => quote! { #one },
                several => quote! { (#(#several),*) },
            };
            let kernel = self.kernel_value(*index, kernel);
            quote! {
                // SAFETY: the kernel is the instance for this type.
                unsafe impl __Instance for #ty {
                    const KERNEL: &'static ::warpwright::launch::Kernel = &#kernel;
                }
            }
        });
        let message = format!("the kernel `{}` has no instance for `{{Self}}`", self.kernel.name);
        let known = self.of.kernels.iter().map(|(_, kernel)| {
            let numbers = kernel.arguments.iter().filter_map(|argument| Number::from_cpp(argument));
            numbers.map(Number::rust).collect::<Vec<_>>().join(", ")
        });
        let note = format!(
            "it has instances for: {}; `template __global__ void {}<…>(…);` in the `.cu` file makes another",
            known.collect::<Vec<_>>().join("; "),
            self.kernel.name
        );
        quote! {
            #[doc = "Types that the template has an instance for.\n\n# Safety\nThe kernel is the instance for this type."]
            #[diagnostic::on_unimplemented(message = #message, label = "not an instance of the kernel", note = #note)]
            pub unsafe trait __Instance {
                const KERNEL: &'static ::warpwright::launch::Kernel;
            }
            #(#impls)*
        }
    }

    /// What the runtime is told of a kernel.
    fn kernel_value(&self, index: usize, kernel: &Kernel) -> TokenStream {
        let (name, index) = (kernel.full_name(), self.first + index);
        let cooperative = self.contract.cooperative;
        let programmatic = match &self.contract.programmatic {
            Some(early) => quote! { ::core::option::Option::Some(&[#(#early),*]) },
            None => quote! { ::core::option::Option::None },
        };
        quote! {
            ::warpwright::launch::Kernel {
                name: #name,
                index: #index,
                cooperative: #cooperative,
                programmatic: #programmatic,
            }
        }
    }

    fn implementation(&self) -> TokenStream {
        let (name, generics, markers) = (self.name(), self.generics(), self.markers_name());
        let bounds = self.pointers().map(|(n, parameter, pointee)| {
            let (generic, marker) = (generic(&parameter.name), identifier(&parameter.name));
            let element = self.element_of(n, pointee);
            let access = match parameter.ty {
                Type::Write(_) => quote! { Write },
                _ => quote! { Read },
            };
            quote! { #generic: ::warpwright::launch::#access<OntoTarget, #element, #markers::#marker> }
        });
        // Arguments of a template that no field has are found through what fields point at.
        let arguments: Vec<Ident> = (0..self.arguments()).map(|argument| self.argument(argument)).collect();
        let elsewhere = (0..self.arguments()).filter(|&argument| !self.in_a_field(argument));
        let elsewhere = elsewhere.map(|argument| self.argument(argument));
        let (instance_bound, kernel) = match &arguments[..] {
            [] => {
                let (index, kernel) = self.of.kernels[0];
                let value = self.kernel_value(index, kernel);
                (
                    TokenStream::new(),
                    quote! {{
                        static KERNEL: ::warpwright::launch::Kernel = #value;
                        &KERNEL
                    }},
                )
            }
            [one] => (quote! { #one: #markers::__Instance, }, quote! { <#one as #markers::__Instance>::KERNEL }),
            several => (
                quote! { (#(#several),*): #markers::__Instance, },
                quote! { <(#(#several),*) as #markers::__Instance>::KERNEL },
            ),
        };
        let fields: Vec<Ident> = self.parameters().map(|(_, parameter)| identifier(&parameter.name)).collect();
        let regions = self.pointers().map(|(_, parameter, _)| self.region(parameter));
        let arguments_of = self.parameters().map(|(_, parameter)| {
            let field = identifier(&parameter.name);
            match parameter.ty {
                Type::Scalar(_) => quote! { (&raw const #field).cast_mut().cast() },
                _ => quote! { #field.argument() },
            }
        });
        let region_names: Vec<Ident> = self.pointers().map(|(_, parameter, _)| identifier(&parameter.name)).collect();
        let mutable = self.pointers().filter(|(_, parameter, _)| matches!(parameter.ty, Type::Write(_)));
        let mutable = mutable.map(|(_, parameter, _)| {
            let field = identifier(&parameter.name);
            quote! { let mut #field = #field; }
        });
        // A field that is an argument of the template is a number only where a rule computes with it.
        let computed = self.contract.names();
        let generic_fields: Vec<(&str, Ident)> = self
            .parameters()
            .filter(|(_, parameter)| parameter.ty.pointee().is_none())
            .filter_map(|(n, parameter)| {
                let argument = self.of.generic.get(n).copied().flatten()?;
                Some((parameter.name.as_str(), self.argument(argument)))
            })
            .collect();
        let is_generic = |name: &str| generic_fields.iter().any(|(field, _)| *field == name);
        let checks = checks(self.kernel, self.contract, |name| computed.contains(&name) || !is_generic(name));
        let mut numbers: Vec<&Ident> =
            generic_fields.iter().filter(|(field, _)| computed.contains(field)).map(|(_, argument)| argument).collect();
        numbers.dedup();
        let unsafety = if self.is_safe() {
            TokenStream::new()
        } else {
            quote! { unsafe }
        };
        let documentation = self.launch_documentation();
        let (geometry, given_geometry) = match self.contract.has_geometry() {
            true => (TokenStream::new(), TokenStream::new()),
            false => (quote! { , geometry: ::warpwright::launch::Geometry }, quote! { let __geometry = geometry; }),
        };
        quote! {
            impl<#(#generics),*> #name<#(#generics),*> {
                #[doc = #documentation]
                pub #unsafety fn launch<OntoTarget #(, #elsewhere)*>(
                    self,
                    onto: &OntoTarget
                    #geometry
                ) -> ::core::result::Result<
                    <OntoTarget as ::warpwright::launch::Target>::Launched,
                    ::warpwright::launch::LaunchError,
                >
                where
                    OntoTarget: ::warpwright::launch::Target<Set = super::Set>,
                    #instance_bound
                    #(#numbers: ::core::marker::Copy + ::core::convert::TryInto<::core::primitive::i64>,)*
                    #(#bounds,)*
                {
                    let __kernel: &'static ::warpwright::launch::Kernel = #kernel;
                    #[allow(unused_imports)]
                    use ::warpwright::launch::{Read as _, Write as _};
                    let __onto = onto;
                    #given_geometry
                    let Self { #(#fields),* } = self;
                    #(#mutable)*
                    #(#regions)*
                    #checks
                    let __regions = [#(&#region_names),*];
                    let mut __arguments = [#(#arguments_of),*];
                    // SAFETY: the arguments are those of the kernel, in its order and of its types. That it touches
                    // nothing but what they name is its author's word, or the caller's if this function is unsafe.
                    unsafe {
                        ::warpwright::launch::Target::submit(__onto, __kernel, __geometry, &__regions, &mut __arguments)
                    }
                }
            }
        }
    }

    /// Turns the field of a pointer into a region.
    fn region(&self, parameter: &Parameter) -> TokenStream {
        let (field, text) = (identifier(&parameter.name), &parameter.name);
        let (reference, method) = match parameter.ty {
            Type::Write(_) => (quote! { &mut }, quote! { written }),
            _ => (quote! { & }, quote! { read }),
        };
        match self.is_optional(parameter) {
            true => quote! {
                let #field = match #reference #field {
                    ::core::option::Option::Some(__given) => __given.#method(#text, __onto),
                    ::core::option::Option::None => ::warpwright::launch::Region::absent(#text),
                };
            },
            false => quote! { let #field = #field.#method(#text, __onto); },
        }
    }

    fn is_safe(&self) -> bool {
        self.contract.safe && self.missing.is_empty()
    }

    fn documentation(&self) -> String {
        let kernel = self.kernel;
        let mut text = match kernel.documentation.as_str() {
            "" => format!("The kernel `{}`.", kernel.name),
            text => prose(text),
        };
        let signatures: Vec<String> = self.of.kernels.iter().map(|(_, kernel)| kernel.signature()).collect();
        text.push_str(&format!("\n\n```cuda\n{}\n```", signatures.join("\n")));
        if !kernel.rules.is_empty() {
            text.push_str("\n\n# Contract\n");
            for (rule, rest) in &kernel.rules {
                let rest = if rest.is_empty() { String::new() } else { format!(" `{rest}`") };
                text.push_str(&format!("\n- `@{rule}`{rest}"));
            }
            for (number, (name, value)) in kernel.constants.iter().enumerate() {
                let before = if number == 0 { "\n\nHere " } else { ", " };
                text.push_str(&format!("{before}`{name}` is {value}"));
            }
            if !kernel.constants.is_empty() {
                text.push('.');
            }
            if self.is_safe() {
                text.push_str("\n\nIts author has signed it, so launching it is a safe function.");
            }
        }
        text
    }

    fn launch_documentation(&self) -> String {
        let mut text = "Checks the contract, and launches the kernel onto a queue or into a graph.".to_owned();
        if !self.is_safe() {
            text.push_str(
                "\n\n# Safety\nThe kernel touches nothing but the memory that it is given, for these arguments",
            );
            text.push_str(" and whatever the buffers contain.");
            if !self.missing.is_empty() {
                text.push_str(&format!(" Its contract lacks {}.", self.missing.join(", ")));
            }
            if !self.contract.safe {
                text.push_str(" Its author has not signed the contract with `@safe`.");
            }
        }
        text.push_str("\n\n# Errors\nWhat of the contract does not hold, or what the driver says: [`LaunchError`](warpwright::launch::LaunchError).");
        text
    }

    /// The Rust name of the element of a parameter, as text.
    fn element_name(&self, n: usize, parameter: &Parameter) -> String {
        match (self.of.generic.get(n).copied().flatten(), parameter.ty.element()) {
            (Some(argument), _) => self.argument(argument).to_string(),
            (None, Element::Number(number)) => number.rust().to_owned(),
            (None, Element::Struct(of)) => of.name.clone(),
        }
    }

    fn field_documentation(&self, n: usize, parameter: &Parameter) -> String {
        let (contract, element) = (self.contract, self.element_name(n, parameter));
        let whole = if contract.outputs.contains(&parameter.name) { " whole" } else { "" };
        let mut text = match parameter.ty {
            Type::Scalar(_) => format!("`{element}`"),
            Type::Read(_) => format!("Memory of `{element}` that is read"),
            Type::Write(_) => format!("Memory of `{element}` that is written{whole}"),
        };
        for length in contract.lengths.iter().filter(|length| length.parameter == parameter.name) {
            let symbol = length.relation.symbol();
            let elements = length.text.split_once(symbol).map_or(length.text.as_str(), |(_, right)| right.trim());
            text.push_str(&format!(", length {symbol} `{elements}`"));
        }
        if let Some(bytes) = contract.alignments.get(&parameter.name) {
            text.push_str(&format!(", aligned to {bytes} bytes"));
        }
        if self.is_optional(parameter) {
            text.push_str("; absent if `None::<&Buffer<_>>`");
        }
        text
    }
}
