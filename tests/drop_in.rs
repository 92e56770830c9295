//! A new `.cu` file in a crate of its own, outside this workspace: nothing else is edited, and it launches.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

const AXPY: &str = r"// The textbook kernel.
#include <cstdint>

/// `y[i] += a * x[i]`
///
/// @grid  div_ceil(n, 256)
/// @block 256
/// @len   x == n
/// @len   y == n
/// @safe
__global__ void axpy(const float* __restrict__ x, float* __restrict__ y, float a, uint32_t n) {
    const uint32_t i = blockIdx.x * 256 + threadIdx.x;
    if (i < n) y[i] += a * x[i];
}

/// Counts without a contract.
__global__ void count(int* out) { out[threadIdx.x] = threadIdx.x; }
";

const MAIN: &str = r#"
use warpwright::Buffer;
use warpwright::launch::Geometry;

warpwright::kernels!("axpy");
use axpy::{Axpy, Count};

fn main() {
    let choice = std::env::var("WARPWRIGHT_DEVICE").map_or(Ok(Default::default()), |name| name.parse());
    warpwright_emulator::driver::select(choice.unwrap()).unwrap();
    let context = warpwright::device::open(0).unwrap();
    let kernels = Kernels::load(&context).unwrap();
    let stream = context.new_stream().unwrap();
    let queue = kernels.on(&stream);
    let x: Vec<f32> = (0..1000).map(|i| i as f32).collect();
    let x = Buffer::from_host(&stream, &x).unwrap();
    let mut y = Buffer::from_host(&stream, &[1.0f32; 1000]).unwrap();
    Axpy { x: &x, y: &mut y, a: 2.0, n: 1000 }.launch(&queue).unwrap();
    assert!(y.read().unwrap().iter().enumerate().all(|(i, y)| *y == 1.0 + 2.0 * i as f32));
    println!("{}", Axpy { x: &x, y: &mut y, a: 2.0, n: 1001 }.launch(&queue).unwrap_err());

    let mut out = Buffer::<i32>::zeroed(&stream, 8).unwrap();
    let geometry = Geometry { threads: [8, 1, 1], ..Geometry::default() };
    // SAFETY: the kernel writes one element a thread, and there are as many.
    unsafe { Count { out: &mut out }.launch(&queue, geometry) }.unwrap();
    println!("{:?}", out.read().unwrap());
}
"#;

/// The target folder of this test run, where the toolkit is found as well.
fn target() -> PathBuf {
    let executable = std::env::current_exe().unwrap();
    executable.ancestors().find(|folder| folder.ends_with("deps")).unwrap().ancestors().nth(2).unwrap().to_owned()
}

/// A crate in a folder of its own, with builds that are kept from one run of the tests to the next.
struct Crate {
    folder: tempfile::TempDir,
    target: PathBuf,
}

impl Crate {
    fn new(name: &str, source: &str) -> Self {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let folder = tempfile::tempdir().unwrap();
        let manifest = format!(
            "[package]\nname = \"{name}\"\nversion = \"0.1.0\"\nedition = \"2024\"\n[workspace]\n[dependencies]\n\
             warpwright = {{ path = {root:?} }}\nwarpwright-emulator = {{ path = {:?} }}\n[build-dependencies]\n\
             warpwright-build = {{ path = {:?} }}\n[profile.dev.package.warpwright-emulator]\nopt-level = 3\n",
            root.join("emulator"),
            root.join("build"),
        );
        let this = Self { folder, target: target().join("drop-in") };
        this.write("Cargo.toml", &manifest);
        // The same versions as here.
        fs::copy(root.join("Cargo.lock"), this.path("Cargo.lock")).unwrap();
        this.write("build.rs", "fn main() { warpwright_build::compile(\"kernels\"); }\n");
        this.write("src/main.rs", MAIN);
        this.write("kernels/axpy.cu", source);
        this
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        fs::create_dir_all(self.path(name).parent().unwrap()).unwrap();
        fs::write(self.path(name), text).unwrap();
    }

    fn cargo(&self, command: &str) -> Command {
        let mut cargo = Command::new(env!("CARGO"));
        cargo.current_dir(self.folder.path()).args([command, "--quiet"]).env("CARGO_TARGET_DIR", &self.target);
        // What cargo has set for this test is not meant for that crate.
        for name in ["OUT_DIR", "CARGO_MANIFEST_DIR", "CARGO_PKG_NAME"] {
            cargo.env_remove(name);
        }
        cargo
    }
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

#[test]
fn a_dropped_kernel_launches() {
    let axpy = Crate::new("axpy-user", AXPY);
    let output = axpy.cargo("run").output().unwrap();
    let shown = text(&output);
    assert!(output.status.success(), "{shown}");
    assert!(shown.contains("kernel `axpy`: `x` has 1000 elements, and the contract says `x == n`, 1001"), "{shown}");
    assert!(shown.contains("[0, 1, 2, 3, 4, 5, 6, 7]"), "{shown}");
}

#[test]
fn a_kernel_that_cannot_be_built_says_why() {
    let cases = [
        (AXPY.replace("@len   x == n", "@len   z == n"), "`@len` names `z`", "kernels/axpy.cu:8"),
        (AXPY.replace("y[i] += a", "y[i] += b"), "identifier \"b\" is undefined", "axpy.cu(13)"),
        (AXPY.replace("int* out", "long double* out"), "parameter `out` has the type", "kernels/axpy.cu:17"),
    ];
    for (source, message, place) in cases {
        let broken = Crate::new("axpy-broken", &source);
        let output = broken.cargo("build").output().unwrap();
        let shown = text(&output);
        assert!(!output.status.success() && shown.contains(message) && shown.contains(place), "{shown}");
    }
}

#[test]
fn without_nvcc_the_error_says_where_it_was_looked_for() {
    let axpy = Crate::new("axpy-without", AXPY);
    let nowhere = axpy.path("nowhere");
    let mut cargo = axpy.cargo("build");
    // A target folder of its own, with no toolkit in a folder around it.
    cargo.env("CARGO_TARGET_DIR", axpy.path("target")).env("WARPWRIGHT_NVCC", &nowhere);
    let path = std::env::var_os("PATH").unwrap_or_default();
    let without: Vec<_> = std::env::split_paths(&path).filter(|folder| !folder.join("nvcc").exists()).collect();
    cargo.env("PATH", std::env::join_paths(without).unwrap()).env_remove("CUDA_HOME").env_remove("CUDA_PATH");
    let output = cargo.output().unwrap();
    let shown = text(&output);
    assert!(!output.status.success(), "{shown}");
    for part in ["nvcc is needed to compile axpy.cu", nowhere.to_str().unwrap(), "install the CUDA toolkit"] {
        assert!(shown.contains(part), "{part}: {shown}");
    }
}
