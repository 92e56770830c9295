//! Modules and launchers.

use proc_macro2::{Ident, Literal, Span, TokenStream};
use quote::{format_ident, quote};
use warpwright_build::contract::{Contract, Parameter as RuleParameter};
use warpwright_build::manifest::{FILE, FOLDER, Kernel, Manifest, Module, Parameter};
use warpwright_build::types::{Element, Type};

use crate::Error;
use crate::contract::{checks, has_geometry};
use crate::names::{camel_case, identifier};

/// Everything that one invocation expands to.
pub(crate) fn modules(manifest: &Manifest, names: &[(String, Span)]) -> Result<TokenStream, Error> {
    let selected = if names.is_empty() {
        manifest.modules.iter().collect()
    } else {
        let find = |(name, span): &(String, Span)| {
            manifest.module(name).ok_or_else(|| {
                let known: Vec<&str> = manifest.modules.iter().map(|module| module.name.as_str()).collect();
                let message =
                    format!("there is no `{name}.cu` in the folder of kernels; there are: {}", known.join(", "));
                Error { message, span: *span }
            })
        };
        names.iter().map(find).collect::<Result<Vec<&Module>, Error>>()?
    };
    let images = selected.iter().map(|module| {
        let (name, path) = (&module.name, format!("/{FOLDER}/{}", module.ptx));
        quote! {
            ::warpwright::launch::Image {
                name: #name,
                ptx: ::core::include_str!(::core::concat!(::core::env!("OUT_DIR"), #path)),
            }
        }
    });
    let symbols = selected.iter().enumerate().flat_map(|(image, module)| {
        module.kernels.iter().map(move |kernel| {
            let symbol = Literal::c_string(&std::ffi::CString::new(kernel.symbol.as_str()).unwrap_or_default());
            quote! { (#image, #symbol) }
        })
    });
    let mut first = 0;
    let mut modules = Vec::new();
    for module in &selected {
        modules.push(self::module(module, first)?);
        first += module.kernels.len();
    }
    let manifest_path = format!("/{FOLDER}/{FILE}");
    Ok(quote! {
        // Another manifest means another expansion.
        const _: &str = ::core::include_str!(::core::concat!(::core::env!("OUT_DIR"), #manifest_path));

        #[doc = "Names the kernels of this crate in types."]
        #[derive(Debug, Clone, Copy)]
        pub enum Set {}

        // SAFETY: the build checked every kernel of this list against its PTX.
        unsafe impl ::warpwright::launch::KernelSet for Set {
            const IMAGES: &'static [::warpwright::launch::Image] = &[#(#images),*];
            const SYMBOLS: &'static [(usize, &'static ::core::ffi::CStr)] = &[#(#symbols),*];
        }

        #[doc = "The kernels of this crate, loaded into a context."]
        pub type Kernels = ::warpwright::launch::Kernels<Set>;

        #(#modules)*
    })
}

fn module(module: &Module, first: usize) -> Result<TokenStream, Error> {
    let name = identifier(&module.name);
    let documentation =
        if module.documentation.is_empty() { format!("`{}.cu`", module.name) } else { module.documentation.clone() };
    let kernels = module.kernels.iter().enumerate();
    let kernels = kernels.map(|(n, kernel)| self::kernel(kernel, first + n)).collect::<Result<Vec<_>, Error>>()?;
    Ok(quote! {
        #[doc = #documentation]
        pub mod #name {
            #(#kernels)*
        }
    })
}

/// The Rust type of an element.
fn element(element: Element) -> TokenStream {
    let name = Ident::new(element.rust(), Span::call_site());
    match element {
        Element::F16
        | Element::Bf16
        | Element::Int2
        | Element::Int4
        | Element::Uint2
        | Element::Uint4
        | Element::Float2
        | Element::Float4 => quote! { ::warpwright::types::#name },
        _ => quote! { #name },
    }
}

/// One kernel: its struct, and how it is launched.
fn kernel(kernel: &Kernel, index: usize) -> Result<TokenStream, Error> {
    let of_rules: Vec<RuleParameter<'_>> = kernel.parameters.iter().map(|p| (p.name.as_str(), p.ty)).collect();
    let rules = kernel.rules.iter().map(|(rule, text)| (rule.as_str(), text.as_str()));
    let contract = Contract::read(rules, &of_rules).map_err(|errors| {
        let errors = errors.into_iter().map(|(_, error)| error.to_string()).collect::<Vec<_>>().join("; ");
        Error::new(format!("the manifest's contract of `{}` is wrong: {errors}", kernel.name))
    })?;
    let launcher = Launcher { kernel, contract: &contract, missing: contract.missing(&of_rules) };
    let structure = launcher.structure();
    let implementation = launcher.implementation(index);
    Ok(quote! {
        #structure
        #implementation
    })
}

struct Launcher<'a> {
    kernel: &'a Kernel,
    contract: &'a Contract,
    missing: Vec<String>,
}

impl Launcher<'_> {
    fn name(&self) -> Ident {
        Ident::new(&camel_case(&self.kernel.name), Span::call_site())
    }

    /// The module that holds a type for each pointer parameter, which errors name.
    fn markers(&self) -> Ident {
        format_ident!("{}_parameters", self.kernel.name)
    }

    fn pointers(&self) -> impl Iterator<Item = (&Parameter, Element)> {
        self.kernel.parameters.iter().filter_map(|parameter| Some((parameter, parameter.ty.pointee()?)))
    }

    /// The generic type of each pointer field.
    fn generics(&self) -> Vec<Ident> {
        self.pointers().map(|(parameter, _)| generic(&parameter.name)).collect()
    }

    fn structure(&self) -> TokenStream {
        let (name, generics, markers) = (self.name(), self.generics(), self.markers());
        let documentation = self.documentation();
        let fields = self.kernel.parameters.iter().map(|parameter| {
            let field = identifier(&parameter.name);
            let documentation = field_documentation(parameter, self.contract);
            let ty = match parameter.ty {
                Type::Scalar(scalar) => element(scalar),
                Type::Read(_) | Type::Write(_) => {
                    let generic = generic(&parameter.name);
                    quote! { #generic }
                }
            };
            quote! {
                #[doc = #documentation]
                pub #field: #ty
            }
        });
        let marker_names = self.pointers().map(|(parameter, _)| identifier(&parameter.name));
        quote! {
            #[doc = #documentation]
            #[must_use = "a launcher does nothing until it is launched"]
            #[derive(Debug, Clone, Copy)]
            pub struct #name<#(#generics),*> {
                #(#fields),*
            }

            #[doc(hidden)]
            #[allow(non_camel_case_types)]
            pub mod #markers {
                #(
                    #[derive(Debug)]
                    pub enum #marker_names {}
                )*
            }
        }
    }

    fn implementation(&self, index: usize) -> TokenStream {
        let (name, generics, markers) = (self.name(), self.generics(), self.markers());
        let kernel_name = &self.kernel.name;
        let bounds = self.pointers().map(|(parameter, pointee)| {
            let (generic, marker, element) = (generic(&parameter.name), identifier(&parameter.name), element(pointee));
            let access = match parameter.ty {
                Type::Write(_) => quote! { Write },
                _ => quote! { Read },
            };
            quote! { #generic: ::warpwright::launch::#access<OntoTarget, #element, #markers::#marker> }
        });
        let fields: Vec<Ident> = self.kernel.parameters.iter().map(|parameter| identifier(&parameter.name)).collect();
        let regions = self.pointers().map(|(parameter, _)| {
            let (field, text) = (identifier(&parameter.name), &parameter.name);
            match parameter.ty {
                Type::Write(_) => quote! { let #field = #field.written(#text, __onto); },
                _ => quote! { let #field = #field.read(#text, __onto); },
            }
        });
        let arguments = self.kernel.parameters.iter().map(|parameter| {
            let field = identifier(&parameter.name);
            match parameter.ty {
                Type::Scalar(_) => quote! { (&raw const #field).cast_mut().cast() },
                _ => quote! { #field.argument() },
            }
        });
        let region_names: Vec<Ident> = self.pointers().map(|(parameter, _)| identifier(&parameter.name)).collect();
        let mutable = self.pointers().filter(|(parameter, _)| matches!(parameter.ty, Type::Write(_)));
        let mutable = mutable.map(|(parameter, _)| {
            let field = identifier(&parameter.name);
            quote! { let mut #field = #field; }
        });
        let checks = checks(self.kernel, self.contract);
        let safe = self.is_safe();
        let unsafety = if safe {
            TokenStream::new()
        } else {
            quote! { unsafe }
        };
        let documentation = self.launch_documentation();
        let (geometry, given_geometry) = if has_geometry(self.contract) {
            (TokenStream::new(), TokenStream::new())
        } else {
            (quote! { , geometry: ::warpwright::launch::Geometry }, quote! { let __geometry = geometry; })
        };
        quote! {
            impl<#(#generics),*> #name<#(#generics),*> {
                #[doc = #documentation]
                pub #unsafety fn launch<OntoTarget>(
                    self,
                    onto: &OntoTarget
                    #geometry
                ) -> ::core::result::Result<
                    <OntoTarget as ::warpwright::launch::Target>::Launched,
                    ::warpwright::launch::LaunchError,
                >
                where
                    OntoTarget: ::warpwright::launch::Target<Set = super::Set>,
                    #(#bounds,)*
                {
                    static KERNEL: ::warpwright::launch::Kernel = ::warpwright::launch::Kernel {
                        name: #kernel_name,
                        index: #index,
                        cooperative: false,
                        programmatic: ::core::option::Option::None,
                    };
                    #[allow(unused_imports)]
                    use ::warpwright::launch::{Read as _, Write as _};
                    let __onto = onto;
                    #given_geometry
                    let Self { #(#fields),* } = self;
                    #(#mutable)*
                    #(#regions)*
                    #checks
                    let __regions = [#(&#region_names),*];
                    let mut __arguments = [#(#arguments),*];
                    // SAFETY: the arguments are those of the kernel, in its order and of its types. That it touches
                    // nothing but what they name is its author's word, or the caller's if this function is unsafe.
                    unsafe {
                        ::warpwright::launch::Target::submit(__onto, &KERNEL, __geometry, &__regions, &mut __arguments)
                    }
                }
            }
        }
    }

    fn is_safe(&self) -> bool {
        self.contract.safe && self.missing.is_empty()
    }

    fn documentation(&self) -> String {
        let mut text = if self.kernel.documentation.is_empty() {
            format!("The kernel `{}`.", self.kernel.name)
        } else {
            self.kernel.documentation.clone()
        };
        if !self.kernel.rules.is_empty() {
            text.push_str("\n\n# Contract\n");
            for (rule, rest) in self.kernel.rules.iter().filter(|(rule, _)| rule != "safe") {
                text.push_str(&format!("\n- `@{rule}` `{rest}`"));
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
        text.push_str("\n\n# Errors\nWhat of the contract does not hold, or what the driver says.");
        text
    }
}

fn generic(parameter: &str) -> Ident {
    // A parameter whose name starts with an underscore and a digit, say, still needs a letter in front.
    let name = camel_case(parameter);
    match name.starts_with(|c: char| c.is_ascii_alphabetic()) {
        true => Ident::new(&name, Span::call_site()),
        false => format_ident!("P{name}"),
    }
}

fn field_documentation(parameter: &Parameter, contract: &Contract) -> String {
    let mut text = format!("`{}`", parameter.ty.cpp());
    let lengths = contract.lengths.iter().filter(|length| length.parameter == parameter.name);
    for length in lengths {
        text.push_str(&format!(", length {} `{}`", length.relation.symbol(), length.elements));
    }
    if let Some(bytes) = contract.alignments.get(&parameter.name) {
        text.push_str(&format!(", aligned to {bytes} bytes"));
    }
    if contract.outputs.contains(&parameter.name) {
        text.push_str(", written whole");
    }
    text
}
