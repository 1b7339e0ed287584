//! Finds libcodec: in the folder that LIBCODEC_DIR names, or else by pkg-config.

use std::env;
use std::process::Command;

fn main() {
    println!("cargo:rerun-if-env-changed=LIBCODEC_DIR");
    println!("cargo:rustc-link-lib=codec");
    let folder = env::var("LIBCODEC_DIR").unwrap_or_else(|_| installed());
    println!("cargo:rustc-link-search=native={folder}");
    println!("cargo:rustc-link-arg=-Wl,-rpath,{folder}");
}

fn installed() -> String {
    let found = Command::new("pkg-config").args(["--variable=libdir", "libcodec"]).output();
    match found {
        Ok(found) if found.status.success() => {
            String::from_utf8_lossy(&found.stdout).trim().to_owned()
        }
        _ => panic!("libcodec is not installed; LIBCODEC_DIR may name its folder"),
    }
}
