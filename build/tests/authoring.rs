//! Everything that kernels may be written with, compiled: what the manifest says of it, and that it is the same wherever
//! it is made.
#![cfg(feature = "compile")]

use std::fs;
use std::path::{Path, PathBuf};

use warpwright_build::manifest::{Kernel, Manifest};
use warpwright_build::names::launchers;
use warpwright_build::{Prebuilt, build};

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

/// Builds a copy of the kernels in a folder of its own under the target folder, where the toolkit is found.
fn built(name: &str) -> (Manifest, PathBuf) {
    let root = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    let _ = fs::remove_dir_all(&root);
    let kernels = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/authoring/kernels");
    copy(&kernels, &root.join("kernels"));
    fs::remove_dir_all(root.join("kernels/prebuilt")).unwrap();
    let out = root.join("out");
    let manifest = build(&root, "kernels", &out, Prebuilt::Allow).unwrap_or_else(|errors| panic!("{errors}"));
    (manifest, out)
}

fn kernels(manifest: &Manifest, module: &str) -> Vec<String> {
    manifest.module(module).unwrap().kernels.iter().map(|kernel| kernel.signature()).collect()
}

#[test]
fn every_kernel_has_its_signature() {
    let (manifest, out) = built("authoring");
    assert_eq!(
        kernels(&manifest, "structs"),
        [
            "scale_rows(float* x, const Params* also, Params params, unsigned int rows)",
            "follow(Link* link, Window window, unsigned int mode)",
            "add_fields(unsigned int* sum, Named named)"
        ]
    );
    assert_eq!(
        kernels(&manifest, "templates"),
        [
            "scale<float>(float* x, float a, unsigned int n)",
            "scale<__half>(__half* x, __half a, unsigned int n)",
            "scale<int>(int* x, int a, unsigned int n)",
            "scale<__nv_bfloat16>(__nv_bfloat16* x, __nv_bfloat16 a, unsigned int n)",
            "convert<float, __half>(const float* x, __half* y, unsigned int n)",
            "convert<int, float>(const int* x, float* y, unsigned int n)",
            "count<unsigned int>(unsigned int* x, unsigned int n, unsigned int first)",
            "count<unsigned long>(unsigned long* x, unsigned long n, unsigned long first)",
            "matmul<Nibbles<1>, 1>(const unsigned int* words, const float* scales, const float* x, float* y, \
             unsigned int rows, unsigned int chunks, unsigned int tokens)",
            "matmul<Nibbles<2>, 8>(const unsigned int* words, const float* scales, const float* x, float* y, \
             unsigned int rows, unsigned int chunks, unsigned int tokens)",
            "matmul<ops::Octets, 2>(const unsigned int* words, const float* scales, const float* x, float* y, \
             unsigned int rows, unsigned int chunks, unsigned int tokens)",
            "gemv<Bytes, 4>(const unsigned char* x, unsigned int* y, unsigned int n)",
            "gemv<Words, 1>(const int* x, long* y, unsigned int n)",
        ]
    );
    assert_eq!(
        kernels(&manifest, "made"),
        [
            "add_arrays(const float* a, const float* b, float* out, unsigned int n)",
            "mul_arrays(const float* a, const float* b, float* out, unsigned int n)",
            "plain(float* x, const unsigned char* mask, bool negate)"
        ]
    );

    // what the headers share
    let constants: Vec<String> =
        manifest.headers.constants.iter().map(|c| format!("{}: {} = {}", c.name, c.ty.rust(), c.value)).collect();
    assert_eq!(
        constants,
        [
            "TILE: u32 = 16",
            "LOWEST: i32 = -3",
            "LARGEST: u64 = 18446744073709551615",
            "MODE_KEEP: u32 = 0",
            "MODE_SCALE: u32 = 7",
            "WARPS: u32 = 4",
            "THREADS: u32 = 128",
            "HALF: f32 = 0.5"
        ]
    );
    let structs: Vec<_> = manifest.headers.structs.iter().map(|s| (s.name.as_str(), s.size, s.fields.len())).collect();
    assert_eq!(structs, [("Window", 4, 2), ("Params", 24, 5), ("Named", 8, 2), ("Link", 16, 2)]);
    let inputs: Vec<_> = manifest.headers.inputs.iter().map(|input| input.path.as_str()).collect();
    assert_eq!(inputs, ["include/mode.h", "include/params.h"]);

    // contracts
    let contract = |module: &str, kernel: usize| {
        let kernel = &manifest.module(module).unwrap().kernels[kernel];
        (kernel.contract(&manifest.headers).unwrap(), kernel)
    };
    let (scale_rows, kernel) = contract("structs", 0);
    assert_eq!(scale_rows.block.as_ref().unwrap().constant(), Some([128, 1, 1]));
    assert!(scale_rows.safe && scale_rows.missing(&kernel.scope()).is_empty());
    let (follow, kernel) = contract("structs", 1);
    assert!(follow.missing(&kernel.scope()).iter().any(|missing| missing.contains("pointers in `link`")));
    // an instance has its own constants, in its rules and in the block that the driver demands
    let matmul = |number: usize| {
        let (contract, kernel) = contract("templates", 8 + number);
        let constants: Vec<_> = kernel.constants.iter().map(|(name, value)| format!("{name} = {value}")).collect();
        let lengths: Vec<_> = contract.lengths.iter().map(|length| length.elements.to_string()).collect();
        (constants.join(", "), lengths[..3].join(", "), contract.block.unwrap().constant().unwrap())
    };
    let (constants, lengths, block) = matmul(1);
    assert_eq!(constants, "TOKENS = 8, W::BITS = 4, W::SCALES = 2, W::WORDS = 4");
    assert_eq!(lengths, "((rows * chunks) * 4), ((rows * chunks) * 2), (((tokens * chunks) * 4) * (32 / 4))");
    assert_eq!(block, [4, 8, 1]);
    assert_eq!(matmul(2).0, "TOKENS = 2, W::BITS = 8, W::SCALES = 1, W::WORDS = 8");
    let templates = manifest.module("templates").unwrap();
    let names: Vec<String> = launchers(templates).into_iter().map(|launcher| launcher.name).collect();
    assert_eq!(names[3..6], ["MatmulNibbles1_1", "MatmulNibbles2_8", "MatmulOctets2"]);
    let documented = |kernel: &Kernel| kernel.documentation.starts_with("`y[token, row]` is the dot product");
    assert!(templates.kernels[8..11].iter().all(documented));
    assert_eq!(contract("hopper", 0).0.programmatic, Some(vec!["x".to_owned()]));
    assert_eq!(contract("clusters", 0).1.cluster, Some([2, 1, 1]));
    assert!(contract("clusters", 1).1.cluster.is_none() && contract("clusters", 1).0.cooperative);

    // targets, and what the assembler says
    let images = |module: &str| {
        let images = manifest.module(module).unwrap().images.iter();
        images.map(|image| (image.target.to_string(), image.ptx.clone())).collect::<Vec<_>>()
    };
    let named = |target: &str, ptx: &str| (target.to_owned(), ptx.to_owned());
    assert_eq!(images("structs"), [named("75", "structs.ptx")]);
    assert_eq!(images("targets"), [named("75", "targets.75.ptx"), named("80", "targets.80.ptx")]);
    for image in manifest.modules.iter().flat_map(|module| &module.images) {
        let ptx = fs::read_to_string(out.join(&image.ptx)).unwrap();
        let version = warpwright_build::ptx_version(&ptx).unwrap();
        assert!((image.target.first_ptx()..=80).contains(&version), "{}: {version}", image.ptx);
        assert!(!ptx.contains("warpwright_signature") && !ptx.contains(env!("CARGO_TARGET_TMPDIR")), "{}", image.ptx);
        assert!(ptx.contains("\"kernels/") && ptx.contains(".reqntid"), "{}", image.ptx);
    }
    assert!(manifest.modules.iter().flat_map(|module| &module.images).all(|image| !image.resources.is_empty()));
}

#[test]
fn it_is_the_same_wherever_it_is_made() {
    let (here, out_here) = built("somewhere");
    let (there, out_there) = built("else/where with spaces");
    assert_eq!(here, there);
    for image in here.modules.iter().flat_map(|module| &module.images) {
        assert_eq!(fs::read(out_here.join(&image.ptx)).unwrap(), fs::read(out_there.join(&image.ptx)).unwrap());
    }
}
