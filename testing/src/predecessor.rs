//! The kernel before one with `@pdl`: it may still be writing when that one begins.

use warpwright_emulator::{Device, Launch, LaunchError, Module};

/// Writes every byte of a buffer with what it holds. The table has an address and a length for each block.
const PTX: &str = "
.version 7.0
.target sm_70
.address_size 64
.visible .entry touch(.param .u64 table)
{
    .reg .pred %p;
    .reg .b32 %block, %byte;
    .reg .b64 %at, %next, %end, %step;
    ld.param.u64 %at, [table];
    mov.u32 %block, %ctaid.x;
    mul.wide.u32 %step, %block, 16;
    add.u64 %at, %at, %step;
    ld.global.u64 %next, [%at];
    ld.global.u64 %end, [%at+8];
    add.u64 %end, %end, %next;
TEST:
    setp.ge.u64 %p, %next, %end;
    @%p bra DONE;
    ld.global.u8 %byte, [%next];
    st.global.u8 [%next], %byte;
    add.u64 %next, %next, 1;
    bra TEST;
DONE:
    ret;
}
";

/// A kernel that has written buffers, and of which nobody has waited for the end.
pub(crate) struct Predecessor<'a> {
    device: &'a Device,
    module: Module,
}

impl<'a> Predecessor<'a> {
    pub(crate) fn load(device: &'a Device) -> Self {
        // The text is above, and a test loads it.
        let module = device.load(PTX).expect("the PTX of the kernel before");
        Self { device, module }
    }

    /// Writes buffers: an address and a length in bytes each.
    pub(crate) fn write(&self, buffers: &[(u64, u64)]) -> Result<(), LaunchError> {
        if buffers.is_empty() {
            return Ok(());
        }
        for (address, bytes) in buffers {
            self.device.set_written(*address, *bytes, true)?;
        }
        let table: Vec<u8> =
            buffers.iter().flat_map(|(address, bytes)| [address.to_le_bytes(), bytes.to_le_bytes()].concat()).collect();
        let table = self.device.upload(&table)?;
        let (blocks, parameters) = ([buffers.len() as u32, 1, 1], &table.to_le_bytes());
        let launch = Launch { blocks, threads: [1, 1, 1], dynamic_shared: 0, parameters };
        let launched = self.device.launch(&self.module, "touch", &launch);
        self.device.free(table)?;
        launched.map(|_| ())
    }
}
