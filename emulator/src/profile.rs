//! Profiles of real GPUs: what a device says of itself, and what a roofline is drawn from.
//!
//! The sources are NVIDIA's architecture white papers, data sheets, and the table of compute capabilities in the CUDA
//! programming guide. Rates are peaks at the boost clock, dense, with 32-bit accumulation.

/// What a GPU has.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Profile {
    /// Its name.
    pub name: &'static str,
    /// Its compute capability.
    pub capability: (u32, u32),
    /// The letter of the architecture-specific target that it runs besides the plain ones, as in `sm_90a`.
    pub specific: Option<char>,
    /// Streaming multiprocessors.
    pub multiprocessors: u32,
    /// Boost clock of the multiprocessors in kHz.
    pub clock_khz: u32,
    /// Clock of the memory in kHz.
    pub memory_clock_khz: u32,
    /// Width of the memory bus in bits.
    pub memory_bus_bits: u32,
    /// Device memory in bytes.
    pub memory_bytes: u64,
    /// Bytes that the device memory moves in a second.
    pub memory_bandwidth: f64,
    /// L2 cache in bytes.
    pub l2_bytes: u32,
    /// L2 cache that may be set aside for persisting accesses, in bytes.
    pub persisting_l2_bytes: u32,
    /// Shared memory of a multiprocessor in bytes.
    pub shared_per_multiprocessor: u32,
    /// Shared memory that a block can have if it asks for it, in bytes.
    pub shared_per_block_optin: u32,
    /// Shared memory that the driver takes of each block, in bytes.
    pub reserved_shared_per_block: u32,
    /// Resident threads of a multiprocessor.
    pub threads_per_multiprocessor: u32,
    /// Resident blocks of a multiprocessor.
    pub blocks_per_multiprocessor: u32,
    /// 32-bit registers of a multiprocessor.
    pub registers_per_multiprocessor: u32,
    /// Floating-point operations in f32 in a second, outside tensor cores; a fused multiply-add counts as two.
    pub f32_rate: f64,
    /// How many times faster f32 is than f64.
    pub f32_to_f64: u32,
    /// Floating-point operations of the tensor cores in a second, on f16.
    pub tensor_f16_rate: f64,
    /// Operations of the tensor cores in a second, on 8-bit integers.
    pub tensor_i8_rate: f64,
    /// Engines that copy while kernels run.
    pub copy_engines: u32,
    /// Whether the memory has ECC, switched on.
    pub ecc: bool,
}

const KIB: u32 = 1 << 10;
const MIB: u32 = 1 << 20;

/// Turing: compute capability 7.5.
pub const T4: Profile = Profile {
    name: "Tesla T4",
    capability: (7, 5),
    specific: None,
    multiprocessors: 40,
    clock_khz: 1_590_000,
    memory_clock_khz: 5_001_000,
    memory_bus_bits: 256,
    memory_bytes: 16 << 30,
    memory_bandwidth: 320e9,
    l2_bytes: 4 * MIB,
    persisting_l2_bytes: 0,
    shared_per_multiprocessor: 64 * KIB,
    shared_per_block_optin: 64 * KIB,
    reserved_shared_per_block: 0,
    threads_per_multiprocessor: 1024,
    blocks_per_multiprocessor: 16,
    registers_per_multiprocessor: 65536,
    f32_rate: 8.1e12,
    f32_to_f64: 32,
    tensor_f16_rate: 65e12,
    tensor_i8_rate: 130e12,
    copy_engines: 3,
    ecc: true,
};

/// Ampere for data centres: compute capability 8.0.
pub const A100: Profile = Profile {
    name: "NVIDIA A100-SXM4-40GB",
    capability: (8, 0),
    specific: None,
    multiprocessors: 108,
    clock_khz: 1_410_000,
    memory_clock_khz: 1_215_000,
    memory_bus_bits: 5120,
    memory_bytes: 40 << 30,
    memory_bandwidth: 1555e9,
    l2_bytes: 40 * MIB,
    persisting_l2_bytes: 25 * MIB,
    shared_per_multiprocessor: 164 * KIB,
    shared_per_block_optin: 163 * KIB,
    reserved_shared_per_block: KIB,
    threads_per_multiprocessor: 2048,
    blocks_per_multiprocessor: 32,
    registers_per_multiprocessor: 65536,
    f32_rate: 19.5e12,
    f32_to_f64: 2,
    tensor_f16_rate: 312e12,
    tensor_i8_rate: 624e12,
    copy_engines: 3,
    ecc: true,
};

/// Ampere for desktops: compute capability 8.6.
pub const RTX_3090: Profile = Profile {
    name: "NVIDIA GeForce RTX 3090",
    capability: (8, 6),
    specific: None,
    multiprocessors: 82,
    clock_khz: 1_695_000,
    memory_clock_khz: 9_751_000,
    memory_bus_bits: 384,
    memory_bytes: 24 << 30,
    memory_bandwidth: 936e9,
    l2_bytes: 6 * MIB,
    persisting_l2_bytes: 15 * MIB / 4,
    shared_per_multiprocessor: 100 * KIB,
    shared_per_block_optin: 99 * KIB,
    reserved_shared_per_block: KIB,
    threads_per_multiprocessor: 1536,
    blocks_per_multiprocessor: 16,
    registers_per_multiprocessor: 65536,
    f32_rate: 35.6e12,
    f32_to_f64: 64,
    tensor_f16_rate: 71e12,
    tensor_i8_rate: 284e12,
    copy_engines: 2,
    ecc: false,
};

/// Ada: compute capability 8.9.
pub const RTX_4090: Profile = Profile {
    name: "NVIDIA GeForce RTX 4090",
    capability: (8, 9),
    specific: None,
    multiprocessors: 128,
    clock_khz: 2_520_000,
    memory_clock_khz: 10_501_000,
    memory_bus_bits: 384,
    memory_bytes: 24 << 30,
    memory_bandwidth: 1008e9,
    l2_bytes: 72 * MIB,
    persisting_l2_bytes: 45 * MIB,
    shared_per_multiprocessor: 100 * KIB,
    shared_per_block_optin: 99 * KIB,
    reserved_shared_per_block: KIB,
    threads_per_multiprocessor: 1536,
    blocks_per_multiprocessor: 24,
    registers_per_multiprocessor: 65536,
    f32_rate: 82.6e12,
    f32_to_f64: 64,
    tensor_f16_rate: 165.2e12,
    tensor_i8_rate: 660.6e12,
    copy_engines: 2,
    ecc: false,
};

/// Hopper: compute capability 9.0.
pub const H100: Profile = Profile {
    name: "NVIDIA H100 80GB HBM3",
    capability: (9, 0),
    specific: Some('a'),
    multiprocessors: 132,
    clock_khz: 1_980_000,
    memory_clock_khz: 2_619_000,
    memory_bus_bits: 5120,
    memory_bytes: 80 << 30,
    memory_bandwidth: 3352e9,
    l2_bytes: 50 * MIB,
    persisting_l2_bytes: 125 * MIB / 4,
    shared_per_multiprocessor: 228 * KIB,
    shared_per_block_optin: 227 * KIB,
    reserved_shared_per_block: KIB,
    threads_per_multiprocessor: 2048,
    blocks_per_multiprocessor: 32,
    registers_per_multiprocessor: 65536,
    f32_rate: 66.9e12,
    f32_to_f64: 2,
    tensor_f16_rate: 989.4e12,
    tensor_i8_rate: 1978.9e12,
    copy_engines: 3,
    ecc: true,
};

/// What the emulator is when nothing else is asked for: an H100 with memory that a test machine can have.
pub const DEFAULT: Profile = Profile { memory_bytes: 16 << 30, ..H100 };

/// Every profile, by compute capability.
pub const ALL: [Profile; 5] = [T4, A100, RTX_3090, RTX_4090, H100];

/// A name that no profile has, or an amount of memory that is none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is no device: a device is `sm_` and one of 75, 80, 86, 89 and 90, and may be followed by its memory in MiB, \
     as in `sm_75:4096`"
)]
pub struct UnknownProfile(pub String);

impl Profile {
    /// The compute capability as in the name of a target: 90 for 9.0.
    #[must_use]
    pub const fn target(&self) -> u32 {
        self.capability.0 * 10 + self.capability.1
    }

    /// The profile of a target such as `sm_86`, with its memory in MiB after a colon if it is not to be the GPU's.
    ///
    /// # Errors
    /// [`UnknownProfile`] if there is none.
    pub fn of(name: &str) -> Result<Self, UnknownProfile> {
        let unknown = || UnknownProfile(name.to_owned());
        let (target, memory) = name.split_once(':').map_or((name, None), |(target, memory)| (target, Some(memory)));
        let number: u32 = target.strip_prefix("sm_").and_then(|number| number.parse().ok()).ok_or_else(unknown)?;
        let mut profile = ALL.into_iter().find(|profile| profile.target() == number).ok_or_else(unknown)?;
        if let Some(memory) = memory {
            let mebibytes = memory.parse::<u64>().ok().filter(|amount| (1..=1 << 22).contains(amount));
            profile.memory_bytes = mebibytes.ok_or_else(unknown)? << 20;
        }
        Ok(profile)
    }

    /// Whether PTX with this target, and the letter after it, can be compiled for the device.
    pub(crate) fn accepts(&self, target: u32, suffix: &str) -> bool {
        match suffix {
            "" => target <= self.target(),
            // Only that architecture, and only devices that have it.
            "a" => target == self.target() && self.specific == Some('a'),
            _ => false,
        }
    }

    /// How many blocks of so many threads and bytes of shared memory a multiprocessor has room for.
    pub(crate) fn resident_blocks(&self, threads: u32, shared: u64) -> u32 {
        let by_threads = self.threads_per_multiprocessor / threads.next_multiple_of(32).max(32);
        let each = shared + u64::from(self.reserved_shared_per_block);
        let by_shared = u64::from(self.shared_per_multiprocessor).checked_div(each).unwrap_or(u64::MAX);
        self.blocks_per_multiprocessor.min(by_threads).min(u32::try_from(by_shared).unwrap_or(u32::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn profiles_have_names() {
        assert_eq!(Profile::of("sm_75"), Ok(T4));
        assert_eq!(Profile::of("sm_90:512").unwrap(), Profile { memory_bytes: 512 << 20, ..H100 });
        for name in ["sm_70", "75", "sm_", "sm_90a", "sm_75:", "sm_75:0", "sm_75:-1", "sm_75:99999999999"] {
            assert_eq!(Profile::of(name), Err(UnknownProfile(name.to_owned())));
        }
    }

    #[test]
    fn targets_fit_as_documented() {
        assert!(H100.accepts(75, "") && H100.accepts(90, "") && H100.accepts(90, "a"));
        assert!(!H100.accepts(100, "") && !H100.accepts(100, "a") && !RTX_4090.accepts(90, "a"));
        assert!(!T4.accepts(80, "") && T4.accepts(70, "") && !H100.accepts(90, "x"));
    }

    /// Worked out by hand from the limits of each, one limit at a time.
    #[test]
    fn blocks_that_fit() {
        // threads decide
        assert_eq!((T4.resident_blocks(256, 0), H100.resident_blocks(256, 0)), (4, 8));
        assert_eq!((RTX_3090.resident_blocks(1024, 0), A100.resident_blocks(1024, 0)), (1, 2));
        // the number of blocks decides
        assert_eq!((T4.resident_blocks(32, 0), RTX_4090.resident_blocks(32, 0)), (16, 24));
        // shared memory decides
        assert_eq!((T4.resident_blocks(32, 64 << 10), H100.resident_blocks(32, 227 << 10)), (1, 1));
        assert_eq!((A100.resident_blocks(128, 81 << 10), RTX_3090.resident_blocks(128, 100 << 10)), (2, 0));
    }

    /// Figures that follow from each other agree: bandwidth from bus and clock, f32 rate from clock and cores.
    #[test]
    fn figures_agree() {
        for profile in ALL {
            let data_rate = 2.0 * f64::from(profile.memory_clock_khz) * 1e3;
            let bandwidth = data_rate * f64::from(profile.memory_bus_bits) / 8.0;
            assert!((bandwidth / profile.memory_bandwidth - 1.0).abs() < 0.01, "{}: {bandwidth:e}", profile.name);
            let cores = if matches!(profile.target(), 75 | 80) { 64.0 } else { 128.0 };
            let rate = 2.0 * cores * f64::from(profile.multiprocessors) * f64::from(profile.clock_khz) * 1e3;
            assert!((rate / profile.f32_rate - 1.0).abs() < 0.01, "{}: {rate:e}", profile.name);
        }
    }
}
