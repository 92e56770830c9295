//! The manifest: what the build found out about the kernels of a crate, for the macros to make launchers of.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::contract::{Contract, RuleError, Scope};
use crate::target::Target;
use crate::types::{Element, Number, Type};

/// The version of this format.
pub const FORMAT: u32 = 2;

/// The file name of a manifest.
pub const FILE: &str = "manifest.json";

/// The folder under a crate's `OUT_DIR` that holds its manifest and PTX.
pub const FOLDER: &str = "warpwright";

/// The kernels of a crate.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// [`FORMAT`]
    pub format: u32,
    /// What nvcc was asked for, besides the target.
    pub flags: Vec<String>,
    /// What `include/*.h` has for Rust.
    pub headers: Headers,
    /// One for each `.cu` file.
    pub modules: Vec<Module>,
}

/// Structs and constants that CUDA and Rust share.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Headers {
    /// The headers and all that they include from the crate.
    pub inputs: Vec<Input>,
    /// Numbers.
    pub constants: Vec<Constant>,
    /// Structs of plain data without padding, each after those that it is made of.
    pub structs: Vec<Struct>,
}

/// A constant of a shared header.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Constant {
    /// Its name.
    pub name: String,
    /// Its type.
    #[serde(rename = "type")]
    pub ty: Number,
    /// Its value, as Rust writes it.
    pub value: String,
    /// Its comment.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub documentation: String,
}

/// A struct of a shared header.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Struct {
    /// Its name, without namespaces.
    pub name: String,
    /// In bytes.
    pub size: u64,
    /// In bytes.
    pub align: u64,
    /// Its comment.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub documentation: String,
    /// Its fields, in order.
    pub fields: Vec<Field>,
}

/// A field of a struct.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Field {
    /// Its name.
    pub name: String,
    /// Its type.
    #[serde(rename = "type")]
    pub ty: FieldType,
    /// In bytes from the start of the struct.
    pub offset: u64,
    /// Its comment.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub documentation: String,
}

/// The type of a field.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FieldType {
    /// A number, a vector or a struct.
    Element(Element),
    /// As many of a type.
    Array(Box<FieldType>, u64),
    /// A device address.
    Pointer,
}

impl FieldType {
    /// Size in bytes.
    #[must_use]
    pub fn size(&self) -> u64 {
        match self {
            Self::Element(element) => element.size(),
            Self::Array(element, length) => element.size() * length,
            Self::Pointer => 8,
        }
    }

    /// Whether there are pointers in it.
    #[must_use]
    pub fn has_pointers(&self) -> bool {
        match self {
            Self::Element(Element::Struct(of)) => of.pointers,
            Self::Element(Element::Number(_)) => false,
            Self::Array(element, _) => element.has_pointers(),
            Self::Pointer => true,
        }
    }
}

/// A `.cu` file and the PTX made of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Module {
    /// The name of the file, without `.cu`.
    pub name: String,
    /// The comment at the start of the file.
    pub documentation: String,
    /// The file and all that it includes from the crate.
    pub inputs: Vec<Input>,
    /// The compiler that made it.
    pub compiler: String,
    /// Its PTX, one for each target, the lowest first.
    pub images: Vec<Image>,
    /// Its kernels, as they stand in the source.
    pub kernels: Vec<Kernel>,
}

/// PTX for a target.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Image {
    /// What it is for.
    pub target: Target,
    /// The file, beside the manifest.
    pub ptx: String,
    /// The hash of the file.
    pub sha256: String,
    /// What each kernel of the module takes of a multiprocessor, as NVIDIA's assembler has it; nothing if there was none.
    pub resources: Vec<Resources>,
}

/// What a kernel takes of a multiprocessor.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resources {
    /// Registers of a thread.
    pub registers: u32,
    /// Static shared memory of a block in bytes.
    pub shared: u32,
    /// The stack of a thread in bytes.
    pub stack: u32,
    /// Bytes that a thread stores and loads since there are not enough registers.
    pub spills: u32,
}

/// A file that PTX was made from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Input {
    /// Relative to the folder of kernels, with `/`.
    pub path: String,
    /// The hash of its content.
    pub sha256: String,
}

/// A kernel, or an instance of a template.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kernel {
    /// Its name in the source.
    pub name: String,
    /// The arguments of the template in C++, if it is an instance of one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub arguments: Vec<String>,
    /// Its name in the PTX.
    pub symbol: String,
    /// The file it stands in, if that is not the module's: relative to the folder of kernels.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    /// Where it stands in the source.
    pub line: u32,
    /// Its comment, without the rules.
    pub documentation: String,
    /// Its parameters, in order.
    pub parameters: Vec<Parameter>,
    /// The rules of its contract: name and text of each.
    pub rules: Vec<(String, String)>,
    /// The values of what rules name of a template, in this instance: `TOKENS`, `W::WORDS`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub constants: BTreeMap<String, i64>,
    /// The blocks of a cluster, if they are in the code (`__cluster_dims__`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cluster: Option<[u32; 3]>,
}

/// A parameter of a kernel.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Parameter {
    /// Its name.
    pub name: String,
    /// Its type.
    #[serde(rename = "type")]
    pub ty: Type,
}

impl Kernel {
    /// Its name as C++ writes it: `scale`, or `scale<float>`.
    #[must_use]
    pub fn full_name(&self) -> String {
        match &self.arguments[..] {
            [] => self.name.clone(),
            arguments => format!("{}<{}>", self.name, arguments.join(", ")),
        }
    }

    /// Its signature as C++ writes it.
    #[must_use]
    pub fn signature(&self) -> String {
        let parameters = self.parameters.iter().map(|parameter| format!("{} {}", parameter.ty.cpp(), parameter.name));
        format!("{}({})", self.full_name(), parameters.collect::<Vec<_>>().join(", "))
    }

    /// The parameters as a contract sees them.
    #[must_use]
    pub fn scope(&self) -> Vec<(&str, &Type)> {
        self.parameters.iter().map(|parameter| (parameter.name.as_str(), &parameter.ty)).collect()
    }

    /// Its contract, with the constants of the headers and of the template.
    ///
    /// # Errors
    /// What is wrong with its rules, as [`Contract::read`] says it.
    pub fn contract(&self, headers: &Headers) -> Result<Contract, Vec<(Option<usize>, RuleError)>> {
        let rules = self.rules.iter().map(|(rule, text)| (rule.as_str(), text.as_str()));
        let template = (!self.arguments.is_empty()).then_some(&self.constants);
        Contract::read(rules, Scope { parameters: &self.scope(), constants: &headers.integers(), template })
    }
}

impl Headers {
    /// The whole numbers among the constants.
    #[must_use]
    pub fn integers(&self) -> BTreeMap<String, i64> {
        let integers = self.constants.iter().filter(|constant| constant.ty.is_integer());
        integers.filter_map(|constant| Some((constant.name.clone(), constant.value.parse().ok()?))).collect()
    }
}

/// Why there is no manifest.
#[derive(Debug, thiserror::Error)]
pub enum ManifestError {
    /// The file cannot be read or written.
    #[error("{path}: {error}")]
    File {
        /// Its path.
        path: String,
        /// Why not.
        error: io::Error,
    },
    /// It is not what it should be.
    #[error("{path} is not a manifest: {error}")]
    Content {
        /// Its path.
        path: String,
        /// What is wrong.
        error: serde_json::Error,
    },
    /// It is of another version of the build.
    #[error("{path} has format {found}, and this version reads {FORMAT}: warpwright-build and warpwright differ")]
    Format {
        /// Its path.
        path: String,
        /// The format it has.
        found: u32,
    },
}

impl Manifest {
    /// Reads the manifest in a folder.
    ///
    /// # Errors
    /// See [`ManifestError`].
    pub fn read(folder: &Path) -> Result<Self, ManifestError> {
        #[derive(Deserialize)]
        struct Version {
            format: u32,
        }
        let file = folder.join(FILE);
        let path = || file.display().to_string();
        let content = |error| ManifestError::Content { path: path(), error };
        let text = std::fs::read_to_string(&file).map_err(|error| ManifestError::File { path: path(), error })?;
        let Version { format } = serde_json::from_str(&text).map_err(content)?;
        if format != FORMAT {
            return Err(ManifestError::Format { path: path(), found: format });
        }
        serde_json::from_str(&text).map_err(content)
    }

    /// Writes the manifest into a folder, if it is not there already.
    ///
    /// # Errors
    /// [`ManifestError::File`]
    pub fn write(&self, folder: &Path) -> Result<(), ManifestError> {
        let file = folder.join(FILE);
        // Writing the type to a string cannot fail: it has no maps with keys that are not strings.
        let text = serde_json::to_string_pretty(self).unwrap_or_default() + "\n";
        if std::fs::read_to_string(&file).is_ok_and(|old| old == text) {
            return Ok(());
        }
        let failed = |error| ManifestError::File { path: file.display().to_string(), error };
        std::fs::write(&file, text).map_err(failed)
    }

    /// The module with a name.
    #[must_use]
    pub fn module(&self, name: &str) -> Option<&Module> {
        self.modules.iter().find(|module| module.name == name)
    }
}
