//! Lets the tests find libtorch.

include!("../scripts/link.rs");

fn main() {
    find_at_run_time(libtorch().as_slice());
}
