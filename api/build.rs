//! Builds the crate again when the console was built. It builds no console itself: that needs Node.

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    // Development builds read the console's files from disk.
    if std::env::var("PROFILE").is_ok_and(|profile| profile == "release") {
        println!("cargo:rerun-if-changed=console/dist");
    }
}
