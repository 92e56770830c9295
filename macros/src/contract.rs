//! The checks of a contract, as they are done before a launch.

use proc_macro2::{Literal, TokenStream};
use quote::quote;
use warpwright_build::contract::{Contract, Dimensions};
use warpwright_build::expression::{Expression, Operator, Relation};
use warpwright_build::manifest::Kernel;

use crate::names::identifier;

/// An expression of type `Option<i64>`, inside a function that returns one. Names are variables of that type.
fn expression(expression: &Expression) -> TokenStream {
    match expression {
        Expression::Number(number) => {
            let number = Literal::i64_suffixed(*number);
            quote! { ::core::option::Option::Some(#number) }
        }
        Expression::Name(name) => {
            let name = identifier(name);
            quote! { #name }
        }
        Expression::Binary(operator, left, right) => {
            let (left, right) = (self::expression(left), self::expression(right));
            match operator {
                Operator::Add => quote! { #left?.checked_add(#right?) },
                Operator::Subtract => quote! { #left?.checked_sub(#right?) },
                Operator::Multiply => quote! { #left?.checked_mul(#right?) },
                Operator::Divide => quote! { #left?.checked_div(#right?) },
                Operator::Remainder => quote! { #left?.checked_rem(#right?) },
                Operator::DivCeil => quote! { ::warpwright::launch::div_ceil(#left?, #right?) },
                Operator::Minimum => quote! { ::core::option::Option::Some(#left?.min(#right?)) },
                Operator::Maximum => quote! { ::core::option::Option::Some(#left?.max(#right?)) },
            }
        }
    }
}

/// A closure that computes an expression.
fn computed(of: &Expression) -> TokenStream {
    let body = expression(of);
    quote! { (|| -> ::core::option::Option<::core::primitive::i64> { #body })() }
}

fn relation(relation: Relation) -> TokenStream {
    match relation {
        Relation::Equal => quote! { ::warpwright::launch::Relation::Equal },
        Relation::NotEqual => quote! { ::warpwright::launch::Relation::NotEqual },
        Relation::Less => quote! { ::warpwright::launch::Relation::Less },
        Relation::LessOrEqual => quote! { ::warpwright::launch::Relation::LessOrEqual },
        Relation::Greater => quote! { ::warpwright::launch::Relation::Greater },
        Relation::GreaterOrEqual => quote! { ::warpwright::launch::Relation::GreaterOrEqual },
    }
}

/// Grid or block: three numbers, of which those not stated are 1.
fn dimensions(rule: &str, stated: &Dimensions) -> TokenStream {
    let mut list: Vec<TokenStream> = stated.sizes.iter().map(computed).collect();
    list.resize(3, quote! { ::core::option::Option::Some(1) });
    let shown = &stated.text;
    quote! { __contract.dimensions(#rule, #shown, [#(#list),*])? }
}

/// Statements that check everything, in a function that returns `Result<_, LaunchError>`, where every pointer parameter is a
/// `Region`, and every integer one that rules can compute with (`computes`) what it is. They define `__geometry`, which is given where the contract states none.
/// (Names of the macro's own start with two underscores, as no parameter's does.)
pub(crate) fn checks(kernel: &Kernel, contract: &Contract, computes: impl Fn(&str) -> bool) -> TokenStream {
    let integers = kernel.parameters.iter().filter(|parameter| parameter.ty.is_integer() && computes(&parameter.name));
    let (variables, names): (Vec<_>, Vec<_>) =
        integers.map(|parameter| (identifier(&parameter.name), &parameter.name)).unzip();
    let alignments = contract.alignments.iter().map(|(name, bytes)| {
        let name = identifier(name);
        quote! { __contract.alignment(&#name, #bytes)?; }
    });
    let lengths = contract.lengths.iter().map(|length| {
        let name = identifier(&length.parameter);
        let (relation, elements, text) = (relation(length.relation), computed(&length.elements), &length.text);
        quote! { __contract.length(&#name, #relation, #elements, #text)?; }
    });
    let requirements = contract.requirements.iter().map(|(comparison, text)| {
        let (left, right) = (computed(&comparison.left), computed(&comparison.right));
        let relation = relation(comparison.relation);
        quote! { __contract.requirement(#left, #relation, #right, #text)?; }
    });
    let geometry = match (&contract.grid, &contract.block) {
        (Some(grid), Some(block)) => geometry(kernel, contract, grid, block),
        _ => TokenStream::new(),
    };
    quote! {
        // Shadowed only in here: a number that 64 bits with a sign do not hold is none to compute with.
        let __geometry = {
            #(let #variables = ::core::convert::TryInto::<::core::primitive::i64>::try_into(#variables).ok();)*
            // What errors say of the arguments.
            #[cold]
            #[inline(never)]
            fn __values(#(#variables: ::core::option::Option<::core::primitive::i64>),*) -> ::warpwright::launch::Values {
                ::warpwright::launch::Values(::std::vec![#((#names, #variables)),*])
            }
            let __contract =
                ::warpwright::launch::Contract { kernel: __kernel, values: || __values(#(#variables),*) };
            #(#requirements)*
            #(#lengths)*
            #(#alignments)*
            #geometry
            __geometry
        };
    }
}

fn geometry(kernel: &Kernel, contract: &Contract, grid: &Dimensions, block: &Dimensions) -> TokenStream {
    let (blocks, threads) = (dimensions("grid", grid), dimensions("block", block));
    let shared = match &contract.shared {
        Some((bytes, text)) => {
            let bytes = computed(bytes);
            quote! { __contract.shared(#bytes, #text)? }
        }
        None => quote! { 0 },
    };
    // Clusters that are in the code need not be asked for.
    let [x, y, z] = if kernel.cluster.is_some() { [1; 3] } else { contract.cluster.unwrap_or([1; 3]) };
    let whole_clusters = kernel.cluster.or(contract.cluster).map(|[x, y, z]| {
        quote! { __contract.whole_clusters(__geometry.blocks, [#x, #y, #z])?; }
    });
    quote! {
        let __geometry = ::warpwright::launch::Geometry {
            blocks: #blocks,
            threads: #threads,
            dynamic_shared: #shared,
            cluster: [#x, #y, #z],
        };
        #whole_clusters
    }
}
