//! Nothing but tests: see `main.rs`, which is one test binary for the whole workspace.
