//! Lets the tests find libtorch and libpython.

include!("../scripts/link.rs");

fn main() {
    for library in [libtorch(), libpython()] {
        find_at_run_time(library.as_slice());
    }
}
