//! Names the shared library `libcuda.so`, and writes the functions of CUDA 12.0 that `src/api.rs` has not.

use std::path::PathBuf;
use std::{env, fs, io};

fn main() -> io::Result<()> {
    for file in ["build.rs", "symbols.txt", "src/api.rs"] {
        println!("cargo::rerun-if-changed={file}");
    }
    println!("cargo::rustc-cdylib-link-arg=-Wl,-soname,libcuda.so");
    let written = fs::read_to_string("src/api.rs")?;
    let symbols = fs::read_to_string("symbols.txt")?;
    let mut rest = String::from("macro_rules! rest {\n    ($macro:ident) => {\n        $macro! {\n");
    for symbol in symbols.lines().filter(|line| !line.starts_with('#')) {
        if !written.contains(&format!("fn {symbol}(")) {
            rest.push_str(&format!("            fn {symbol}();\n"));
        }
    }
    rest.push_str("        }\n    };\n}\n");
    let out = PathBuf::from(env::var_os("OUT_DIR").unwrap_or_default());
    fs::write(out.join("rest.rs"), rest)
}
