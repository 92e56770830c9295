//! What CUDA and Rust share: structs and constants of the headers `include/*.h`, read by bindgen.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::{Path, PathBuf};
use std::rc::Rc;

use bindgen::callbacks::{IntKind, ParseCallbacks, Token};
use syn::{Expr, Fields, Item, Lit, Type as RustType};

use crate::diagnostic::Diagnostic;
use crate::manifest::{Constant, Field, FieldType, Headers, Struct};
use crate::toolkit::Toolkit;
use crate::types::{Element, Number, StructType};

/// What reading headers gives.
#[derive(Debug, Clone, Default)]
pub(crate) struct Shared {
    pub(crate) headers: Headers,
    /// Types that have no counterpart in Rust, with the reason.
    pub(crate) refused: BTreeMap<String, String>,
    /// Names for other types: enums.
    aliases: BTreeMap<String, Number>,
    /// The namespace of each type that is in one: `outer::inner::`.
    namespaces: BTreeMap<String, String>,
}

/// Reads headers. Returns what is in them, and the files that were read.
pub(crate) fn read(
    headers: &[PathBuf],
    include: &Path,
    toolkit: &Toolkit,
) -> Result<(Shared, Vec<PathBuf>), Diagnostic> {
    toolkit.find_libclang()?;
    let files = Rc::new(RefCell::new(Vec::new()));
    let notes = Notes { files: Rc::clone(&files), ..Notes::default() };
    let includes: String = headers.iter().map(|path| format!("#include \"{}\"\n", path.display())).collect();
    let mut builder = bindgen::Builder::default()
        .header_contents("warpwright_shared.hpp", &includes)
        .clang_args(["-x", "c++", "-std=c++17", "-fno-spell-checking"])
        .clang_arg(format!("-I{}", include.display()))
        .clang_arg(format!("-I{}", toolkit.include().display()))
        .disable_name_namespacing()
        .enable_cxx_namespaces()
        .default_enum_style(bindgen::EnumVariation::Consts)
        .prepend_enum_name(false)
        .layout_tests(true)
        .ignore_functions()
        .ignore_methods()
        .formatter(bindgen::Formatter::None)
        .parse_callbacks(Box::new(notes));
    if let Some(folder) = toolkit.compiler_headers() {
        builder = builder.clang_args(["-isystem", &folder]);
    }
    for path in headers {
        builder = builder.allowlist_file(regex_escape(&path.display().to_string()));
    }
    let bindings = builder.generate().map_err(|error| {
        let names: Vec<_> = headers.iter().map(|path| path.display().to_string()).collect();
        Diagnostic::new(format!("the shared headers cannot be read: {}", names.join(", ")))
            .note(error.to_string())
            .note("headers `include/*.h` are for Rust too: plain structs and constants; device code belongs in `.cuh`")
    })?;
    let text = bindings.to_string();
    let file =
        syn::parse_file(&text).map_err(|error| Diagnostic::new(format!("bindgen's output cannot be read: {error}")))?;
    let mut inputs = files.take();
    inputs.extend(headers.iter().cloned());
    let (mut items, mut namespaces) = (Vec::new(), BTreeMap::new());
    flatten(file.items, "", &mut items, &mut namespaces);
    if let Some(name) = twice(&items) {
        return Err(Diagnostic::new(format!(
            "the shared headers have several `{name}`, such as in different namespaces"
        ))
        .note("Rust has one module for all of them: rename one, or move what Rust need not see to a `.cuh`"));
    }
    Ok((Shared { namespaces, ..Shared::of(&items) }, inputs))
}

/// Takes items out of the modules that bindgen makes of namespaces, and notes the namespace of each type that is in one.
fn flatten(items: Vec<Item>, namespace: &str, out: &mut Vec<Item>, namespaces: &mut BTreeMap<String, String>) {
    for item in items {
        let name = match &item {
            Item::Mod(module) => {
                let inner = match module.ident.to_string() {
                    // The module that all others are in.
                    root if root == "root" && namespace.is_empty() => String::new(),
                    name => format!("{namespace}{name}::"),
                };
                let Item::Mod(module) = item else { continue };
                flatten(module.content.map_or_else(Vec::new, |(_, items)| items), &inner, out, namespaces);
                continue;
            }
            Item::Struct(of) => Some(&of.ident),
            Item::Union(of) => Some(&of.ident),
            Item::Type(of) => Some(&of.ident),
            _ => None,
        };
        if let Some(name) = name.filter(|_| !namespace.is_empty()) {
            namespaces.insert(name.to_string(), namespace.to_owned());
        }
        out.push(item);
    }
}

/// The name of two structs or of two constants.
fn twice(items: &[Item]) -> Option<String> {
    let (mut structs, mut constants) = (BTreeSet::new(), BTreeSet::new());
    items.iter().find_map(|item| {
        let (name, known) = match item {
            Item::Const(constant) if constant.ident != "_" => (constant.ident.to_string(), &mut constants),
            Item::Struct(of) => (of.ident.to_string(), &mut structs),
            _ => return None,
        };
        (!known.insert(name.clone())).then_some(name)
    })
}

/// Notes the files that bindgen reads, and macros that it could misread.
#[derive(Debug, Default)]
struct Notes {
    files: Rc<RefCell<Vec<PathBuf>>>,
    /// Macros with a number without a sign in them, and whether it is all that there is.
    unsigned: RefCell<HashMap<String, bool>>,
}

impl ParseCallbacks for Notes {
    fn include_file(&self, filename: &str) {
        self.files.borrow_mut().push(filename.into());
    }

    fn modify_macro(&self, name: &str, tokens: &mut Vec<Token>) {
        let mut unsigned = self.unsigned.borrow_mut();
        let without_sign = |token: &Token| {
            let text = String::from_utf8_lossy(&token.raw);
            let is_number = text.starts_with(|c: char| c.is_ascii_digit());
            is_number && (text.contains(['u', 'U']) || text.len() >= 18) || unsigned.contains_key(&*text)
        };
        // The name comes first.
        if tokens.iter().skip(1).any(without_sign) {
            unsigned.insert(name.to_owned(), tokens.len() == 2);
        }
    }

    /// bindgen computes macros with a sign. What is below zero there, and without a sign in C, is another number: that of
    /// a literal is known, others are left out.
    fn int_macro(&self, name: &str, value: i64) -> Option<IntKind> {
        let alone = *self.unsigned.borrow().get(name).filter(|_| value < 0)?;
        Some(if alone { IntKind::U64 } else { IntKind::Custom { name: "unknown", is_signed: false } })
    }
}

/// A regular expression that matches exactly a text.
fn regex_escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if !c.is_alphanumeric() && c != '/' && c != '_' {
            out.push('\\');
        }
        out.push(c);
    }
    out
}

impl Shared {
    fn of(items: &[Item]) -> Self {
        let mut shared = Self::default();
        let layouts = layouts(items);
        for item in items {
            if let Item::Type(alias) = item
                && let Some(number) = number(&alias.ty)
            {
                shared.aliases.insert(alias.ident.to_string(), number);
            }
        }
        for item in items {
            match item {
                Item::Const(constant) => shared.headers.constants.extend(shared.constant(constant)),
                // bindgen writes what a struct is made of before it.
                Item::Struct(item) => shared.structure(item, &layouts),
                Item::Union(item) => {
                    shared.refused.insert(item.ident.to_string(), "it is a union".to_owned());
                }
                _ => {}
            }
        }
        shared
    }

    /// The element that the C++ compiler calls `name`, with its namespaces. A type of another namespace is another.
    pub(crate) fn element_of(&self, name: &str) -> Option<Element> {
        let last = name.rsplit("::").next().unwrap_or(name);
        let namespace = self.namespaces.get(last).filter(|_| Number::from_cpp(last).is_none());
        let own = name.strip_suffix(last) == Some(namespace.map_or("", String::as_str));
        self.element(last).filter(|_| own)
    }

    /// The element that a source calls `name`, without namespaces.
    pub(crate) fn element(&self, name: &str) -> Option<Element> {
        let number = Number::from_cpp(name).or_else(|| self.aliases.get(name).copied());
        number.map(Element::Number).or_else(|| {
            let found = self.headers.structs.iter().find(|known| known.name == name)?;
            Some(Element::Struct(found.as_type()))
        })
    }

    fn constant(&self, item: &syn::ItemConst) -> Option<Constant> {
        if item.ident == "_" {
            return None;
        }
        let ty = self.number(&item.ty)?;
        let value = literal(&item.expr)?;
        let name = item.ident.to_string();
        Some(Constant { name, ty, value, documentation: documentation(&item.attrs) })
    }

    fn number(&self, ty: &RustType) -> Option<Number> {
        number(ty).or_else(|| self.aliases.get(&last_segment(ty)?).copied())
    }

    fn structure(&mut self, item: &syn::ItemStruct, layouts: &BTreeMap<String, Layout>) {
        let name = item.ident.to_string();
        // Types of the toolkit that Rust has another name for.
        if Number::from_cpp(&name).is_some() {
            return;
        }
        match self.fields(item, &name, layouts) {
            Ok((fields, Layout { size, align, .. })) => {
                let documentation = documentation(&item.attrs);
                self.headers.structs.push(Struct { name, size, align, documentation, fields });
            }
            Err(reason) => {
                self.refused.insert(name, reason);
            }
        }
    }

    fn fields(
        &self,
        item: &syn::ItemStruct,
        name: &str,
        layouts: &BTreeMap<String, Layout>,
    ) -> Result<(Vec<Field>, Layout), String> {
        let Fields::Named(named) = &item.fields else { return Err("it has no named fields".to_owned()) };
        let layout = layouts.get(name).ok_or("its layout is not known")?;
        let mut fields = Vec::new();
        let mut end = 0;
        for field in &named.named {
            let Some(ident) = &field.ident else { continue };
            let field_name = ident.to_string();
            let field_name = field_name.strip_prefix("r#").unwrap_or(&field_name).to_owned();
            let padding = |bytes: u64| {
                format!(
                    "it has {bytes} bytes of padding before `{field_name}`, which Rust cannot share as plain data: add a \
                     field in their place"
                )
            };
            // What bindgen makes up has no name in C++, and no offset in what it says.
            let unnamed = field_name == "_base" || field_name.starts_with("__bindgen") || field_name == "_address";
            if unnamed || field_name.starts_with("_bitfield") {
                return Err("it is empty, or has a base, bit-fields or members without a name".to_owned());
            }
            let offset = *layout.offsets.get(&ident.to_string()).ok_or_else(|| padding(0))?;
            let ty = self.field_type(&field.ty).ok_or_else(|| {
                let ty = &field.ty;
                format!("its field `{field_name}` is a `{}`, which has no counterpart", quote::quote!(#ty))
            })?;
            if offset > end {
                return Err(padding(offset - end));
            }
            end = offset + ty.size();
            fields.push(Field { name: field_name, ty, offset, documentation: documentation(&field.attrs) });
        }
        if end < layout.size {
            let bytes = layout.size - end;
            return Err(format!(
                "it has {bytes} bytes of padding at its end, which Rust cannot share as plain data: add a field in their \
                 place"
            ));
        }
        Ok((fields, layout.clone()))
    }

    fn field_type(&self, ty: &RustType) -> Option<FieldType> {
        match ty {
            RustType::Array(array) => {
                let Expr::Lit(syn::ExprLit { lit: Lit::Int(length), .. }) = &array.len else { return None };
                let element = self.field_type(&array.elem)?;
                Some(FieldType::Array(Box::new(element), length.base10_parse().ok()?))
            }
            RustType::Ptr(_) => Some(FieldType::Pointer),
            _ => {
                let name = last_segment(ty);
                let named = || self.element(&name?);
                let element = self.number(ty).map(Element::Number).or_else(named)?;
                // Not any byte is a `bool`.
                element.is_plain().then_some(FieldType::Element(element))
            }
        }
    }
}

impl Struct {
    /// As a parameter has it.
    fn as_type(&self) -> StructType {
        let pointers = self.fields.iter().any(|field| field.ty.has_pointers());
        StructType { name: self.name.clone(), size: self.size, align: self.align, pointers }
    }
}

/// The layout of a struct, as bindgen's own tests say it.
#[derive(Debug, Clone, Default)]
struct Layout {
    size: u64,
    align: u64,
    offsets: BTreeMap<String, u64>,
}

/// Reads `["Size of S"][size_of::<S>() - 8usize];` and the like.
fn layouts(items: &[Item]) -> BTreeMap<String, Layout> {
    let mut layouts: BTreeMap<String, Layout> = BTreeMap::new();
    for item in items {
        let Item::Const(syn::ItemConst { ident, expr, .. }) = item else { continue };
        let (true, Expr::Block(block)) = (ident == "_", &**expr) else { continue };
        for statement in &block.block.stmts {
            let syn::Stmt::Expr(Expr::Index(index), _) = statement else { continue };
            let (Expr::Array(text), Expr::Binary(difference)) = (&*index.expr, &*index.index) else { continue };
            let (Some(Expr::Lit(syn::ExprLit { lit: Lit::Str(text), .. })), Expr::Lit(number)) =
                (text.elems.first(), &*difference.right)
            else {
                continue;
            };
            let Lit::Int(number) = &number.lit else { continue };
            let (text, number) = (text.value(), number.base10_parse().unwrap_or(0));
            if let Some(name) = text.strip_prefix("Size of ") {
                layouts.entry(name.to_owned()).or_default().size = number;
            } else if let Some(name) = text.strip_prefix("Alignment of ") {
                layouts.entry(name.to_owned()).or_default().align = number;
            } else if let Some((name, field)) = text.strip_prefix("Offset of field: ").and_then(|t| t.split_once("::"))
            {
                layouts.entry(name.to_owned()).or_default().offsets.insert(field.to_owned(), number);
            }
        }
    }
    layouts
}

/// The last name of a path.
fn last_segment(ty: &RustType) -> Option<String> {
    match ty {
        RustType::Path(path) => path.path.segments.last().map(|segment| segment.ident.to_string()),
        _ => None,
    }
}

/// A number type as bindgen writes it.
fn number(ty: &RustType) -> Option<Number> {
    let name = last_segment(ty)?;
    Some(match name.as_str() {
        "c_char" | "c_schar" => Number::I8,
        "c_uchar" => Number::U8,
        "c_short" => Number::I16,
        "c_ushort" => Number::U16,
        "c_int" => Number::I32,
        "c_uint" => Number::U32,
        "c_long" | "c_longlong" => Number::I64,
        "c_ulong" | "c_ulonglong" | "usize" => Number::U64,
        "isize" => Number::I64,
        name => *Number::ALL.iter().find(|number| number.is_primitive() && number.rust() == name)?,
    })
}

/// A number as Rust writes it.
fn literal(expr: &Expr) -> Option<String> {
    match expr {
        Expr::Lit(syn::ExprLit { lit: Lit::Int(number), .. }) => Some(number.base10_digits().to_owned()),
        Expr::Lit(syn::ExprLit { lit: Lit::Float(number), .. }) => Some(number.base10_digits().to_owned()),
        Expr::Lit(syn::ExprLit { lit: Lit::Bool(value), .. }) => Some(value.value.to_string()),
        Expr::Unary(syn::ExprUnary { op: syn::UnOp::Neg(_), expr, .. }) => Some(format!("-{}", literal(expr)?)),
        Expr::Paren(inner) => literal(&inner.expr),
        _ => None,
    }
}

/// The text of documentation attributes.
fn documentation(attributes: &[syn::Attribute]) -> String {
    let lines = attributes.iter().filter_map(|attribute| match &attribute.meta {
        syn::Meta::NameValue(pair) if pair.path.is_ident("doc") => match &pair.value {
            Expr::Lit(syn::ExprLit { lit: Lit::Str(text), .. }) => Some(text.value()),
            _ => None,
        },
        _ => None,
    });
    lines.collect::<Vec<_>>().join("\n").trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn structs_and_constants_of_what_bindgen_writes() {
        let file = syn::parse_file(
            r#"
            pub const TILE: u32 = 16;
            pub const LOW: i32 = -3;
            pub const HALF: f64 = 0.5;
            pub const NAME: &[u8; 2] = b"a\0";
            pub type Mode = ::std::os::raw::c_uint;
            pub const MODE_B: Mode = 7;
            #[repr(C)] pub struct Inner { pub a: u16, pub b: [u8; 2usize] }
            const _: () = { ["Size of Inner"][::std::mem::size_of::<Inner>() - 4usize];
                ["Alignment of Inner"][::std::mem::align_of::<Inner>() - 2usize];
                ["Offset of field: Inner::a"][::std::mem::offset_of!(Inner, a) - 0usize];
                ["Offset of field: Inner::b"][::std::mem::offset_of!(Inner, b) - 2usize]; };
            #[doc = " Of it."] #[repr(C)] pub struct Params { #[doc = " In it."] pub inner: [Inner; 2usize], pub mode: Mode,
                pub at: *mut f32 }
            const _: () = { ["Size of Params"][::std::mem::size_of::<Params>() - 24usize];
                ["Alignment of Params"][::std::mem::align_of::<Params>() - 8usize];
                ["Offset of field: Params::inner"][::std::mem::offset_of!(Params, inner) - 0usize];
                ["Offset of field: Params::mode"][::std::mem::offset_of!(Params, mode) - 8usize];
                ["Offset of field: Params::at"][::std::mem::offset_of!(Params, at) - 16usize]; };
            #[repr(C)] pub struct Loose { pub a: u8, pub b: u32 }
            const _: () = { ["Size of Loose"][::std::mem::size_of::<Loose>() - 8usize];
                ["Alignment of Loose"][::std::mem::align_of::<Loose>() - 4usize];
                ["Offset of field: Loose::a"][::std::mem::offset_of!(Loose, a) - 0usize];
                ["Offset of field: Loose::b"][::std::mem::offset_of!(Loose, b) - 4usize]; };
            "#,
        )
        .unwrap();
        let shared = Shared::of(&file.items);
        let constants: Vec<_> =
            shared.headers.constants.iter().map(|c| format!("{}: {} = {}", c.name, c.ty.rust(), c.value)).collect();
        assert_eq!(constants, ["TILE: u32 = 16", "LOW: i32 = -3", "HALF: f64 = 0.5", "MODE_B: u32 = 7"]);
        assert_eq!(shared.headers.structs.iter().map(|s| s.name.as_str()).collect::<Vec<_>>(), ["Inner"]);
        assert!(shared.refused["Params"].contains("4 bytes of padding before `at`"), "{:?}", shared.refused);
        assert!(shared.refused["Loose"].contains("3 bytes of padding before `b`"), "{:?}", shared.refused);
        assert_eq!(shared.element("Mode"), Some(Element::Number(Number::U32)));
        assert_eq!(shared.element("Inner").map(|e| (e.size(), e.align())), Some((4, 2)));
        assert_eq!(shared.element("Params"), None);
    }

    #[test]
    fn paths_match_themselves_alone() {
        assert_eq!(regex_escape("/a b/c.h"), "/a\\ b/c\\.h");
    }
}
