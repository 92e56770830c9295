//! What is compiled again, and what is not: runs of nvcc are counted. One test, since it sets the environment.
#![cfg(feature = "compile")]

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use warpwright_build::{Prebuilt, Toolkit, build};

/// A toolkit that is the real one, but for an nvcc that writes down when it compiles.
struct Counting {
    folder: PathBuf,
}

impl Counting {
    fn new(folder: &Path) -> Self {
        let real = Toolkit::find(folder).unwrap().nvcc().to_owned();
        let real_root = fs::canonicalize(&real).unwrap().ancestors().nth(2).unwrap().to_owned();
        let this = Self { folder: folder.join("toolkit") };
        fs::create_dir_all(this.folder.join("bin")).unwrap();
        symlink(real_root.join("include"), this.folder.join("include")).unwrap();
        symlink(real.with_file_name("ptxas"), this.folder.join("bin/ptxas")).unwrap();
        this.release(&real, "13.0");
        this
    }

    fn log(&self) -> PathBuf {
        self.folder.join("compiled")
    }

    /// Makes it say that it is of a release.
    fn release(&self, real: &Path, release: &str) {
        let script = format!(
            "#!/bin/sh\n[ \"$1\" = --version ] && echo 'release {release}' && exit\necho x >> '{}'\nexec '{}' \"$@\"\n",
            self.log().display(),
            real.display()
        );
        let nvcc = self.folder.join("bin/nvcc");
        fs::write(&nvcc, script).unwrap();
        fs::set_permissions(nvcc, fs::Permissions::from_mode(0o755)).unwrap();
    }

    /// How often it has compiled since it was asked last.
    fn count(&self) -> usize {
        let lines = fs::read_to_string(self.log()).unwrap_or_default().lines().count();
        let _ = fs::remove_file(self.log());
        lines
    }
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        match entry.file_type().unwrap().is_dir() {
            true => copy(&entry.path(), &to.join(entry.file_name())),
            false => drop(fs::copy(entry.path(), to.join(entry.file_name())).unwrap()),
        }
    }
}

#[test]
fn only_what_changed_is_compiled() {
    let root = Path::new(env!("CARGO_TARGET_TMPDIR")).join("incremental");
    let _ = fs::remove_dir_all(&root);
    let kernels = root.join("kernels");
    fs::create_dir_all(kernels.join("include")).unwrap();
    let write = |name: &str, text: &str| fs::write(kernels.join(name), text).unwrap();
    let kernel = |n: usize, header: &str| format!("{header}__global__ void k{n}(float* x) {{ x[0] = {n}; }}\n");
    for n in 0..10 {
        let header = if n < 2 { "#include \"two.cuh\"\n" } else { "" };
        write(&format!("k{n}.cu"), &kernel(n, header));
    }
    write("include/two.cuh", "#pragma once\n#define TWO 2\n");
    let real = Toolkit::find(&root).unwrap().nvcc().to_owned();
    let toolkit = Counting::new(&root);
    // SAFETY: this is the only test of its process.
    unsafe { std::env::set_var("WARPWRIGHT_NVCC", toolkit.folder.join("bin/nvcc")) };
    let out = root.join("out");
    let built = |prebuilt| build(&root, "kernels", &out, prebuilt).unwrap_or_else(|errors| panic!("{errors}"));
    let compiled = |prebuilt| {
        built(prebuilt);
        toolkit.count()
    };

    assert_eq!(compiled(Prebuilt::Allow), 10);
    assert_eq!(compiled(Prebuilt::Allow), 0, "nothing has changed");
    write("k5.cu", &kernel(5, "// edited\n"));
    assert_eq!(compiled(Prebuilt::Allow), 1, "one kernel was edited");
    write("include/two.cuh", "#pragma once\n#define TWO 3\n");
    assert_eq!(compiled(Prebuilt::Allow), 2, "two kernels include the header");
    write("k6.cu", &kernel(6, "/// @targets 75 80\n"));
    assert_eq!(compiled(Prebuilt::Allow), 2, "one kernel for two targets");
    fs::remove_file(out.join("k7.ptx")).unwrap();
    assert_eq!(compiled(Prebuilt::Allow), 1, "its PTX is gone");
    write("k10.cu", &kernel(10, ""));
    assert_eq!(compiled(Prebuilt::Allow), 1, "a kernel is new");
    fs::remove_file(kernels.join("k10.cu")).unwrap();
    assert_eq!(compiled(Prebuilt::Allow), 0, "a kernel is gone");
    assert!(built(Prebuilt::Allow).module("k10").is_none());

    // A header that Rust shares.
    write("include/shared.h", "#pragma once\n#define TILE 16\n");
    assert_eq!(compiled(Prebuilt::Allow), 0, "no kernel includes the header yet");
    assert_eq!(built(Prebuilt::Allow).headers.constants[0].value, "16");
    write("k3.cu", &kernel(3, "/// @block TILE\n"));
    assert_eq!(compiled(Prebuilt::Allow), 1);
    write("include/shared.h", "#pragma once\n#define TILE 32\n");
    assert_eq!(compiled(Prebuilt::Allow), 1, "a rule names the constant");
    assert!(fs::read_to_string(out.join("k3.ptx")).unwrap().contains(".reqntid 32, 1, 1"));

    // Prebuilt PTX.
    assert_eq!(compiled(Prebuilt::Never), 11, "all of it, and one for two targets");
    assert_eq!(compiled(Prebuilt::Write), 0, "what was built last is kept");
    fs::remove_dir_all(&out).unwrap();
    assert_eq!(compiled(Prebuilt::Allow), 0, "it is in the crate");

    // Another toolkit compiles again what the crate does not have.
    toolkit.release(&real, "13.1");
    assert_eq!(compiled(Prebuilt::Allow), 0, "the crate's own PTX is as good as ever");
    fs::remove_dir_all(kernels.join("prebuilt")).unwrap();
    assert_eq!(compiled(Prebuilt::Allow), 11);

    // Without nvcc, what has not changed can be built, and what has is named. (Under the target folder it would be found.)
    let elsewhere = tempfile::tempdir().unwrap();
    let (kernels_there, out) = (elsewhere.path().join("kernels"), elsewhere.path().join("out"));
    copy(&kernels, &kernels_there);
    copy(&root.join("out"), &out);
    let nowhere = elsewhere.path().join("nowhere");
    let path = std::env::var_os("PATH").unwrap_or_default();
    let without: Vec<_> = std::env::split_paths(&path).filter(|folder| !folder.join("nvcc").exists()).collect();
    // SAFETY: as above.
    unsafe {
        std::env::set_var("WARPWRIGHT_NVCC", &nowhere);
        std::env::set_var("PATH", std::env::join_paths(without).unwrap());
        std::env::remove_var("CUDA_HOME");
        std::env::remove_var("CUDA_PATH");
    }
    let built = || build(elsewhere.path(), "kernels", &out, Prebuilt::Allow);
    built().unwrap_or_else(|errors| panic!("{errors}"));
    fs::write(kernels_there.join("k5.cu"), kernel(5, "// edited again\n")).unwrap();
    let said = built().unwrap_err().to_string();
    for part in ["nvcc is needed to compile k5.cu", nowhere.to_str().unwrap(), "install the CUDA toolkit"] {
        assert!(said.contains(part), "{part}: {said}");
    }
    assert_eq!(toolkit.count(), 0);
}
