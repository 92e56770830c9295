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

/// Launches what `tests/authoring` has: structs, templates, kernels made by macros, several targets.
const AUTHORING: &str = r#"
use warpwright::Buffer;
use warpwright::launch::LaunchError;
use warpwright::types::{bf16, f16};

warpwright::kernels!();
use include::{MODE_SCALE, Params, THREADS, TILE, Window};
use made::{AddArrays, MulArrays, Plain};
use structs::{AddFields, Follow, ScaleRows};
use targets::Architecture;
use templates::{Convert, Count, GemvBytes4, GemvWords1, MatmulNibbles1_1, MatmulNibbles2_8, MatmulOctets2, Scale};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let choice = std::env::var("WARPWRIGHT_DEVICE").map_or(Ok(Default::default()), |name| name.parse());
    warpwright_emulator::driver::select(choice?)?;
    let context = warpwright::device::open(0)?;
    let kernels = Kernels::load(&context)?;
    let stream = context.new_stream()?;
    let queue = kernels.on(&stream);

    // structs by value and by pointer, constants from the header
    let windows = [Window { first: 1, last: 9 }, Window { first: 0, last: 3 }];
    let params = Params { dim: TILE, scale: 2.0, windows, mode: MODE_SCALE, reserved: 0 };
    let also = Buffer::from_host(&stream, &[Params { scale: 5.0, ..params }])?;
    let mut x = Buffer::from_host(&stream, &[1.0f32; 2 * TILE as usize])?;
    ScaleRows { x: &mut x, also: &also, params, rows: 2 }.launch(&queue)?;
    let mut expected = [1.0; TILE as usize];
    expected[1..=3].fill(10.0);
    assert_eq!(x.read()?, expected.repeat(2));
    assert_eq!(THREADS, 128);
    // not aligned as the rule that names a constant says
    let error = ScaleRows { x: &mut x.slice(1..17)?, also: &also, params, rows: 1 }.launch(&queue).unwrap_err();
    assert!(matches!(error, LaunchError::Alignment { alignment: 16, .. }), "{error}");
    let mut links = Buffer::from_host(&stream, &[include::Link { next: 0, length: 0 }])?;
    // SAFETY: the kernel does not follow the pointer.
    unsafe { Follow { link: &mut links, window: windows[0], mode: 7 }.launch(&queue, warpwright::launch::Geometry::default()) }?;
    assert_eq!(links.read()?[0].length, 8);

    let mut sum = Buffer::from_host(&stream, &[0u32])?;
    AddFields { sum: &mut sum, named: include::Named { type_: 3, in_: 4 } }.launch(&queue)?;
    assert_eq!(sum.read()?, [7]);
    assert_eq!((include::LARGEST, include::LOWEST), (u64::MAX, -3));

    // one launcher for the instances over elements, others by their names
    let mut floats = Buffer::from_host(&stream, &[1.5f32, 2.0])?;
    let mut halves = Buffer::from_host(&stream, &[f16::from_f32(1.5); 3])?;
    let mut brains = Buffer::from_host(&stream, &[bf16::from_f32(1.5)])?;
    let mut whole = Buffer::from_host(&stream, &[7i32])?;
    Scale { x: &mut floats, a: 2.0, n: 2 }.launch(&queue)?;
    Scale { x: &mut halves, a: f16::from_f32(4.0), n: 3 }.launch(&queue)?;
    Scale { x: &mut brains, a: bf16::from_f32(2.0), n: 1 }.launch(&queue)?;
    Scale { x: &mut whole, a: -3, n: 1 }.launch(&queue)?;
    assert_eq!((floats.read()?, whole.read()?), (vec![3.0, 4.0], vec![-21]));
    assert_eq!((halves.read()?[2], brains.read()?[0]), (f16::from_f32(6.0), bf16::from_f32(3.0)));
    println!("{}", Scale { x: &mut halves, a: f16::ONE, n: 4 }.launch(&queue).unwrap_err());
    let mut as_halves = Buffer::from_host(&stream, &[f16::ZERO; 2])?;
    Convert { x: &floats, y: &mut as_halves, n: 2 }.launch(&queue)?;
    assert_eq!(as_halves.read()?[1], f16::from_f32(4.0));
    Convert { x: &whole, y: &mut floats.slice(..1)?, n: 1 }.launch(&queue)?;
    assert_eq!(floats.read()?, [-21.0, 4.0]);
    let bytes = Buffer::from_host(&stream, &[250u8, 6])?;
    let mut sum = Buffer::from_host(&stream, &[0u32])?;
    GemvBytes4 { x: &bytes, y: &mut sum, n: 2 }.launch(&queue)?;
    assert_eq!(sum.read()?, [1024]);
    let mut sum = Buffer::from_host(&stream, &[0i64])?;
    GemvWords1 { x: &whole, y: &mut sum, n: 1 }.launch(&queue)?;
    assert_eq!(sum.read()?, [-21]);

    // a number that rules compute with is an argument of the template
    let mut short = Buffer::from_host(&stream, &[0u32; 3])?;
    let mut long = Buffer::from_host(&stream, &[0u64; 2])?;
    Count { x: &mut short, n: 3, first: 7 }.launch(&queue)?;
    Count { x: &mut long, n: 2, first: 1 << 40 }.launch(&queue)?;
    assert_eq!((short.read()?, long.read()?), (vec![7, 8, 9], vec![1 << 40, (1 << 40) + 1]));
    let error = Count { x: &mut long, n: u64::MAX, first: 0 }.launch(&queue).unwrap_err();
    assert!(matches!(error, LaunchError::Arithmetic { rule: "x == n", .. }), "{error}");

    // constants of an instance: one row 0, 1, .. 7, 0, .. and one of minus ones, times tokens of ones and of twos
    let (rows, chunks, tokens) = (2, 1, 2);
    let x = Buffer::from_host(&stream, &[[1.0f32; 32], [2.0; 32]].concat())?;
    let nibbles = Buffer::from_host(&stream, &[[0x76543210u32; 4], [u32::MAX; 4]].concat())?;
    let (one, two) = (Buffer::from_host(&stream, &[1.0f32, 0.5])?, Buffer::from_host(&stream, &[1.0f32, 3.0, 0.5, 1.5])?);
    let mut y = Buffer::from_host(&stream, &[f32::NAN; 4])?;
    MatmulNibbles1_1 { words: &nibbles, scales: &one, x: &x, y: &mut y, rows, chunks, tokens }.launch(&queue)?;
    assert_eq!(y.read()?, [112.0, -16.0, 224.0, -32.0]);
    MatmulNibbles2_8 { words: &nibbles, scales: &two, x: &x, y: &mut y, rows, chunks, tokens }.launch(&queue)?;
    assert_eq!(y.read()?, [224.0, -32.0, 448.0, -64.0]);
    let octets = Buffer::from_host(&stream, &[[0x03020100u32; 8], [u32::MAX; 8]].concat())?;
    MatmulOctets2 { words: &octets, scales: &one, x: &x, y: &mut y, rows, chunks, tokens }.launch(&queue)?;
    assert_eq!(y.read()?, [48.0, -16.0, 96.0, -32.0]);
    // the buffers of one are not those of another
    let wrong = MatmulOctets2 { words: &nibbles, scales: &one, x: &x, y: &mut y, rows, chunks, tokens };
    println!("{}", wrong.launch(&queue).unwrap_err());
    let error = MatmulNibbles2_8 { words: &nibbles, scales: &one, x: &x, y: &mut y, rows, chunks, tokens };
    assert!(matches!(error.launch(&queue).unwrap_err(), LaunchError::Length { .. }));
    // more tokens than a block has, in the second dimension of the grid
    let tokens = 17;
    let x = Buffer::from_host(&stream, &[1.0f32; 17 * 32])?;
    let mut y = Buffer::from_host(&stream, &[f32::NAN; 17 * 2])?;
    MatmulNibbles2_8 { words: &nibbles, scales: &two, x: &x, y: &mut y, rows, chunks, tokens }.launch(&queue)?;
    assert_eq!(y.read()?, [224.0, -32.0].repeat(17));

    // made by macros; a name that C gave; a pointer that may be null
    let (a, b) = (Buffer::from_host(&stream, &[3.0f32; 300])?, Buffer::from_host(&stream, &[4.0f32; 300])?);
    let mut out = Buffer::from_host(&stream, &[f32::NAN; 300])?;
    AddArrays { a: &a, b: &b, out: &mut out, n: 300 }.launch(&queue)?;
    assert_eq!(out.read()?, [7.0; 300]);
    // SAFETY: 300 threads, as long as the arrays.
    unsafe {
        let geometry = warpwright::launch::Geometry { blocks: [2, 1, 1], threads: [256, 1, 1], ..Default::default() };
        MulArrays { a: &a, b: &b, out: &mut out, n: 300 }.launch(&queue, geometry)
    }?;
    assert_eq!(out.read()?, [12.0; 300]);
    let mut one = Buffer::from_host(&stream, &[1.0f32])?;
    let (yes, no) = (Buffer::from_host(&stream, &[1u8])?, Buffer::from_host(&stream, &[0u8])?);
    Plain { x: &mut one, mask: Some(&yes), negate: true }.launch(&queue)?;
    Plain { x: &mut one, mask: Some(&no), negate: true }.launch(&queue)?;
    assert_eq!(one.read()?, [-1.0]);
    Plain { x: &mut one, mask: None::<&Buffer<u8>>, negate: true }.launch(&queue)?;
    assert_eq!(one.read()?, [1.0]);
    let long = Buffer::from_host(&stream, &[1u8; 2])?;
    println!("{}", Plain { x: &mut one, mask: Some(&long), negate: true }.launch(&queue).unwrap_err());

    // the best target that the device runs
    let mut architecture = Buffer::from_host(&stream, &[0u32])?;
    Architecture { out: &mut architecture }.launch(&queue)?;
    assert_eq!(architecture.read()?, [800]);
    println!("all right");
    Ok(())
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

    /// Adds files to the kernels.
    fn add_kernels(&self, from: &Path, to: &str) {
        for entry in fs::read_dir(from).unwrap() {
            let entry = entry.unwrap();
            let name = format!("{to}/{}", entry.file_name().to_str().unwrap());
            match entry.file_type().unwrap().is_dir() {
                true => self.add_kernels(&entry.path(), &name),
                false => self.write(&name, &fs::read_to_string(entry.path()).unwrap()),
            }
        }
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
fn all_that_kernels_are_written_with_launches() {
    let authoring = Crate::new("authoring-user", AXPY);
    authoring.add_kernels(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/authoring/kernels"), "kernels");
    fs::remove_dir_all(authoring.path("kernels/prebuilt")).unwrap();
    authoring.write("src/main.rs", AUTHORING);
    let shown = text(&authoring.cargo("run").output().unwrap());
    assert!(shown.contains("kernel `scale<__half>`: `x` has 3 elements, and the contract says `x == n`, 4"), "{shown}");
    let words = "kernel `matmul<ops::Octets, 2>`: `words` has 8 elements, and the contract says `words == rows * chunks * W::WORDS`, 16";
    assert!(shown.contains(words), "{shown}");
    assert!(shown.contains("kernel `plain`: `mask` has 2 elements, and the contract says `mask == 1`"), "{shown}");
    assert!(shown.contains("all right"), "{shown}");
}

#[test]
fn a_kernel_that_cannot_be_built_says_why() {
    let broken = Crate::new("axpy-broken", &AXPY.replace("y[i] += a", "y[i] += b"));
    let output = broken.cargo("build").output().unwrap();
    let shown = text(&output);
    assert!(!output.status.success() && shown.contains("identifier \"b\" is undefined"), "{shown}");
    assert!(shown.contains("kernels/axpy.cu:13"), "{shown}");
}
