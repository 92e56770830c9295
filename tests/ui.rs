//! Launches that do not compile, each with what the compiler says.

#[test]
fn what_does_not_compile() {
    // Cargo sets it for this test, since Warpwright has a build script; the cases have none.
    // SAFETY: no other thread runs yet that could read the environment.
    unsafe { std::env::remove_var("OUT_DIR") };
    trybuild::TestCases::new().compile_fail("tests/ui/*.rs");
}
