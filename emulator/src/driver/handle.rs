//! Handles: what the driver API gives out for its objects.

use std::any::type_name;
use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock, PoisonError, RwLock};

use super::code::{Code, Result};

/// A handle. In C it is a pointer, which nobody but the driver may follow; here it is a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(transparent)]
pub(crate) struct Handle(pub(crate) usize);

impl Handle {
    pub(crate) const NULL: Self = Self(0);

    /// The number of the object in the order in which objects were made.
    pub(crate) fn sequence(self) -> u64 {
        self.0.saturating_sub(FIRST) as u64 / STEP as u64 + 1
    }
}

/// The objects of one kind, by handle. No handle is given out twice, so one that was destroyed stays invalid.
pub(crate) struct Table<T>(LazyLock<RwLock<HashMap<usize, Arc<T>>>>);

/// The next handle; small numbers stand for special streams.
static NEXT: AtomicUsize = AtomicUsize::new(FIRST);
const FIRST: usize = 0x1000;
const STEP: usize = 16;

impl<T> Table<T> {
    pub(crate) const fn new() -> Self {
        Self(LazyLock::new(RwLock::default))
    }

    pub(crate) fn insert(&self, object: Arc<T>) -> Handle {
        let handle = NEXT.fetch_add(STEP, Ordering::Relaxed);
        self.0.write().unwrap_or_else(PoisonError::into_inner).insert(handle, object);
        Handle(handle)
    }

    pub(crate) fn get(&self, handle: Handle) -> Result<Arc<T>> {
        let table = self.0.read().unwrap_or_else(PoisonError::into_inner);
        table.get(&handle.0).cloned().ok_or(Code::INVALID_HANDLE)
    }

    pub(crate) fn remove(&self, handle: Handle) -> Result<Arc<T>> {
        let mut table = self.0.write().unwrap_or_else(PoisonError::into_inner);
        table.remove(&handle.0).ok_or(Code::INVALID_HANDLE)
    }

    /// The handle of the object that `condition` holds for.
    pub(crate) fn find(&self, condition: impl Fn(&Arc<T>) -> bool) -> Option<Handle> {
        let table = self.0.read().unwrap_or_else(PoisonError::into_inner);
        table.iter().find(|(_, object)| condition(object)).map(|(handle, _)| Handle(*handle))
    }

    /// All objects that there are, by handle.
    pub(crate) fn all(&self) -> Vec<(Handle, Arc<T>)> {
        let table = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let mut all: Vec<_> = table.iter().map(|(handle, object)| (Handle(*handle), Arc::clone(object))).collect();
        all.sort_unstable_by_key(|(handle, _)| handle.0);
        all
    }

    /// Removes what `condition` holds for.
    pub(crate) fn remove_if(&self, condition: impl Fn(&T) -> bool) {
        let mut table = self.0.write().unwrap_or_else(PoisonError::into_inner);
        let removed: Vec<_> = table.extract_if(|_, object| condition(object)).collect();
        // Dropping an object may look things up in this table.
        drop(table);
        drop(removed);
    }
}

impl<T> std::fmt::Debug for Table<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Table").field("of", &type_name::<T>()).finish_non_exhaustive()
    }
}
