//! A typed launch allocates nothing on the host.

use launch_cost::{Counting, allocations, cases};

#[global_allocator]
static COUNTING: Counting = Counting;

#[test]
fn a_typed_launch_allocates_nothing() {
    for mut case in cases().unwrap() {
        // The first launch loads the module.
        (case.typed)(1);
        let before = allocations();
        (case.typed)(1000);
        assert_eq!(allocations() - before, 0, "{}", case.name);
        // What is counted are allocations.
        let before = allocations();
        (case.cudarc)(1000);
        assert!(allocations() - before >= 1000, "{}", case.name);
    }
}
