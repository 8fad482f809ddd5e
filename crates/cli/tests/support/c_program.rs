//! Programs in C, compiled with the C library as it is installed.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::{LazyLock, Mutex, PoisonError};

use antiphon_xtask::{Libraries, Places, install};

use super::PROGRAM;
use super::process::spawn;

/// How a program gets the library.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Link {
    /// The shared one, by that name.
    Shared(&'static str),
    /// The static one, by that name.
    Static(&'static str),
}

/// What watches a program's use of memory.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Watch {
    Valgrind,
    AddressSanitizer,
}

/// Below the prefix; not the usual one.
const LIBDIR: &str = "lib64";

/// The prefix to which the library is installed, one for each program with tests.
pub(crate) fn prefix() -> &'static Path {
    static PREFIX: LazyLock<PathBuf> = LazyLock::new(|| {
        let tests = std::env::current_exe().expect("this program");
        let name = tests.file_name().expect("a name");
        let prefix = Path::new(env!("CARGO_TARGET_TMPDIR")).join("prefix").join(name);
        let built = Libraries::in_directory(&Path::new(PROGRAM).with_file_name("deps"));
        let places = Places::new(&prefix, Path::new(LIBDIR));
        install(&built, &places, None).expect("the library was built with this test");
        prefix
    });
    &PREFIX
}

/// Where the libraries are.
pub(crate) fn libdir() -> PathBuf {
    prefix().join(LIBDIR)
}

/// Where sources and headers of the C library are.
pub(crate) fn sources() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../capi/tests/c")
}

/// Compiles a program of crates/capi/tests/c.
pub(crate) fn compile(name: &str, link: Link) -> PathBuf {
    let lib = libdir();
    let library = match link {
        Link::Shared(name) => vec![format!("-l{name}"), format!("-Wl,-rpath,{}", lib.display())],
        Link::Static(name) => {
            let system = ["-lutil", "-lrt", "-lpthread", "-lm", "-ldl"].map(str::to_owned);
            [vec![lib.join(format!("lib{name}.a")).display().to_string()], system.to_vec()].concat()
        }
    };
    let (Link::Shared(kind) | Link::Static(kind)) = link;
    let suffix = if matches!(link, Link::Static(_)) { "static" } else { "shared" };
    compile_with(name, &format!("{name}-{kind}-{suffix}"), &library)
}

/// Compiles a program that tells when it or the library misuses memory that it can watch.
fn compile_sanitized(name: &str) -> PathBuf {
    let lib = libdir();
    let rpath = format!("-Wl,-rpath,{}", lib.display());
    let options = ["-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-lspread-core", &rpath];
    compile_with(name, &format!("{name}-sanitized"), &options.map(str::to_owned))
}

/// Compiles a program with further options, once: what runs cannot be written again.
pub(crate) fn compile_with(name: &str, program: &str, options: &[String]) -> PathBuf {
    static COMPILED: Mutex<BTreeSet<PathBuf>> = Mutex::new(BTreeSet::new());
    let bin = prefix().join("bin");
    std::fs::create_dir_all(&bin).expect("a directory");
    let path = bin.join(program);
    let mut compiled = COMPILED.lock().unwrap_or_else(PoisonError::into_inner);
    if compiled.contains(&path) {
        return path;
    }
    let mut cc = Command::new("cc");
    cc.args(["-std=gnu11", "-Wall", "-Wextra", "-Werror", "-g", "-O1", "-pthread", "-o"]).arg(&path);
    cc.arg("-I").arg(prefix().join("include")).arg("-L").arg(libdir());
    cc.arg(sources().join(name).with_extension("c")).args(options);
    let output = cc.output().expect("a C compiler, which linking Rust needs as well");
    assert!(output.status.success(), "{cc:?}: {}", String::from_utf8_lossy(&output.stderr));
    compiled.insert(path.clone());
    path
}

/// Runs a program to its end; returns what it printed.
pub(crate) fn run(program: &Path, args: &[&str]) -> String {
    finished(limited().arg(program).args(args))
}

/// The beginning of a command that does not hang.
fn limited() -> Command {
    let mut command = Command::new("timeout");
    command.arg("240");
    command
}

/// As [`run`], watched.
pub(crate) fn run_watched(name: &str, args: &[&str], watch: Watch) -> String {
    match watch {
        // The child of a fork has what only threads of its parent knew of: no leak, though it looks like one.
        Watch::AddressSanitizer => {
            finished(limited().arg(compile_sanitized(name)).args(args).env("ASAN_OPTIONS", "detect_leaks=0"))
        }
        Watch::Valgrind => {
            let mut command = Command::new("valgrind");
            command.args([
                "--quiet",
                "--error-exitcode=99",
                "--leak-check=full",
                "--child-silent-after-fork=yes",
            ]);
            command.args([
                "--errors-for-leak-kinds=definite",
                "--show-leak-kinds=definite",
                "--fair-sched=yes",
            ]);
            finished(command.arg(compile(name, Link::Shared("spread-core"))).args(args))
        }
    }
}

/// Starts a program, to be talked to.
pub(crate) fn start(program: &Path, args: &[&str]) -> Child {
    let mut command = limited();
    command.arg(program).args(args).stdin(Stdio::piped()).stdout(Stdio::piped());
    spawn(&mut command)
}

fn finished(command: &mut Command) -> String {
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let output: Output = spawn(command).wait_with_output().expect("the program ends");
    let (told, errors) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{command:?}: {}\n{errors}\n{told}", output.status);
    told.into_owned()
}
