//! Gives the shared library its name for the dynamic loader.

fn main() {
    // The 3 is that of libspread.so.3, whose interface this is.
    println!("cargo::rustc-cdylib-link-arg=-Wl,-soname,libantiphon.so.3");
    println!("cargo::rerun-if-changed=build.rs");
}
