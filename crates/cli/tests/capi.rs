//! The C library: programs in C, compiled against its headers and run with a real daemon.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test")]

mod support;

use rustix::process::Signal;
use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::Path;
use std::process::{Child, Command};

use support::c_program::{
    Link, Watch, compile, compile_with, libdir, prefix, run, run_watched, sources, start,
};
use support::cluster::{Cluster, Layout};
use support::skip::lacking;

const SHARED: Link = Link::Shared("spread-core");

/// The functions of Spread's two libraries, and the event loop.
const SYMBOLS: &str = "
    SP_version SP_set_auth_method SP_set_auth_methods SP_connect SP_connect_timeout SP_disconnect SP_kill
    SP_join SP_leave SP_multicast SP_multigroup_multicast SP_scat_multicast SP_multigroup_scat_multicast
    SP_receive SP_scat_receive SP_poll SP_equal_group_ids SP_get_memb_info SP_get_vs_sets_info
    SP_get_vs_set_members SP_scat_get_memb_info SP_scat_get_vs_sets_info SP_scat_get_vs_set_members
    SP_error SP_strerror
    FL_lib_init FL_version FL_connect FL_disconnect FL_join FL_leave FL_flush FL_multicast
    FL_scat_multicast FL_unicast FL_scat_unicast FL_subgroupcast FL_scat_subgroupcast FL_receive
    FL_scat_receive FL_more_msgs FL_poll FL_get_gid_offset_memb_mess FL_get_num_vs_offset_memb_mess
    FL_get_vs_set_offset_memb_mess FL_error
    E_init E_get_time E_sub_time E_add_time E_compare_time E_delay E_queue E_in_queue E_dequeue
    E_dequeue_all_time_events E_attach_fd E_detach_fd E_detach_fd_priority E_activate_fd E_deactivate_fd
    E_set_active_threshold E_num_active E_handle_events E_exit_events";

fn output(program: &str, args: &[&str]) -> String {
    let output = Command::new(program).args(args).output().expect("the binutils are there with the compiler");
    assert!(output.status.success(), "{program}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn the_shared_library_exports_the_interface_and_nothing_else() {
    let path = libdir().join("libantiphon.so.3").display().to_string();
    let told = output("nm", &["-D", "--defined-only", &path]);
    let exported: BTreeSet<&str> =
        told.lines().map(|line| line.rsplit(' ').next().expect("a name")).collect();
    assert_eq!(exported, SYMBOLS.split_whitespace().collect());
    assert!(output("readelf", &["-d", &path]).contains("Library soname: [libantiphon.so.3]"));
}

#[test]
fn each_header_compiles_alone_and_strictly() {
    for header in ["sp.h", "sp_events.h", "sp_func.h", "fl.h"] {
        let include = prefix().join("include").display().to_string();
        let path = format!("{include}/{header}");
        let strict = ["-std=c90", "-pedantic", "-Wall", "-Wextra", "-Werror", "-fsyntax-only", "-x", "c"];
        output("cc", &[&strict[..], &["-I", &include, &path]].concat());
    }
}

#[test]
fn programs_link_by_every_name() {
    for name in ["antiphon", "spread", "spread-core", "tspread-core"] {
        run(&compile("events", Link::Shared(name)), &[]);
    }
    run(&compile("events", Link::Static("spread-core")), &[]);
}

/// As the dynamic loader's cache has them, in which it looks for what is not in its own directories.
#[test]
fn the_cache_of_the_loader_knows_the_old_names() {
    let path = |name: &str| prefix().join(name).display().to_string();
    let (list, cache) = (path("ld.so.conf"), path("ld.so.cache"));
    std::fs::write(&list, libdir().display().to_string()).expect("written");
    let mut ldconfig = Command::new("/sbin/ldconfig");
    if ldconfig.args(["-X", "-f", &list, "-C", &cache]).output().is_err() {
        return lacking("there is no ldconfig");
    }
    let known = output("/sbin/ldconfig", &["-p", "-C", &cache]);
    for name in ["libantiphon", "libspread", "libspread-core", "libtspread-core"] {
        assert!(known.contains(&format!("{name}.so.3 ")), "{name} in {known}");
    }
}

/// The names that old programs have in them lead to this library.
#[test]
fn programs_that_were_linked_with_the_old_library_run() {
    let directory = prefix().join("old");
    std::fs::create_dir_all(&directory).expect("a directory");
    let stubs: String = SYMBOLS.split_whitespace().map(|name| format!("void {name}(void) {{}}\n")).collect();
    let source = directory.join("stubs.c");
    std::fs::write(&source, stubs).expect("written");
    let path = |path: &Path| path.display().to_string();
    for name in ["libspread.so.3", "libspread-core.so.3", "libtspread-core.so.3"] {
        let old = directory.join(format!("old-{name}"));
        let soname = format!("-Wl,-soname,{name}");
        output("cc", &["-shared", "-fPIC", &soname, &path(&source), "-o", &path(&old)]);
        let program = compile_with("events", &format!("events-with-{name}"), &[path(&old)]);
        let mut command = Command::new(program);
        let status = command.env("LD_LIBRARY_PATH", libdir()).status().expect("it starts");
        assert!(status.success(), "with {name}: {status}");
    }
}

#[test]
fn pkg_config_knows_the_library() {
    let Some(mut options) = told_by_pkg_config(&["--cflags", "--libs", "antiphon"]) else { return };
    options.push(format!("-Wl,-rpath,{}", libdir().display()));
    run(&compile_with("events", "events-by-pkg-config", &options), &[]);
}

#[test]
fn pkg_config_knows_what_a_program_without_shared_libraries_needs() {
    let Some(mut options) = told_by_pkg_config(&["--static", "--libs", "antiphon"]) else { return };
    if output("cc", &["-print-file-name=libc.a"]).trim() == "libc.a" {
        return lacking("there is no static libc");
    }
    options.push("-static".to_owned());
    run(&compile_with("events", "events-static", &options), &[]);
}

fn told_by_pkg_config(args: &[&str]) -> Option<Vec<String>> {
    let mut pkg_config = Command::new("pkg-config");
    pkg_config.args(args).env("PKG_CONFIG_PATH", libdir().join("pkgconfig"));
    let Ok(told) = pkg_config.output() else {
        lacking("there is no pkg-config");
        return None;
    };
    assert!(told.status.success(), "{}", String::from_utf8_lossy(&told.stderr));
    Some(String::from_utf8_lossy(&told.stdout).split_whitespace().map(str::to_owned).collect())
}

#[test]
fn every_function_returns_what_it_should() {
    let cluster = Cluster::single("");
    run(&compile("api", SHARED), &[&cluster.address(0)]);
}

#[test]
fn errors_are_printed_in_turn() {
    let told = run(&compile("errors", SHARED), &[]);
    let lines: Vec<&str> = told.lines().collect();
    let begins =
        ["first: SP_error: (-14) the group's name", "then: FL_error: (-25) there is nothing", "last"];
    assert_eq!(lines.len(), begins.len(), "{told}");
    assert!(lines.iter().zip(begins).all(|(line, begin)| line.starts_with(begin)), "{told}");
}

#[test]
fn threads_forks_and_many_sessions_lose_nothing() {
    let cluster = Cluster::single("");
    run(&compile("processes", SHARED), &[&cluster.address(0)]);
}

#[test]
fn a_stopped_daemon_holds_up_no_end() {
    let cluster = Cluster::single("");
    let pid = cluster.process(0).pid().to_string();
    run(&compile("stopped", SHARED), &[&cluster.address(0), &pid]);
    cluster.signal(0, Signal::CONT);
}

#[test]
fn memory_is_used_as_it_may() {
    let valgrind = Command::new("valgrind").arg("--version").output().is_ok();
    let watch = if valgrind { Watch::Valgrind } else { Watch::AddressSanitizer };
    if !valgrind {
        lacking("there is no valgrind, and AddressSanitizer sees less");
    }
    let cluster = Cluster::single("");
    let address = cluster.address(0);
    run_watched("events", &[], watch);
    run_watched("api", &[&address], watch);
    run_watched("conversation", &[&address], watch);
    run_watched("flooder", &[&address, "500", "1000"], watch);
    run_watched("processes", &[&address], Watch::AddressSanitizer);
}

#[test]
fn programs_in_the_style_of_the_old_tools_work() {
    let cluster = Cluster::single("");
    let address = cluster.address(0);
    let told = run(&compile("flooder", SHARED), &[&address, "5000", "1000"]);
    assert_eq!(told, "5000 messages of 1000 bytes\n");
    let told = run(&compile("membership_timer", SHARED), &[&address, "20"]);
    assert!(told.starts_with("20 rounds of joining and leaving in "), "{told}");
    let told = run(&compile("throughput", SHARED), &[&address, "100", "1"]);
    assert!(told.trim().parse::<u64>().is_ok_and(|rate| rate > 0), "{told}");
}

#[test]
fn a_user_talks() {
    let cluster = Cluster::single("");
    let mut user = Talk::new("user", &[&cluster.address(0), "ann"]);
    user.hears("I am #ann#localhost");
    user.says("j chat");
    user.hears("chat has 1 members, I am number 0; changed: #ann#localhost");
    user.says("s chat hello to all");
    user.hears("#ann#localhost says hello to all");
    user.says("l chat");
    user.hears("out of chat");
    user.says("q");
    user.ends();
}

/// Members of one group on two daemons, one of which dies: that network change is where programs with the
/// old flush library crash.
#[test]
fn flush_users_hear_each_other_and_survive_a_network_change() {
    let mut cluster = Cluster::running(Layout::OwnSegments, 2, "");
    let mut one = Talk::new("flush_user", &[&cluster.address(0), "one", "2"]);
    one.hears("replicas has 1 members");
    let mut two = Talk::new("flush_user", &[&cluster.address(1), "two", "2"]);
    for user in [&mut one, &mut two] {
        user.hears("replicas has 2 members");
        user.hears("heard all");
    }
    cluster.kill(1);
    one.hears("replicas has 1 members, by network");
    one.says("");
    one.ends();
    assert!(!two.child.wait().expect("a child").success(), "its daemon is gone");
}

/// A program that is talked to.
struct Talk {
    child: Child,
    lines: BufReader<std::process::ChildStdout>,
}

impl Talk {
    fn new(name: &str, args: &[&str]) -> Self {
        let mut child = start(&compile(name, SHARED), args);
        let lines = BufReader::new(child.stdout.take().expect("piped"));
        Self { child, lines }
    }

    fn says(&mut self, line: &str) {
        writeln!(self.child.stdin.as_mut().expect("piped"), "{line}").expect("written");
    }

    fn hears(&mut self, expected: &str) {
        let mut line = String::new();
        self.lines.read_line(&mut line).expect("a line");
        assert_eq!(line.trim_end(), expected);
    }

    fn ends(&mut self) {
        let mut rest = String::new();
        self.lines.read_to_string(&mut rest).expect("text");
        let status = self.child.wait().expect("a child");
        assert!(status.success(), "{status}, after {rest:?}");
    }
}

impl Drop for Talk {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn every_program_is_tested() {
    let named = include_str!("capi.rs");
    for file in sources().read_dir().expect("programs") {
        let path = file.expect("readable").path();
        let name = path.file_stem().expect("a name").to_string_lossy().into_owned();
        let is_program = path.extension().is_some_and(|extension| extension == "c");
        assert!(!is_program || named.contains(&format!("\"{name}\"")), "{name} is not run by any test");
    }
}
