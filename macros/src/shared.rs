//! The module of what CUDA and Rust share: structs and constants of the headers.

use proc_macro2::{Literal, TokenStream};
use quote::quote;
use warpwright_build::manifest::{Constant, FieldType, Headers, Struct};
use warpwright_build::names::SHARED;
use warpwright_build::types::{Element, Number};

use crate::Error;
use crate::names::{element, identifier, number, prose};

/// The module, if there is anything in it.
pub(crate) fn module(headers: &Headers) -> Result<TokenStream, Error> {
    if headers.constants.is_empty() && headers.structs.is_empty() {
        return Ok(TokenStream::new());
    }
    let constants = headers.constants.iter().map(constant).collect::<Result<Vec<_>, _>>()?;
    let structs = headers.structs.iter().map(structure);
    let name = identifier(SHARED);
    Ok(quote! {
        #[doc = "What kernels and Rust share: structs and constants of the headers `include/*.h`."]
        #[allow(non_upper_case_globals, non_camel_case_types, non_snake_case)]
        pub mod #name {
            #(#constants)*
            #(#structs)*
        }
    })
}

fn documented(documentation: &str, otherwise: String) -> String {
    if documentation.is_empty() { otherwise } else { prose(documentation) }
}

fn constant(constant: &Constant) -> Result<TokenStream, Error> {
    let Constant { name, ty, value, documentation } = constant;
    // A float without a point would be a whole number.
    let is_float = matches!(ty, Number::F32 | Number::F64);
    let text = if is_float && !value.contains(['.', 'e', 'E']) { format!("{value}.0") } else { value.clone() };
    let value: TokenStream =
        text.parse().map_err(|_| Error::new(format!("the manifest's constant `{name}` is not a number: {text}")))?;
    let documentation = documented(documentation, format!("`{name}` of a shared header."));
    let (name, ty) = (identifier(name), number(*ty));
    Ok(quote! {
        #[doc = #documentation]
        pub const #name: #ty = #value;
    })
}

fn field_type(ty: &FieldType) -> TokenStream {
    match ty {
        FieldType::Element(Element::Struct(of)) => {
            let name = identifier(&of.name);
            quote! { #name }
        }
        FieldType::Element(number) => element(number, &TokenStream::new()),
        FieldType::Array(of, length) => {
            let (of, length) = (field_type(of), Literal::u64_unsuffixed(*length));
            quote! { [#of; #length] }
        }
        FieldType::Pointer => quote! { u64 },
    }
}

fn structure(of: &Struct) -> TokenStream {
    let name = identifier(&of.name);
    let documentation = documented(&of.documentation, format!("`{}` of a shared header.", of.name));
    let fields = of.fields.iter().map(|field| {
        let (name, ty) = (identifier(&field.name), field_type(&field.ty));
        let otherwise = match field.ty {
            FieldType::Pointer => format!("`{}`, a device address.", field.name),
            _ => format!("`{}`", field.name),
        };
        let documentation = documented(&field.documentation, otherwise);
        quote! {
            #[doc = #documentation]
            pub #name: #ty
        }
    });
    // What the fields do not make by themselves is asked for.
    let align = Literal::u64_unsuffixed(of.align);
    let (size, offsets) = (
        Literal::u64_unsuffixed(of.size),
        of.fields.iter().map(|field| {
            let (field_name, offset) = (identifier(&field.name), Literal::u64_unsuffixed(field.offset));
            quote! { && ::core::mem::offset_of!(#name, #field_name) == #offset }
        }),
    );
    quote! {
        #[doc = #documentation]
        #[derive(Debug, Clone, Copy, PartialEq)]
        #[repr(C, align(#align))]
        pub struct #name {
            #(#fields),*
        }

        const _: () = assert!(
            ::core::mem::size_of::<#name>() == #size && ::core::mem::align_of::<#name>() == #align #(#offsets)*,
            "Rust lays a struct out unlike the headers say"
        );

        // SAFETY: all of its fields are plain data, and the build found that there is no padding between them.
        unsafe impl ::warpwright::types::bytemuck::Zeroable for #name {}
        // SAFETY: as above.
        unsafe impl ::warpwright::types::bytemuck::Pod for #name {}
        // SAFETY: it is laid out as CUDA's struct, which the build checked, and plain data.
        unsafe impl ::warpwright::types::DeviceRepr for #name {}
        // SAFETY: it is plain data.
        unsafe impl ::warpwright::types::ValidAsZeroBits for #name {}
    }
}
