// Included by the build scripts of the crates that are linked into programs: `cargo build` sets no
// search paths of its own, and what goes into a wheel must have none.

/// The program, tests and examples of this package find at run time what they were linked with.
fn find_at_run_time(libraries: &[std::path::PathBuf]) {
    for folder in libraries.iter().filter_map(|library| library.parent()) {
        println!("cargo:rustc-link-arg=-Wl,-rpath,{}", folder.display());
    }
}

/// libtorch, in the folder that `LIBTORCH` names.
fn libtorch() -> Option<std::path::PathBuf> {
    println!("cargo:rerun-if-env-changed=LIBTORCH");
    Some(std::path::PathBuf::from(std::env::var_os("LIBTORCH")?).join("lib").join("libtorch.so"))
}

/// libpython, which programs link and an extension of Python must not: pyo3 links it nowhere.
#[allow(dead_code)]
fn libpython() -> Option<std::path::PathBuf> {
    println!("cargo:rerun-if-env-changed=STAC_BENCH_LIBPYTHON");
    let library = std::path::PathBuf::from(std::env::var_os("STAC_BENCH_LIBPYTHON")?);
    println!("cargo:rustc-link-arg={}", library.display());
    Some(library)
}
