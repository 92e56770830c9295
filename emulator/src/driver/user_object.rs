//! User objects: data of the program that lives as long as the graphs that use it.

use std::ffi::c_void;
use std::sync::{Arc, Mutex};

use super::code::{Code, Result};
use super::context::locked;
use super::handle::{Handle, Table};

static OBJECTS: Table<Object> = Table::new();

/// An object, counted by everyone who owns it.
#[derive(Debug)]
struct Object {
    handle: Handle,
    destroy: unsafe extern "C" fn(*mut c_void),
    data: usize,
    references: Mutex<u64>,
}

impl Object {
    fn retain(&self, count: u32) -> Result<()> {
        let mut references = locked(&self.references);
        if *references == 0 {
            return Err(Code::INVALID_VALUE);
        }
        *references += u64::from(count);
        Ok(())
    }

    /// Gives references up; the last one destroys the object.
    fn release(&self, count: u32) -> Result<()> {
        if count == 0 {
            return Ok(());
        }
        let mut references = locked(&self.references);
        *references = references.checked_sub(u64::from(count)).ok_or(Code::INVALID_VALUE)?;
        let last = *references == 0;
        drop(references);
        if last {
            OBJECTS.remove(self.handle)?;
            // SAFETY: the caller of `cuUserObjectCreate` answers for the function and its argument.
            unsafe { (self.destroy)(self.data as *mut c_void) };
        }
        Ok(())
    }
}

/// References that a graph owns.
#[derive(Debug)]
pub(crate) struct References {
    object: Arc<Object>,
    count: u32,
}

impl References {
    /// As many references for another graph.
    pub(crate) fn again(&self) -> Self {
        // There is a reference, so the object is not destroyed, and the count, of 64 bits, has room.
        *locked(&self.object.references) += u64::from(self.count);
        Self { object: Arc::clone(&self.object), count: self.count }
    }

    pub(crate) fn count(&self) -> u32 {
        self.count
    }

    /// Takes others of the same object in.
    pub(crate) fn join(&mut self, mut others: Self) {
        let sum = self.count.saturating_add(others.count);
        others.count -= sum - self.count;
        self.count = sum;
    }

    /// Takes some out.
    pub(crate) fn split(&mut self, count: u32) -> Result<Self> {
        self.count = self.count.checked_sub(count).ok_or(Code::INVALID_VALUE)?;
        Ok(Self { object: Arc::clone(&self.object), count })
    }
}

impl Drop for References {
    fn drop(&mut self) {
        // They were counted, so there are as many to give up.
        let _ = self.object.release(std::mem::take(&mut self.count));
    }
}

/// Makes an object with references of the caller.
pub(crate) fn create(data: usize, destroy: unsafe extern "C" fn(*mut c_void), references: u32) -> Handle {
    let references = Mutex::new(u64::from(references));
    OBJECTS.insert_with(|handle| Arc::new(Object { handle, destroy, data, references }))
}

/// Adds references of the caller.
pub(crate) fn retain(object: Handle, count: u32) -> Result<()> {
    OBJECTS.get(object)?.retain(count)
}

/// Gives references of the caller up.
pub(crate) fn release(object: Handle, count: u32) -> Result<()> {
    OBJECTS.get(object)?.release(count)
}

/// References for a graph: new ones, or the caller's own.
pub(crate) fn references(object: Handle, count: u32, take_over: bool) -> Result<References> {
    let object = OBJECTS.get(object)?;
    if !take_over {
        object.retain(count)?;
    } else if *locked(&object.references) < u64::from(count) {
        return Err(Code::INVALID_VALUE);
    }
    Ok(References { object, count })
}
