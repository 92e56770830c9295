//! Weight formats: how they are packed in files, and how the kernels want them.

pub mod q1_0;
