//! Content hashes: whether PTX was made from the files as they are.

use std::fmt;
use std::fmt::Write;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use crate::manifest::{Input, Module};

/// What has to be compiled.
#[derive(Debug, Default)]
pub(crate) struct Changed {
    /// Sources, each with the name of its module.
    pub(crate) sources: Vec<(String, PathBuf)>,
    /// All shared headers.
    pub(crate) headers: Vec<PathBuf>,
}

impl fmt::Display for Changed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sources = self.sources.iter().map(|(_, path)| path);
        let files = if self.sources.is_empty() { self.headers.iter().collect() } else { sources.collect::<Vec<_>>() };
        let names = files.into_iter().map(|path| path.file_name().unwrap_or_default().to_string_lossy());
        f.write_str(&names.collect::<Vec<_>>().join(", "))
    }
}

/// The SHA-256 of some bytes, in hexadecimal.
pub(crate) fn hash(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().fold(String::new(), |mut text, byte| {
        // Writing to a string cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

impl Input {
    /// Whether the file is as it was. Its path is relative to the folder of kernels.
    pub(crate) fn is_current(&self, kernels: &Path) -> bool {
        std::fs::read(kernels.join(&self.path)).is_ok_and(|bytes| hash(&bytes) == self.sha256)
    }
}

/// Whether a module was made from the files as they are, and its PTX is the one that was made.
pub(crate) fn is_current(module: &Module, kernels: &Path, folder: &Path) -> bool {
    let as_made = |ptx: &str, sha256: &str| std::fs::read(folder.join(ptx)).is_ok_and(|bytes| hash(&bytes) == sha256);
    module.inputs.iter().all(|input| input.is_current(kernels))
        && module.images.iter().all(|image| as_made(&image.ptx, &image.sha256))
}

/// The inputs among the files that a compiler read. Headers of the toolkit and of the system are not: the toolkit's
/// version stands for them.
#[cfg(feature = "compile")]
pub(crate) fn inputs_of(
    files: &[PathBuf],
    kernels: &Path,
    toolkit: &crate::toolkit::Toolkit,
) -> std::io::Result<Vec<Input>> {
    let headers = toolkit.include();
    let mut inputs = Vec::new();
    for file in files {
        let file = std::fs::canonicalize(file)?;
        if file.starts_with(toolkit.root()) || file.starts_with(&headers) || file.starts_with("/usr") {
            continue;
        }
        inputs.push(Input { path: relative(&file, kernels), sha256: hash(&std::fs::read(&file)?) });
    }
    inputs.sort_by(|a, b| a.path.cmp(&b.path));
    inputs.dedup();
    Ok(inputs)
}

/// The way from a folder to a file, both absolute, with `/`.
#[cfg(feature = "compile")]
fn relative(file: &Path, folder: &Path) -> String {
    let common = file.components().zip(folder.components()).take_while(|(a, b)| a == b).count();
    let up = folder.components().skip(common).map(|_| "..".to_owned());
    let down = file.components().skip(common).map(|part| part.as_os_str().to_string_lossy().into_owned());
    up.chain(down).collect::<Vec<_>>().join("/")
}

#[cfg(all(test, feature = "compile"))]
mod tests {
    use super::*;

    #[test]
    fn the_way_to_a_file() {
        let way = |file: &str| relative(Path::new(file), Path::new("/a/b/kernels"));
        assert_eq!(way("/a/b/kernels/x.cu"), "x.cu");
        assert_eq!(way("/a/b/kernels/include/x.cuh"), "include/x.cuh");
        assert_eq!(way("/a/common/x.cuh"), "../../common/x.cuh");
    }

    #[test]
    fn hashes_are_sha_256() {
        assert_eq!(hash(b"abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    }
}
