//! The manifest: what the build found out about the kernels of a crate, for the macros to make launchers of.

use std::io;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::types::Type;

/// The version of this format.
pub const FORMAT: u32 = 1;

/// The file name of a manifest.
pub const FILE: &str = "manifest.json";

/// The folder under a crate's `OUT_DIR` that holds its manifest and PTX.
pub const FOLDER: &str = "warpwright";

/// The kernels of a crate.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// [`FORMAT`]
    pub format: u32,
    /// What nvcc was asked for.
    pub flags: Vec<String>,
    /// One for each `.cu` file.
    pub modules: Vec<Module>,
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
    /// The file of the PTX, beside the manifest.
    pub ptx: String,
    /// The hash of the PTX.
    pub sha256: String,
    /// The compiler that made it.
    pub compiler: String,
    /// Its kernels, in the order of the source.
    pub kernels: Vec<Kernel>,
}

/// A file that PTX was made from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Input {
    /// Relative to the folder of kernels, with `/`.
    pub path: String,
    /// The hash of its content.
    pub sha256: String,
}

/// A kernel.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kernel {
    /// Its name in the source.
    pub name: String,
    /// Its name in the PTX.
    pub symbol: String,
    /// Where it stands in the source.
    pub line: u32,
    /// Its comment, without the rules.
    pub documentation: String,
    /// Its parameters, in order.
    pub parameters: Vec<Parameter>,
    /// The rules of its contract: name and text of each.
    pub rules: Vec<(String, String)>,
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
