//! The queue of a device: one thread does all its work, in the order in which it was asked for.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use super::context::Context;
use super::operation::Operation;
use crate::exec::Pool;
use crate::memory::Memory;

/// What operations run with.
pub(crate) struct Runner {
    pub(crate) pool: Pool,
    pub(crate) memory: Arc<Memory>,
}

/// The number of a piece of work, in the order of submission. Work is done when all up to its number is.
pub(crate) type Ticket = u64;

#[derive(Default)]
struct Queue {
    waiting: VecDeque<(Arc<Context>, Operation)>,
    submitted: Ticket,
    completed: Ticket,
}

/// The engine of one device.
pub(crate) struct Engine {
    queue: Mutex<Queue>,
    submitted: Condvar,
    completed: Condvar,
    pub(crate) memory: Arc<Memory>,
}

impl Engine {
    /// Starts the engine's thread.
    pub(crate) fn start(memory: u64) -> Arc<Self> {
        let memory = Arc::new(Memory::new(memory, false));
        let engine = Arc::new(Self {
            queue: Mutex::default(),
            submitted: Condvar::new(),
            completed: Condvar::new(),
            memory: Arc::clone(&memory),
        });
        let running = Arc::clone(&engine);
        let threads = std::thread::available_parallelism().map_or(1, Into::into);
        // Without a thread nothing would ever be done: there is no way to go on.
        std::thread::Builder::new()
            .name("emulator".to_owned())
            .spawn(move || running.run(Runner { pool: Pool::new(threads), memory }))
            .expect("the emulator cannot start its thread");
        engine
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn run(&self, mut runner: Runner) {
        loop {
            let mut queue = self.queue();
            while queue.waiting.is_empty() {
                queue = self.submitted.wait(queue).unwrap_or_else(PoisonError::into_inner);
            }
            let Some((context, operation)) = queue.waiting.pop_front() else { continue };
            drop(queue);
            // After an error a context does no more work, but what is waited for still counts as done.
            if context.error().is_none() || matches!(operation, Operation::Record(_)) {
                let run = std::panic::AssertUnwindSafe(|| operation.run(&mut runner));
                let result = std::panic::catch_unwind(run).unwrap_or(Err(super::code::Code::UNKNOWN));
                if let Err(code) = result {
                    context.fail(code);
                }
            }
            // Operations may own the last handle of something: let go of it before anybody can know it is done.
            drop((context, operation));
            self.queue().completed += 1;
            self.completed.notify_all();
        }
    }

    /// Puts work at the end of the queue.
    pub(crate) fn submit(&self, context: &Arc<Context>, operation: Operation) -> Ticket {
        let mut queue = self.queue();
        queue.waiting.push_back((Arc::clone(context), operation));
        queue.submitted += 1;
        let ticket = queue.submitted;
        drop(queue);
        self.submitted.notify_one();
        ticket
    }

    pub(crate) fn is_done(&self, ticket: Ticket) -> bool {
        self.queue().completed >= ticket
    }

    /// Waits until work is done.
    pub(crate) fn wait(&self, ticket: Ticket) {
        let mut queue = self.queue();
        while queue.completed < ticket {
            queue = self.completed.wait(queue).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Waits until all work is done that was submitted so far.
    pub(crate) fn wait_all(&self) {
        let last = self.queue().submitted;
        self.wait(last);
    }
}
