//! Tells which of the layouts of number 42 a file has.
//!
//! A block of 128 elements takes 36 bytes as two of ggml's blocks, and 34 in the other two layouts, so the bytes up to the
//! next tensor tell these apart, unless a tensor is so small that both fill them up to the alignment. All tensors of the
//! number have one layout in a file, so one that tells decides for the rest. The two layouts of 34 bytes are told apart
//! by `general.quantization_version`: OxiBonsai writes a string, all others a number.

use super::error::GgufError;
use super::tensor_type::Q2Layout;
use super::value::Value;

/// The key that OxiBonsai marks its files with, and the mark.
pub(super) const KEY: &str = "general.quantization_version";
pub(super) const OXIBONSAI: &str = "TQ2_0_G128";

/// A tensor of number 42.
pub(super) struct Q2Tensor<'a> {
    pub(super) name: &'a str,
    pub(super) elements: u64,
    /// Elements of a row.
    pub(super) row: u64,
    /// The bytes up to the next tensor, or to the end of the file.
    pub(super) available: u64,
    pub(super) last: bool,
    pub(super) alignment: u64,
}

impl Q2Tensor<'_> {
    /// Its size in a layout, if its rows are whole blocks.
    fn size(&self, layout: Q2Layout) -> Option<u64> {
        let (block, bytes) = layout.tensor_type().block();
        if self.row.is_multiple_of(block) { (self.elements / block).checked_mul(bytes) } else { None }
    }

    fn fits(&self, layout: Q2Layout) -> bool {
        self.size(layout).is_some_and(|size| size <= self.available)
    }

    /// Whether nothing but padding is left over.
    fn fills(&self, layout: Q2Layout) -> bool {
        self.size(layout).is_some_and(|size| {
            size.checked_next_multiple_of(self.alignment) == Some(self.available) || self.last && size == self.available
        })
    }

    /// Whether its size shows that it has this layout, or the other of this size.
    fn shows(&self, layout: Q2Layout) -> bool {
        let other = other_size(layout);
        self.size(other).is_none() || self.fills(layout) && !self.fills(other)
    }

    /// Whether its size shows that it has not this layout. (If it has none, that is for others to say.)
    fn contradicts(&self, layout: Q2Layout) -> bool {
        let other = other_size(layout);
        self.shows(other) && !self.shows(layout) || !self.fits(layout) && self.fits(other)
    }
}

/// A layout whose blocks are of the other size.
fn other_size(layout: Q2Layout) -> Q2Layout {
    if layout == Q2Layout::Q2_0 { Q2Layout::Q2_0G128 } else { Q2Layout::Q2_0 }
}

/// The layout of tensors, of which there is at least one; `chosen` is what the caller says, `version` the value of [`KEY`].
pub(super) fn layout<'a>(
    tensors: &(impl Iterator<Item = Q2Tensor<'a>> + Clone),
    version: Option<Value<'_>>,
    chosen: Option<Q2Layout>,
) -> Result<Q2Layout, GgufError> {
    let shows = |layout| tensors.clone().find(|tensor| tensor.shows(layout)).map(|tensor| tensor.name.to_owned());
    let marked = matches!(version, Some(Value::String(OXIBONSAI)));
    let numbered = version.is_some_and(|version| version.as_integer().is_some());
    let ambiguous = || {
        let possible = |layout: &Q2Layout| !tensors.clone().any(|tensor| tensor.contradicts(*layout));
        let named = |layout: &Q2Layout| !(numbered && *layout == Q2Layout::Tq2_0G128);
        GgufError::Q2Ambiguous {
            tensor: tensors.clone().next().map(|tensor| tensor.name.to_owned()).unwrap_or_default(),
            choices: Q2Layout::ALL.into_iter().filter(|layout| possible(layout) && named(layout)).collect(),
        }
    };
    let of_tensor = |name: String, layout| (layout, format!("the size of the tensor `{name}` shows that it is"));
    let (layout, says) = if let Some(chosen) = chosen {
        (chosen, "the caller says that it is".to_owned())
    } else if marked {
        (Q2Layout::Tq2_0G128, format!("`{KEY}` says that it is"))
    } else if let Some(name) = shows(Q2Layout::Q2_0) {
        of_tensor(name, Q2Layout::Q2_0)
    } else if let Some(name) = shows(Q2Layout::Q2_0G128).filter(|_| numbered) {
        of_tensor(name, Q2Layout::Q2_0G128)
    } else {
        return Err(ambiguous());
    };
    match tensors.clone().find(|tensor| tensor.contradicts(layout)) {
        Some(Q2Tensor { name, available, .. }) => {
            Err(GgufError::Q2Contradicted { tensor: name.to_owned(), available, layout, says })
        }
        None => Ok(layout),
    }
}
