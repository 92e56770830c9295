//! Kernels written in every way there is: structs by value and by pointer, templates, kernels made by macros, names of C,
//! several targets, clusters, programmatic dependence.

warpwright::kernels!();
