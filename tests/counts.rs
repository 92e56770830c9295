//! What a decoded token costs, in calls of the driver. The emulator counts them; this file has one test, so that nothing
//! else in its process does.

mod common;

use common::{adder, adder_tokens, device, driver};
use cudarc::driver::sys::CUdevice_attribute;
use warpwright::gguf::Gguf;
use warpwright::model::{Model, Session};
use warpwright_emulator::driver::Driver;

#[test]
fn counts_of_a_token() {
    let device = device();
    let gguf = Gguf::open(adder()).unwrap();
    let model = Model::load(&gguf, &device.kernels, &device.stream).unwrap();
    let mut session = Session::new(&model, &device.stream, 32).unwrap();
    session.extend(&adder_tokens("123+456=")).unwrap();
    session.next_token().unwrap();
    // 3 layers of 5 kernels; embedding, logits, and the choice
    assert_eq!(session.launches_per_step(), 3 * 5 + 3);
    // and all but the first begin before the one before them has ended, where a device can do that
    let major = device.context.attribute(CUdevice_attribute::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR).unwrap();
    assert_eq!(session.programmatic_edges(), if major >= 9 { 3 * 5 + 2 } else { 0 });

    let driver = driver();
    let watched = [
        "cuGraphLaunch",
        "cuMemcpyDtoHAsync_v2",
        "cuLaunchKernel",
        "cuMemAlloc_v2",
        "cuMemAllocAsync",
        "cuMemHostAlloc",
        "cuMemFreeAsync",
        "cuMemcpyHtoDAsync_v2",
        "cuMemsetD8Async",
        "cuEventCreate",
        "cuModuleLoadDataEx",
    ];
    let calls = || watched.map(|name| driver.calls(name));
    let before = calls();
    const TOKENS: u64 = 3;
    for _ in 0..TOKENS {
        session.next_token().unwrap();
    }
    let after = calls();
    if driver.driver == Driver::Gpu {
        // NVIDIA's driver does not count: what is left is that the tokens came.
        assert_eq!(after, [None; 11]);
        return;
    }
    let made: Vec<u64> = before.iter().zip(after).map(|(before, after)| after.unwrap() - before.unwrap()).collect();
    // one graph and one read of a token, and nothing else
    assert_eq!(made, [TOKENS, TOKENS, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
}
