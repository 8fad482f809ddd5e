//! What has to be done with the workspace beyond building it: installing the C library.
//!
//! ```text
//! PREFIX/include             sp.h, sp_events.h, sp_func.h, fl.h
//! LIBDIR                     libantiphon.so.3, libantiphon.a, and what leads to them under the old names
//! LIBDIR/pkgconfig           antiphon.pc
//! PREFIX/share/doc/antiphon  c-library.md
//! ```

use std::io;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

use thiserror::Error;

/// The shared library, by the name that is in it for the dynamic loader.
pub const SHARED: &str = "libantiphon.so.3";
/// The static library.
pub const ARCHIVE: &str = "libantiphon.a";
/// Names by which programs know the library, beside its own.
const OLD_NAMES: [&str; 3] = ["libspread", "libspread-core", "libtspread-core"];
const HEADERS: [&str; 4] = ["sp.h", "sp_events.h", "sp_func.h", "fl.h"];
/// What the static library needs of the system. Compilers add their own library for unwinding, which is another one
/// with `-static`.
const SYSTEM_LIBRARIES: &str = "-lutil -lrt -lpthread -lm -ldl -lc";

/// Why something was not done.
#[derive(Debug, Error)]
pub enum XtaskError {
    /// A file could not be read.
    #[error("cannot read {path}: {source}")]
    Read {
        /// The file.
        path: PathBuf,
        /// What the operating system says.
        source: io::Error,
    },
    /// A file could not be put where it belongs.
    #[error(
        "cannot write {path}: {source}; run it as root, or name another directory with --prefix, --libdir or --destdir"
    )]
    Write {
        /// The file.
        path: PathBuf,
        /// What the operating system says.
        source: io::Error,
    },
    /// A library under an old name could not be linked.
    #[error("cannot link {name}: {reason}; expected a C compiler, cc or the one that CC names")]
    Link {
        /// The old name.
        name: String,
        /// What the compiler says, or why it did not start.
        reason: String,
    },
    /// The library could not be built.
    #[error("cargo could not build the library")]
    Build,
}

/// The built libraries.
#[derive(Clone, Debug)]
pub struct Libraries {
    /// The shared one.
    pub shared: PathBuf,
    /// The static one.
    pub archive: PathBuf,
}

impl Libraries {
    /// The libraries in a directory to which cargo builds them.
    #[must_use]
    pub fn in_directory(directory: &Path) -> Self {
        let file = |extension| directory.join(format!("libantiphon_capi.{extension}"));
        Self { shared: file("so"), archive: file("a") }
    }
}

/// Where what is installed will be used.
#[derive(Clone, Debug)]
pub struct Places {
    prefix: PathBuf,
    libdir: PathBuf,
}

impl Places {
    /// With headers and documents below `prefix`, and libraries in `libdir`, which is below `prefix` too if it is not
    /// absolute.
    #[must_use]
    pub fn new(prefix: &Path, libdir: &Path) -> Self {
        Self { prefix: prefix.to_owned(), libdir: prefix.join(libdir) }
    }
}

/// Puts libraries and headers where compilers, linkers and programs find them. With `root`, all goes below
/// that directory, for packages to be made of it; it will be used in its places all the same.
///
/// # Errors
/// When a file cannot be read or written.
pub fn install(libraries: &Libraries, places: &Places, root: Option<&Path>) -> Result<(), XtaskError> {
    let below_root = |place: &Path| match root {
        Some(root) => root.join(place.strip_prefix("/").unwrap_or(place)),
        None => place.to_owned(),
    };
    let (prefix, lib) = (below_root(&places.prefix), below_root(&places.libdir));
    let workspace = workspace();
    for header in HEADERS {
        copy(&workspace.join("crates/capi/include").join(header), &prefix.join("include").join(header))?;
    }
    copy(&libraries.shared, &lib.join(SHARED))?;
    copy(&libraries.archive, &lib.join(ARCHIVE))?;
    link(SHARED, &lib.join("libantiphon.so"))?;
    for name in OLD_NAMES {
        forward(&format!("{name}.so.3"), &lib)?;
        link(SHARED, &lib.join(format!("{name}.so")))?;
        link(ARCHIVE, &lib.join(format!("{name}.a")))?;
    }
    write(&lib.join("pkgconfig/antiphon.pc"), package(places).as_bytes())?;
    copy(&workspace.join("docs/c-library.md"), &prefix.join("share/doc/antiphon/c-library.md"))
}

/// The directory of the workspace.
#[must_use]
pub fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn package(Places { prefix, libdir }: &Places) -> String {
    // By the prefix where that is possible, so that pkg-config can put another one in its place.
    let libdir = match libdir.strip_prefix(prefix) {
        Ok(below) => format!("${{prefix}}/{}", below.display()),
        Err(_) => libdir.display().to_string(),
    };
    format!(
        "prefix={}\n\
         libdir={libdir}\n\
         includedir=${{prefix}}/include\n\
         \n\
         Name: antiphon\n\
         Description: Group communication: the interface of libspread\n\
         Version: {}\n\
         Libs: -L${{libdir}} -lantiphon\n\
         Libs.private: {SYSTEM_LIBRARIES}\n\
         Cflags: -I${{includedir}}\n",
        prefix.display(),
        env!("CARGO_PKG_VERSION"),
    )
}

fn copy(from: &Path, to: &Path) -> Result<(), XtaskError> {
    let content = fs::read(from).map_err(|source| XtaskError::Read { path: from.to_owned(), source })?;
    write(to, &content)
}

/// Makes a shared library of an old name that holds nothing and needs the installed one beside it. A link would not do:
/// the cache of the dynamic loader knows a library only by the name that is in it.
fn forward(name: &str, lib: &Path) -> Result<(), XtaskError> {
    let compiler = env::var_os("CC").unwrap_or_else(|| "cc".into());
    let failed = |reason: String| XtaskError::Link { name: name.to_owned(), reason };
    let new = lib.join(format!(".{name}.{}", std::process::id()));
    let linked = Command::new(compiler)
        .args(["-shared", "-nostdlib", "-Wl,--no-as-needed", "-Wl,-rpath,$ORIGIN"])
        .arg(format!("-Wl,-soname,{name}"))
        .arg("-o")
        .arg(&new)
        .arg(lib.join(SHARED))
        .output()
        .map_err(|error| failed(error.to_string()))?;
    if !linked.status.success() {
        return Err(failed(String::from_utf8_lossy(&linked.stderr).trim().to_owned()));
    }
    let path = lib.join(name);
    fs::rename(&new, &path).map_err(|source| XtaskError::Write { path, source })
}

fn link(to: &str, at: &Path) -> Result<(), XtaskError> {
    replace(at, |new| symlink(to, new))
}

fn write(path: &Path, content: &[u8]) -> Result<(), XtaskError> {
    replace(path, |new| fs::write(new, content))
}

/// Puts what is made in the place of a file. Programs may be running with the old one, and others may start at any moment:
/// it is not written over, and never not there.
fn replace(path: &Path, make: impl FnOnce(&Path) -> io::Result<()>) -> Result<(), XtaskError> {
    let replaced = || {
        let directory = path.parent().unwrap_or(Path::new(""));
        fs::create_dir_all(directory)?;
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let new = directory.join(format!(".{name}.{}", std::process::id()));
        make(&new).and_then(|()| fs::rename(&new, path)).inspect_err(|_| drop(fs::remove_file(&new)))
    };
    replaced().map_err(|source| XtaskError::Write { path: path.to_owned(), source })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn libraries_are_told_of_by_the_prefix_if_they_are_below_it() {
        let libdir = |libdir: &str| {
            let package = package(&Places::new(Path::new("/usr"), Path::new(libdir)));
            package.lines().find_map(|line| line.strip_prefix("libdir=")).map(str::to_owned)
        };
        assert_eq!(libdir("lib64").as_deref(), Some("${prefix}/lib64"));
        assert_eq!(libdir("/usr/lib/x86_64-linux-gnu").as_deref(), Some("${prefix}/lib/x86_64-linux-gnu"));
        assert_eq!(libdir("/lib").as_deref(), Some("/lib"));
    }

    #[test]
    fn a_directory_that_can_not_be_written_is_told_with_what_to_do() {
        // Not even root makes a directory there.
        let error =
            write(Path::new("/proc/nowhere/sp.h"), b"").expect_err("not a place for files").to_string();
        assert!(
            error.starts_with("cannot write /proc/nowhere/sp.h: ") && error.contains("--destdir"),
            "{error}"
        );
    }
}
