//! What a grid prints: gathered block by block, written when the launch ends or much has gathered.

use std::collections::BTreeMap;
use std::io::Write;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// The bytes that may gather: the size of the buffer on a GPU, where more would overwrite the first.
const MAX_GATHERED: usize = 1 << 20;

/// What the blocks of a grid have printed.
pub(super) struct Output<'a> {
    gathered: Mutex<Gathered>,
    to: Option<&'a Mutex<Vec<u8>>>,
}

#[derive(Default)]
struct Gathered {
    /// By the number of the block.
    blocks: BTreeMap<u64, Vec<u8>>,
    bytes: usize,
}

/// Where one block prints.
pub(super) struct BlockOutput<'o> {
    output: &'o Output<'o>,
    block: u64,
}

impl<'a> Output<'a> {
    pub(super) fn new(to: Option<&'a Mutex<Vec<u8>>>) -> Self {
        Self { gathered: Mutex::default(), to }
    }

    pub(super) fn of_block(&self, block: u64) -> BlockOutput<'_> {
        BlockOutput { output: self, block }
    }

    fn gathered(&self) -> MutexGuard<'_, Gathered> {
        self.gathered.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes all that has gathered.
    pub(super) fn flush(&self) {
        self.write(&mut self.gathered());
    }

    fn write(&self, gathered: &mut Gathered) {
        if gathered.bytes == 0 {
            return;
        }
        gathered.bytes = 0;
        let text: Vec<u8> = std::mem::take(&mut gathered.blocks).into_values().flatten().collect();
        match self.to {
            Some(to) => to.lock().unwrap_or_else(PoisonError::into_inner).extend(text),
            None => {
                let mut standard = std::io::stdout().lock();
                // A kernel does not fail because nobody reads what it prints.
                let _ = standard.write_all(&text).and_then(|()| standard.flush());
            }
        }
    }
}

impl BlockOutput<'_> {
    /// Takes what a warp has printed.
    pub(super) fn take(&self, printed: &mut Vec<u8>) {
        if printed.is_empty() {
            return;
        }
        let mut gathered = self.output.gathered();
        gathered.bytes += printed.len();
        gathered.blocks.entry(self.block).or_default().append(printed);
        if gathered.bytes >= MAX_GATHERED {
            self.output.write(&mut gathered);
        }
    }
}
