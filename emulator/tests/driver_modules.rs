//! Modules, fat binaries, compiler options and logs, the linker, libraries and kernels through the driver API.

mod cuda;

use std::ffi::{CStr, c_char, c_void};
use std::ptr::{null, null_mut};

use cuda::*;

/// Fat binaries that nvcc made of `data/scale.cu`.
const PLAIN: &[u8] = include_bytes!("data/scale-plain.fatbin");
const LZ4: &[u8] = include_bytes!("data/scale-lz4.fatbin");
const ZSTD: &[u8] = include_bytes!("data/scale-zstd.fatbin");

/// PTX with one kernel, which does nothing, and a constant and a global variable.
fn ptx(kernel: &str, target: &str, version: &str) -> String {
    format!(
        ".version {version}\n.target {target}\n.address_size 64\n.const .align 4 .u32 table[3] = {{1, 2, 3}};\n\
         .global .align 4 .u32 counter = 7;\n.visible .entry {kernel}(.param .u64 p, .param .u16 q) {{\nret;\n}}\n"
    )
}

/// A fat binary with these entries: kind, architecture, data. Laid out as nvcc does it.
fn fatbin(entries: &[(u16, u32, &[u8])]) -> Vec<u8> {
    let mut body = Vec::new();
    for (kind, capability, data) in entries {
        let size = data.len().next_multiple_of(8);
        let mut header = [0u8; 64];
        header[..2].copy_from_slice(&kind.to_le_bytes());
        header[2..4].copy_from_slice(&0x101u16.to_le_bytes());
        header[4..8].copy_from_slice(&64u32.to_le_bytes());
        header[8..16].copy_from_slice(&(size as u64).to_le_bytes());
        header[28..32].copy_from_slice(&capability.to_le_bytes());
        body.extend(header);
        body.extend(*data);
        body.resize(body.len() + size - data.len(), 0);
    }
    let mut whole = 0xBA55_ED50u32.to_le_bytes().to_vec();
    whole.extend([1, 0, 16, 0]);
    whole.extend((body.len() as u64).to_le_bytes());
    whole.extend(body);
    whole
}

fn load(image: &[u8]) -> Result<Handle, Code> {
    let mut module = 0;
    match cuModuleLoadData(&mut module, image.as_ptr().cast()) {
        SUCCESS => Ok(module),
        code => Err(code),
    }
}

/// Loads an image with options, and returns the code and both logs. The values are as the driver left them.
fn load_with(image: &[u8], more: &[(i32, usize)], size: usize) -> (Code, String, String, Vec<usize>) {
    let (mut info, mut error) = (vec![0xEEu8; size + 1], vec![0xEEu8; size + 1]);
    let mut options = vec![3, 4, 5, 6];
    let mut values = vec![info.as_mut_ptr() as usize, size, error.as_mut_ptr() as usize, size];
    options.extend(more.iter().map(|(option, _)| *option));
    values.extend(more.iter().map(|(_, value)| *value));
    let mut module = 0;
    let count = options.len() as u32;
    let code =
        cuModuleLoadDataEx(&mut module, image.as_ptr().cast(), count, options.as_ptr(), values.as_mut_ptr().cast());
    assert_eq!((info[size], error[size]), (0xEE, 0xEE), "past the end of a log");
    let text = |log: &[u8], length: usize| {
        assert_eq!(log[length], 0);
        String::from_utf8(log[..length].to_vec()).unwrap()
    };
    let (info, error) =
        if code == INVALID_VALUE { Default::default() } else { (text(&info, values[1]), text(&error, values[3])) };
    (code, info, error, values[4..].to_vec())
}

#[test]
fn fat_binaries_of_nvcc_are_unpacked() {
    context();
    for image in [PLAIN, LZ4, ZSTD] {
        let module = load(image).unwrap();
        let mut x = [1.0f32, 2.0, 3.0, 4.0];
        let memory = upload(&x.map(f32::to_bits));
        ok(launch(function(module, "scale"), 32, 0, &[memory, 2.5f32.to_bits().into(), 3]));
        x.iter_mut().take(3).for_each(|x| *x *= 2.5);
        assert_eq!(results(memory, 4), x.map(f32::to_bits));
        // by the pointer in compiled host code, by the function for fat binaries, from a file, as a library
        let wrapper = [0x0000_0001_4662_43B1, image.as_ptr() as u64, 0];
        let mut other = made(|other| cuModuleLoadFatBinary(other, wrapper.as_ptr().cast()));
        function(other, "count");
        let path = std::env::temp_dir().join(format!("warpwright-{}-{}.fatbin", std::process::id(), image.len()));
        std::fs::write(&path, image).unwrap();
        ok(cuModuleLoad(&mut other, text(path.to_str().unwrap()).as_ptr()));
        std::fs::remove_file(&path).unwrap();
        function(other, "count");
    }
    let mut module = 0;
    assert_eq!(cuModuleLoad(&mut module, text("/nowhere/at/all").as_ptr()), FILE_NOT_FOUND);
}

#[test]
fn the_ptx_that_fits_best_is_taken() {
    context();
    let texts = [("seventies", 75), ("nineties", 90), ("eighties", 80), ("hundreds", 100)]
        .map(|(kernel, target)| (target, ptx(kernel, &format!("sm_{target}"), "8.0")));
    let entries: Vec<(u16, u32, &[u8])> = texts.iter().map(|(target, text)| (1, *target, text.as_bytes())).collect();
    let module = load(&fatbin(&entries)).unwrap();
    function(module, "nineties");
    let mut missing = 0;
    assert_eq!(cuModuleGetFunction(&mut missing, module, text("eighties").as_ptr()), NOT_FOUND);
    // nothing for this device: too new, or compiled
    let (code, _, why, _) = load_with(&fatbin(&entries[3..]), &[], 500);
    assert_eq!(code, NO_BINARY_FOR_GPU);
    assert!(why.contains("PTX for sm_100"), "{why}");
    let (code, _, why, _) = load_with(&fatbin(&[(2, 90, b"\x7fELF")]), &[], 500);
    assert_eq!(code, NO_BINARY_FOR_GPU);
    assert!(why.contains("compiled code for sm_90"), "{why}");
    let (code, _, why, _) = load_with(b"\x7fELF\x02\x01\x01", &[], 500);
    assert_eq!(code, NO_BINARY_FOR_GPU);
    assert!(why.contains("cubin"), "{why}");
    // damaged: entries that are longer than the whole, data that is not what it says; in every byte of a real one
    let mut cut = fatbin(&entries[..1]);
    cut[24] = 0xFF;
    assert_eq!(load(&cut), Err(INVALID_IMAGE));
    for image in [LZ4, ZSTD] {
        for at in 16..image.len() {
            let mut damaged = image.to_vec();
            damaged[at] ^= 0x55;
            // It may load by chance; it may not do more harm than that.
            if let Ok(module) = load(&damaged) {
                ok(cuModuleUnload(module));
            }
        }
        let mut damaged = image.to_vec();
        damaged[0x60..0x80].fill(0xFF);
        assert_eq!(load(&damaged), Err(INVALID_IMAGE));
    }
    assert_eq!(cuModuleLoadData(&mut missing, null()), INVALID_VALUE);
}

#[test]
fn options_and_logs() {
    context();
    let good = text(&ptx("k", "sm_80", "8.0"));
    let good = good.as_bytes_with_nul();
    let (code, info, error, _) = load_with(good, &[], 100);
    assert_eq!((code, info.as_str(), error.as_str()), (SUCCESS, "", ""));
    // verbose, with a time that is a number
    let (code, info, _, values) = load_with(good, &[(12, 1), (2, usize::MAX), (7, 4), (13, 1), (0, 64)], 300);
    assert_eq!(code, SUCCESS);
    assert!(info.contains("kernel k: 10 bytes of parameters"), "{info}");
    let time = f32::from_bits(values[1] as u32);
    assert!((0.0..60e3).contains(&time), "{time}");
    // an error, whole and cut to the room that there is
    let bad = text(".version 8.0\n.target sm_80\n.address_size 64\n.visible .entry k() {\nfrobnicate;\n}\n");
    let (code, _, whole, _) = load_with(bad.as_bytes_with_nul(), &[], 500);
    assert_eq!(code, INVALID_PTX);
    assert!(whole.contains('5') && whole.contains("frobnicate"), "{whole}");
    let (_, _, cut, _) = load_with(bad.as_bytes_with_nul(), &[], 8);
    assert_eq!(cut, whole[..7]);
    // values that options cannot have, and options that there are not
    for wrong in [(7, 5), (9, 91), (10, 2), (14, 3), (35, 0), (-1, 0)] {
        assert_eq!(load_with(good, &[wrong], 100).0, INVALID_VALUE, "{wrong:?}");
    }
    assert_eq!(load_with(good, &[(9, 80), (1, 128)], 100).0, INVALID_VALUE);
    assert_eq!(load_with(good, &[(9, 90)], 100).0, SUCCESS);
    let (code, _, why, _) = load_with(good, &[(9, 100)], 100);
    assert_eq!(code, NO_BINARY_FOR_GPU);
    assert!(why.contains("sm_100"), "{why}");
    let mut module = 0;
    assert_eq!(cuModuleLoadDataEx(&mut module, good.as_ptr().cast(), 1, null(), null_mut()), INVALID_VALUE);
    // newer than the driver, and than the device
    let newer = text(&ptx("k", "sm_80", "9.9"));
    assert_eq!(load(newer.as_bytes_with_nul()), Err(UNSUPPORTED_PTX_VERSION));
    let (code, _, why, _) = load_with(text(&ptx("k", "sm_120", "8.8")).as_bytes_with_nul(), &[], 200);
    assert_eq!(code, INVALID_PTX);
    assert!(why.contains("sm_120"), "{why}");
    // a limit of registers shows
    let (mut limited, mut registers) = (0, 0);
    let mut limit = [16 as *mut c_void];
    ok(cuModuleLoadDataEx(&mut limited, good.as_ptr().cast(), 1, &0, limit.as_mut_ptr()));
    ok(cuFuncGetAttribute(&mut registers, 4, function(limited, "k")));
    assert!((1..=16).contains(&registers));
}

#[test]
fn modules_tell_what_they_have() {
    context();
    let module = module(PTX);
    let count = made(|count| cuModuleGetFunctionCount(count, module));
    let mut functions = [0; 6];
    ok(cuModuleEnumerateFunctions(functions.as_mut_ptr(), 6, module));
    assert_eq!(count, 4);
    assert_eq!(
        functions,
        [function(module, "put"), function(module, "add"), function(module, "log"), function(module, "copy"), 0, 0]
    );
    assert_eq!(cuModuleEnumerateFunctions(null_mut(), 6, module), INVALID_VALUE);
    let (mut name, mut owner, mut state, mut mode) = (null(), 0, 9, 0);
    ok(cuFuncGetName(&mut name, functions[3]));
    // SAFETY: the driver keeps the name.
    assert_eq!(unsafe { CStr::from_ptr(name) }.to_str(), Ok("copy"));
    ok(cuFuncGetModule(&mut owner, functions[0]));
    ok(cuFuncLoad(functions[0]));
    ok(cuFuncIsLoaded(&mut state, functions[0]));
    ok(cuModuleGetLoadingMode(&mut mode));
    assert_eq!((owner, state, mode), (module, 1, 1));
    let other = cuda::module(&ptx("k", "sm_80", "8.0"));
    let (mut address, mut bytes) = (0, 0);
    ok(cuModuleGetGlobal_v2(&mut address, &mut bytes, other, text("table").as_ptr()));
    assert_eq!((results(address, 3), bytes), (vec![1, 2, 3], 12));
    ok(cuModuleGetGlobal_v2(null_mut(), &mut bytes, other, text("counter").as_ptr()));
    assert_eq!(bytes, 4);
    assert_eq!(cuModuleGetGlobal_v2(&mut address, &mut bytes, other, text("tab").as_ptr()), NOT_FOUND);
    assert_eq!(cuModuleGetTexRef(&mut owner, other, text("table").as_ptr()), NOT_FOUND);
    ok(cuModuleUnload(module));
    assert_eq!(cuModuleUnload(module), INVALID_HANDLE);
    assert_eq!(cuFuncGetName(&mut name, functions[3]), INVALID_HANDLE);
}

#[test]
fn libraries_are_loaded_into_each_context() {
    let first = context();
    let image = text(&format!("{PTX}.global .align 4 .u32 counter = 7;\n"));
    let (mut library, none) = (0, null_mut());
    ok(cuLibraryLoadData(&mut library, image.as_ptr().cast(), null(), none, 0, null(), none, 0));
    let count = made(|count| cuLibraryGetKernelCount(count, library));
    let (mut kernels, mut put) = ([0; 4], 0);
    ok(cuLibraryEnumerateKernels(kernels.as_mut_ptr(), 4, library));
    ok(cuLibraryGetKernel(&mut put, library, text("put").as_ptr()));
    assert_eq!((count, kernels[0]), (4, put));
    assert_eq!(cuLibraryGetKernel(&mut 0, library, text("no").as_ptr()), NOT_FOUND);
    let (mut name, mut owner, mut offset, mut size) = (null(), 0, 9, 9);
    ok(cuKernelGetName(&mut name, kernels[2]));
    // SAFETY: the driver keeps the name.
    assert_eq!(unsafe { CStr::from_ptr(name) }.to_str(), Ok("log"));
    ok(cuKernelGetLibrary(&mut owner, put));
    ok(cuKernelGetParamInfo(put, 1, &mut offset, &mut size));
    assert_eq!((owner, offset, size), (library, 8, 4));
    assert_eq!(cuKernelGetParamInfo(put, 2, &mut offset, &mut size), INVALID_VALUE);
    // A kernel can be launched itself, and is a function of each context.
    let memory = upload(&[0]);
    ok(launch(put, 1, 0, &[memory, 5]));
    assert_eq!(results(memory, 1), [5]);
    let in_context = || {
        let (mut function, mut module, mut address, mut bytes) = (0, 0, 0, 0);
        ok(cuKernelGetFunction(&mut function, put));
        ok(cuLibraryGetModule(&mut module, library));
        ok(cuLibraryGetGlobal(&mut address, &mut bytes, library, text("counter").as_ptr()));
        assert_eq!((results(address, 1), bytes), (vec![7], 4));
        assert_eq!(cuda::function(module, "put"), function);
        (function, module, address)
    };
    let here = in_context();
    assert_eq!(in_context(), here);
    // what is set of the kernel is set of the function
    ok(cuKernelSetAttribute(8, 100_000, put, 0));
    let mut value = made(|value| cuFuncGetAttribute(value, 8, here.0));
    assert_eq!(value, 100_000);
    ok(cuKernelGetAttribute(&mut value, 6, put, 0));
    assert_eq!(value, 90);
    assert_eq!(cuKernelGetAttribute(&mut value, 6, put, 99), 101);
    let second = context();
    assert_ne!(first, second);
    let there = in_context();
    assert!(here.0 != there.0 && here.1 != there.1 && here.2 != there.2);
    assert_eq!(cuLibraryGetManaged(null_mut(), null_mut(), library, text("counter").as_ptr()), NOT_FOUND);
    ok(cuLibraryUnload(library));
    assert_eq!(cuLibraryUnload(library), INVALID_HANDLE);
    assert_eq!(cuKernelGetFunction(&mut 0, put), INVALID_HANDLE);
    assert_eq!(launch(put, 1, 0, &[memory, 5]), INVALID_HANDLE);
    // from a file, with options; options that there are not
    let path = std::env::temp_dir().join(format!("warpwright-{}.ptx", std::process::id()));
    std::fs::write(&path, PTX).unwrap();
    let file = text(path.to_str().unwrap());
    ok(cuLibraryLoadFromFile(&mut library, file.as_ptr(), null(), none, 0, &1, none, 1));
    assert_eq!(cuLibraryLoadFromFile(&mut library, file.as_ptr(), null(), none, 0, &2, none, 1), INVALID_VALUE);
    std::fs::remove_file(&path).unwrap();
    assert_eq!(cuLibraryLoadFromFile(&mut library, file.as_ptr(), null(), none, 0, null(), none, 0), FILE_NOT_FOUND);
}

#[test]
fn the_linker_takes_one_text() {
    context();
    let image = text(PTX);
    let mut log = vec![0u8; 200];
    let mut values = [log.as_mut_ptr() as usize, log.len()];
    let mut linker = made(|linker| cuLinkCreate_v2(2, [5, 6].as_ptr(), values.as_mut_ptr().cast(), linker));
    let add = |kind, data: &[u8]| {
        let name: *const c_char = c"input".as_ptr();
        cuLinkAddData_v2(linker, kind, data.as_ptr().cast(), data.len(), name, 0, null(), null_mut())
    };
    let (mut linked, mut size) = (null_mut(), 0);
    assert_eq!(cuLinkComplete(linker, &mut linked, &mut size), INVALID_IMAGE);
    assert_eq!(add(1, b"no PTX\0"), INVALID_PTX);
    assert_eq!(add(0, b"\x7fELF"), NO_BINARY_FOR_GPU);
    for kind in [3, 4, 5] {
        assert_eq!(add(kind, b"object"), NOT_SUPPORTED);
    }
    assert_eq!(add(6, b"object"), INVALID_VALUE);
    assert_eq!(add(1, image.as_bytes_with_nul()), SUCCESS);
    values[1] = log.len();
    assert_eq!(add(1, image.as_bytes_with_nul()), NOT_SUPPORTED);
    let said = String::from_utf8(log[..values[1]].to_vec()).unwrap();
    assert!(said.contains("one"), "{said}");
    ok(cuLinkComplete(linker, &mut linked, &mut size));
    let mut module = made(|module| cuModuleLoadData(module, linked));
    function(module, "put");
    assert_eq!(size, PTX.len() + 1);
    ok(cuLinkDestroy(linker));
    assert_eq!(cuLinkDestroy(linker), INVALID_HANDLE);
    ok(cuLinkCreate_v2(0, null(), null_mut(), &mut linker));
    assert_eq!(cuLinkAddData_v2(linker, 2, ZSTD.as_ptr().cast(), ZSTD.len(), null(), 0, null(), null_mut()), SUCCESS);
    ok(cuLinkComplete(linker, &mut linked, &mut size));
    ok(cuModuleLoadData(&mut module, linked));
    function(module, "scale");
    assert_eq!(cuLinkAddFile_v2(linker, 1, c"/nowhere".as_ptr(), 0, null(), null_mut()), FILE_NOT_FOUND);
}
