//! Ranges of NVTX, which NVIDIA's profilers show beside the kernels of a test: with the feature `nvtx`, and otherwise nothing.

/// A range, until it is dropped.
#[derive(Debug)]
pub(super) struct Range {
    #[cfg(feature = "nvtx")]
    _range: nvtx::LocalRange,
}

impl Range {
    #[cfg_attr(not(feature = "nvtx"), allow(unused_variables, reason = "there is nobody to be told of it"))]
    pub(super) fn new(name: &str) -> Self {
        Self {
            #[cfg(feature = "nvtx")]
            _range: nvtx::LocalRange::new(std::ffi::CString::new(name).unwrap_or_default()),
        }
    }
}
