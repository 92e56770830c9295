//! Everything that one invocation expands to: the set of kernels, and a module for each file.

use proc_macro2::{Literal, Span, TokenStream};
use quote::quote;
use warpwright_build::manifest::{FILE, FOLDER, Kernel, Manifest, Module};
use warpwright_build::names::launchers;
use warpwright_build::target::Reach;

use crate::Error;
use crate::launcher::launcher;
use crate::names::{identifier, prose};
use crate::shared;

/// Expands an invocation that names some modules, or none for all of them.
pub(crate) fn expand(manifest: &Manifest, names: &[(String, Span)]) -> Result<TokenStream, Error> {
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
    let images = selected.iter().map(|module| images(module));
    let symbols = selected
        .iter()
        .enumerate()
        .flat_map(|(number, module)| module.kernels.iter().map(move |kernel| symbol(number, kernel)));
    let mut first = 0;
    let mut modules = Vec::new();
    for module in &selected {
        modules.push(self::module(module, first, manifest)?);
        first += module.kernels.len();
    }
    let shared = shared::module(&manifest.headers)?;
    let manifest_path = format!("/{FOLDER}/{FILE}");
    Ok(quote! {
        #[doc = "Names the kernels of this crate in types."]
        #[derive(Debug, Clone, Copy)]
        pub enum Set {}

        // SAFETY: the build checked every kernel of this list against its PTX.
        unsafe impl ::warpwright::launch::KernelSet for Set {
            // Another manifest means another expansion, since this names the file.
            const MANIFEST: &'static ::core::primitive::str = ::core::include_str!(::core::concat!(::core::env!("OUT_DIR"), #manifest_path));
            const MODULES: &'static [::warpwright::launch::Module] = &[#(#images),*];
            const SYMBOLS: &'static [::warpwright::launch::Symbol] = &[#(#symbols),*];
        }

        #[doc = "The kernels of this crate, loaded into a context."]
        pub type Kernels = ::warpwright::launch::Kernels<Set>;

        #shared
        #(#modules)*
    })
}

/// The PTX of a module, for each target.
fn images(module: &Module) -> TokenStream {
    let name = &module.name;
    let images = module.images.iter().map(|image| {
        let path = format!("/{FOLDER}/{}", image.ptx);
        let capability = Literal::u32_unsuffixed(image.target.capability);
        let reach = match image.target.reach {
            Reach::Later => quote! { Later },
            Reach::Family => quote! { Family },
            Reach::Exact => quote! { Exact },
        };
        quote! {
            ::warpwright::launch::Image {
                capability: #capability,
                reach: ::warpwright::launch::Reach::#reach,
                ptx: ::core::include_str!(::core::concat!(::core::env!("OUT_DIR"), #path)),
            }
        }
    });
    quote! { ::warpwright::launch::Module { name: #name, images: &[#(#images),*] } }
}

/// A kernel in the PTX: its name, and where its parameters are.
fn symbol(module: usize, kernel: &Kernel) -> TokenStream {
    let name = Literal::c_string(&std::ffi::CString::new(kernel.symbol.as_str()).unwrap_or_default());
    let mut end = 0u64;
    let parameters = kernel.parameters.iter().map(|parameter| {
        let (size, align) = parameter.ty.layout();
        let offset = end.next_multiple_of(align);
        end = offset + size;
        let (offset, size) = (Literal::u64_unsuffixed(offset), Literal::u64_unsuffixed(size));
        quote! { (#offset, #size) }
    });
    let parameters: Vec<TokenStream> = parameters.collect();
    quote! { ::warpwright::launch::Symbol { module: #module, name: #name, parameters: &[#(#parameters),*] } }
}

/// The Rust module of a file, whose kernels are numbered from `first`.
fn module(module: &Module, first: usize, manifest: &Manifest) -> Result<TokenStream, Error> {
    let name = identifier(&module.name);
    let documentation = match module.documentation.as_str() {
        "" => format!("The kernels of `{}.cu`.", module.name),
        text => prose(text),
    };
    let launchers = launchers(module);
    let launchers = launchers.iter().map(|of| launcher(of, first, &manifest.headers)).collect::<Result<Vec<_>, _>>()?;
    Ok(quote! {
        #[doc = #documentation]
        pub mod #name {
            #(#launchers)*
        }
    })
}
