//! The `sessionlog` program.
fn main() {}
