//! Runs a kernel with given arguments under the checks of the emulator, and compares what it leaves behind.

use warpwright_build::types::Element;
use warpwright_emulator::{Device, Fault, FaultKind, Launch, LaunchError, Module, Options, Parameter};

use crate::arguments::{Argument, Arguments};
use crate::predecessor::Predecessor;
use crate::rules::Rules;
use crate::violation::Problem;

/// What two runs find in memory that nothing wrote.
pub(crate) const POISONS: [u8; 2] = [0xFF, 0x5A];

/// A loaded kernel.
pub(crate) struct Loaded<'a> {
    pub(crate) rules: &'a Rules<'a>,
    pub(crate) device: &'a Device,
    pub(crate) module: &'a Module,
    /// Where its parameters are in the parameter block.
    pub(crate) places: &'a [Parameter],
    /// What a block may execute, each instruction counted once a thread.
    pub(crate) instruction_limit: u64,
    /// The kernel before, if this one may begin before that has ended.
    pub(crate) before: Option<Predecessor<'a>>,
}

/// What a kernel did wrong, and the rule that was to prevent it.
pub(crate) type Found = (Problem, Option<String>);

/// The buffers of a launch.
pub(crate) struct Buffers<'a> {
    device: &'a Device,
    /// The address of each parameter that is a buffer; 0 for the others.
    pub(crate) addresses: Vec<u64>,
}

impl Drop for Buffers<'_> {
    fn drop(&mut self) {
        for address in self.addresses.iter().filter(|address| **address != 0) {
            // It was allocated in `allocate`, so this cannot fail.
            let _ = self.device.free(*address);
        }
    }
}

impl<'a> Buffers<'a> {
    /// Allocates each buffer alone, no better aligned than the contract says.
    pub(crate) fn allocate(device: &'a Device, arguments: &Arguments) -> Result<Self, LaunchError> {
        let mut buffers = Self { device, addresses: Vec::new() };
        for (_, argument) in &arguments.parameters {
            buffers.addresses.push(match argument {
                Argument::Buffer { element, elements, alignment, .. } => {
                    device.allocate(elements.saturating_mul(element.size()), *alignment)?
                }
                _ => 0,
            });
        }
        Ok(buffers)
    }
}

impl Loaded<'_> {
    /// Launches once with all blocks, or twice if there is output to be compared.
    ///
    /// Returns the instructions executed.
    pub(crate) fn check(&self, arguments: &Arguments) -> Result<u64, Found> {
        let refused = |error| (Problem::Launch(error), None);
        let buffers = Buffers::allocate(self.device, arguments).map_err(refused)?;
        let initial = self.contents(arguments);
        let has_outputs = !self.rules.contract.outputs.is_empty();
        let (mut instructions, mut after_first) = (0, Vec::new());
        for poison in &POISONS[..if has_outputs { 2 } else { 1 }] {
            for ((address, contents), (_, argument)) in
                buffers.addresses.iter().zip(&initial).zip(&arguments.parameters)
            {
                match argument {
                    Argument::Buffer { output: true, .. } if !contents.is_empty() => {
                        let bytes = contents.len() as u64;
                        self.device.fill(*address, bytes, *poison).map_err(refused)?;
                        self.device.set_written(*address, bytes, false).map_err(refused)?;
                    }
                    _ => self.write(*address, contents).map_err(refused)?,
                }
            }
            if arguments.runs() {
                self.precede(arguments, &buffers).map_err(refused)?;
                let (instruction_limit, overlaps) = (self.instruction_limit, self.before.is_some());
                let options = Options { instruction_limit, poison: *poison, overlaps, ..Options::default() };
                instructions += self.launch(arguments, &buffers, &options)?;
            }
            for (n, (name, argument)) in arguments.parameters.iter().enumerate() {
                let Argument::Buffer { element, written, output, .. } = argument else { continue };
                if *written && !output {
                    continue;
                }
                let found = self.read(buffers.addresses[n], initial[n].len()).map_err(refused)?;
                if !written && found != initial[n] {
                    let element = first_difference(&found, &initial[n], element);
                    return Err((Problem::WroteConst { parameter: name.clone(), element }, None));
                }
                if *output {
                    after_first.push((n, found));
                }
            }
        }
        self.compare(arguments, &after_first).map(|()| instructions)
    }

    /// Has the kernel before write all buffers but those that this one may touch while that still runs, and outputs, which
    /// are not written before this one does.
    fn precede(&self, arguments: &Arguments, buffers: &Buffers<'_>) -> Result<(), LaunchError> {
        let (Some(before), Some(early)) = (&self.before, &self.rules.contract.programmatic) else { return Ok(()) };
        let late =
            arguments.parameters.iter().zip(&buffers.addresses).filter_map(
                |((name, argument), address)| match argument {
                    Argument::Buffer { element, elements, output: false, .. }
                        if *elements > 0 && !early.contains(name) =>
                    {
                        Some((*address, elements * element.size()))
                    }
                    _ => None,
                },
            );
        before.write(&late.collect::<Vec<_>>())
    }

    /// Compares what two runs left in outputs: first those of the first run, then those of the second.
    fn compare(&self, arguments: &Arguments, runs: &[(usize, Vec<u8>)]) -> Result<(), Found> {
        let (first, second) = runs.split_at(runs.len() / 2);
        for ((n, first), (_, second)) in first.iter().zip(second) {
            let (name, Argument::Buffer { element, .. }) = &arguments.parameters[*n] else { continue };
            if first != second {
                let at = first_difference(first, second, element);
                let size = element.size() as usize;
                let bytes = |of: &[u8]| of.iter().skip(at as usize * size).take(size).copied().collect();
                let problem = Problem::Unwritten {
                    parameter: name.clone(),
                    element: at,
                    first: bytes(first),
                    second: bytes(second),
                };
                return Err((problem, Some(format!("@out {name}"))));
            }
        }
        Ok(())
    }

    /// Launches some blocks, or all. Returns the instructions executed.
    pub(crate) fn launch(
        &self,
        arguments: &Arguments,
        buffers: &Buffers<'_>,
        options: &Options<'_>,
    ) -> Result<u64, Found> {
        let parameters = arguments.block(self.places, &buffers.addresses);
        let &Arguments { blocks, threads, dynamic_shared, .. } = arguments;
        let launch = Launch { blocks, threads, dynamic_shared, parameters: &parameters };
        match self.device.launch_with(self.module, &self.rules.kernel.symbol, &launch, options) {
            Ok(statistics) => Ok(statistics.thread_instructions),
            Err(LaunchError::Fault(fault)) => {
                let rule = self.protecting(&fault, arguments, buffers);
                Err((Problem::Fault(fault), rule))
            }
            Err(error) => Err((Problem::Launch(error), None)),
        }
    }

    /// What buffers hold at first; nothing for other parameters.
    fn contents(&self, arguments: &Arguments) -> Vec<Vec<u8>> {
        let integers = arguments.integers();
        let mut state = arguments.seed;
        let contents = arguments.parameters.iter().map(|(_, argument)| match argument {
            Argument::Buffer { element, elements, .. } => {
                let size = element.size() as usize;
                arguments.contents.bytes(*elements as usize * size, size, &integers, &mut state)
            }
            _ => Vec::new(),
        });
        contents.collect()
    }

    /// Writes to a buffer, which may be empty.
    pub(crate) fn write(&self, address: u64, bytes: &[u8]) -> Result<(), LaunchError> {
        if bytes.is_empty() { Ok(()) } else { self.device.write(address, bytes) }
    }

    /// Reads from a buffer, which may be empty.
    pub(crate) fn read(&self, address: u64, bytes: usize) -> Result<Vec<u8>, LaunchError> {
        let mut found = vec![0; bytes];
        if bytes > 0 {
            self.device.read(address, &mut found)?;
        }
        Ok(found)
    }

    /// The rule that was to prevent a fault.
    fn protecting(&self, fault: &Fault, arguments: &Arguments, buffers: &Buffers<'_>) -> Option<String> {
        let named = |base: u64| {
            let index = buffers.addresses.iter().position(|address| *address == base)?;
            Some((&arguments.parameters[index].0, &arguments.parameters[index].1))
        };
        match fault.kind {
            FaultKind::OutOfBounds { nearest, .. } => {
                let (name, _) = named(nearest?.base)?;
                Some(format!("@len {}", self.rules.lengths(name).next()?.text))
            }
            FaultKind::Misaligned { address, .. } => {
                let base = buffers.addresses.iter().copied().filter(|base| *base <= address).max()?;
                let (name, Argument::Buffer { alignment, .. }) = named(base)? else { return None };
                let stated = self.rules.contract.alignments.contains_key(name);
                let unstated = if stated { "" } else { ", which the type of its elements gives it" };
                Some(format!("@align {name} {alignment}{unstated}"))
            }
            FaultKind::Uninitialised { nearest, .. } => {
                let (name, Argument::Buffer { output: true, .. }) = named(nearest?.base)? else { return None };
                Some(format!("@out {name}"))
            }
            FaultKind::Race { nearest, .. } if fault.conflict.as_ref().is_some_and(|other| other.earlier_launch) => {
                named(nearest?.base)?;
                Some(format!("@pdl {}", self.rules.contract.programmatic.as_ref()?.join(" ")).trim_end().to_owned())
            }
            _ => None,
        }
    }
}

/// The first element at which bytes differ.
fn first_difference(first: &[u8], second: &[u8], element: &Element) -> u64 {
    let at = first.iter().zip(second).position(|(first, second)| first != second).unwrap_or(0);
    at as u64 / element.size()
}
