//! Whole files, good, bad and damaged.

use std::net::Ipv4Addr;
use std::time::Duration;

use super::identity::fnv1a;
use super::*;

fn read(text: &str) -> Result<Loaded, LoadError> {
    load_source(Source::new("spread.conf", text.as_bytes()), None)
}

fn good(text: &str) -> Loaded {
    read(text).unwrap_or_else(|error| panic!("{text}\n{error}"))
}

fn report(text: &str) -> String {
    match read(text) {
        Err(error) => error.to_string(),
        Ok(_) => panic!("accepted:\n{text}"),
    }
}

const ONE: &str = "Spread_Segment 127.0.0.255:4803 {\n localhost 127.0.0.1\n}\n";

fn with(directives: &str) -> String {
    format!("{directives}\n{ONE}")
}

#[test]
fn the_customary_file_is_read() {
    let loaded = good(
        "# Blank lines are permitted in this file.\r\n\
         Spread_Segment  127.0.0.255:4804 {\r\n\tlocalhost\t127.0.0.1\r\n\tother 127.0.0.2 { D 127.0.0.2 C 127.0.0.5 }\r\n}\r\n\
         DebugFlags = { PRINT EXIT }\r\nEventPriority =  INFO  \r\nWindow=80   \r\n\
         #EventLogFile = testlog.out\r\nEventTimeStamp = \"[%a %d %b %Y %H:%M:%S]\"\r\n\
         SocketPortReuse = AUTO\r\nMaxSessionMessages = 5000 \r\nOutboxLimit = 256\r\n",
    );
    let settings = loaded.settings;
    assert!(loaded.warnings.is_empty(), "{:?}", loaded.warnings);
    assert_eq!(settings.config.me, DaemonId(0));
    assert_eq!(settings.locations.len(), 2);
    assert_eq!(settings.locations[1].port, 4804);
    assert!(settings.client_interfaces.iter().all(IpAddr::is_unspecified));
    assert_eq!(settings.config.ring.windows.all, 80);
    assert_eq!(settings.config.sessions.max_outbox_messages, 5000);
    assert_eq!(settings.config.sessions.max_kept_bytes, 256 << 20);
    assert_eq!(settings.log.timestamp.as_deref(), Some("[%a %d %b %Y %H:%M:%S]"));
}

#[test]
fn socket_directories_add_up_and_count_once() {
    let loaded = good(&with(
        "UnixSocketDirectory = /run/a\nUnixSocketDirectory = /run/b\nUnixSocketDirectory = /run/a/",
    ));
    assert_eq!(loaded.settings.unix_dirs, [PathBuf::from("/run/a"), PathBuf::from("/run/b")]);
    assert!(loaded.warnings.is_empty(), "{:?}", loaded.warnings);
}

#[test]
fn addresses_of_segments_make_another_cluster_unless_they_are_excluded() {
    let hash = |directive: &str, segment: &str| {
        let text = format!("{directive}\nSpread_Segment {segment}:4803 {{ localhost 127.0.0.1 }}");
        good(&text).settings.config.cluster.hash
    };
    let (one, other) = ("127.0.0.255", "239.1.2.3");
    for (directive, same) in
        [("", false), ("ExcludeSegAddrsFromHash = no", false), ("ExcludeSegAddrsFromHash = yes", true)]
    {
        assert_eq!(hash(directive, one) == hash(directive, other), same, "{directive}");
    }
    assert_eq!(hash("", one), hash("", one));
}

#[test]
fn a_daemon_sleeps_unless_it_is_told_to_poll() {
    for (directive, polls) in [("", false), ("BusyPoll = no", false), ("BusyPoll = Yes", true)] {
        assert_eq!(good(&with(directive)).settings.busy_poll, polls, "{directive}");
    }
}

#[test]
fn the_name_decides_who_i_am_and_which_interfaces_serve_clients() {
    let text = "Spread_Segment 127.0.0.255 { a 127.0.0.1 b 127.0.0.2 { D 127.0.0.2 C 127.0.0.5 } }";
    let source = || Source::new("spread.conf", text.as_bytes());
    let loaded = load_source(source(), Some("b")).expect("b is configured");
    assert_eq!(loaded.settings.config.me, DaemonId(1));
    assert_eq!(loaded.settings.client_interfaces, [IpAddr::from([127, 0, 0, 5])]);
    assert!(loaded.warnings.is_empty());
    let unknown = load_source(source(), Some("c")).expect_err("c is not");
    assert_eq!(unknown.to_string(), "the configuration has no daemon named c; it has a, b");
}

#[test]
fn long_names_are_cut_in_the_file_and_in_what_names_the_daemon_to_be() {
    let text =
        "Spread_Segment 127.0.0.255 { n1.cluster.example.com 127.0.0.1 n2.cluster.example.com 127.0.0.2 }";
    for me in ["n2.cluster.example.com", "n2.cluster.example."] {
        let source = Source::new("spread.conf", text.as_bytes());
        let loaded = load_source(source, Some(me)).expect("it is configured");
        assert_eq!(loaded.settings.here.name.as_bytes(), b"n2.cluster.example.");
        let [first, _] = loaded.warnings.as_slice() else { panic!("{:?}", loaded.warnings) };
        assert_eq!(first.message, "the name `n1.cluster.example.com` is too long");
        assert!(first.label.contains("called n1.cluster.example."), "{first:?}");
    }
    assert!(good(&format!("{ONE}EventPriority = INFO")).warnings.is_empty());
}

#[test]
fn long_names_are_looked_up_whole_and_must_differ_when_they_are_cut() {
    let lost = report("Spread_Segment 127.0.0.255 { node.of.a.cluster.nowhere.invalid }");
    assert!(lost.contains("cannot find the address of `node.of.a.cluster.nowhere.invalid`"), "{lost}");
    let cut =
        ["node-of-a-cluster-1 127.0.0.1", "node-of-a-cluster-10 127.0.0.2", "node-of-a-cluster-11 127.0.0.3"];
    for (one, other) in [(0, 1), (1, 0), (1, 2)] {
        let same = report(&format!("Spread_Segment 127.0.0.255 {{ {} {} }}", cut[one], cut[other]));
        assert!(same.contains("two daemons are named node-of-a-cluster-1\n"), "{same}");
        assert!(same.contains("expected a name that differs in its first 19 bytes"), "{same}");
    }
}

#[test]
fn a_machine_without_a_configured_address_is_told_so() {
    let error = read("Spread_Segment 192.0.2.255 { a 192.0.2.1 }").expect_err("not our address");
    assert!(error.to_string().contains("say which one with -n"), "{error}");
}

#[test]
fn the_cluster_hash_covers_names_addresses_order_ports_and_the_kind_of_network_only() {
    let base = good("Spread_Segment 127.0.0.255 { a 127.0.0.1 b 127.0.0.2 }").settings.config.cluster.hash;
    for other in [
        "Spread_Segment 127.0.0.255 { b 127.0.0.2 a 127.0.0.1 }",
        "Spread_Segment 127.0.0.255 { a 127.0.0.1 c 127.0.0.2 }",
        "Spread_Segment 127.0.0.255 { a 127.0.0.1 b 127.0.0.3 }",
        "Spread_Segment 127.0.0.255:5000 { a 127.0.0.1 b 127.0.0.2 }",
        "Spread_Segment 127.0.0.254 { a 127.0.0.1 b 127.0.0.2 }",
        "Spread_Segment 127.0.0.255 { a 127.0.0.1 }  Spread_Segment 127.0.0.255 { b 127.0.0.2 }",
    ] {
        assert_ne!(good(other).settings.config.cluster.hash, base, "{other}");
    }
    assert_ne!(
        good(&with("WideAreaNetwork = yes")).settings.config.cluster.hash,
        good(ONE).settings.config.cluster.hash
    );
    assert_eq!(
        good(&with("WideAreaNetwork = no")).settings.config.cluster.hash,
        good(ONE).settings.config.cluster.hash
    );
    let same = "Window = 50 Spread_Segment 127.0.0.255:4803 { 'a' 127.0.0.1 { 127.0.0.1 } ; b 127.0.0.2 }";
    assert_eq!(good(same).settings.config.cluster.hash, base);
}

#[test]
fn directives_without_effect_are_named_with_what_happens_instead() {
    for (directive, message, label) in [
        ("RuntimeDir = /var/run/spread", "RuntimeDir has no effect", "stays in the directory"),
        ("DaemonUser = spread", "DaemonUser has no effect", "keeps the user"),
        ("DaemonGroup = spread", "DaemonGroup has no effect", "keeps the user and group"),
        ("LinkProtocol = Hop", "LinkProtocol has no effect", "directly over UDP"),
        ("RouteMatrix = { 0 1 1 0 }", "RouteMatrix has no effect", "directly over UDP"),
        ("DebugInitialSequence", "DebugInitialSequence has no effect", "64 bits"),
        ("EventPreciseTimeStamp", "EventPreciseTimeStamp has no effect", "needs EventTimeStamp"),
        ("DebugFlags = { GROUPS }", "DebugFlags has no effect", "EventPriority = DEBUG"),
        ("DebugFlags = { PROTOCOL }", "debug flag `PROTOCOL` has no effect", "no lines of its own"),
        ("EventTimeStamp = \"%!\"", "the format of EventTimeStamp cannot be used", "the time in UTC"),
        ("DebugFlags = { XYZ }", "unknown debug flag `XYZ`", "left out"),
        ("AllowedAuthMethods = \"NULL PWORD\"", "authentication method PWORD", "left out"),
        ("Window = 5\nWindow = 6", "Window is given more than once", "replaces"),
    ] {
        let loaded = good(&with(directive));
        let [warning] = loaded.warnings.as_slice() else { panic!("{directive}: {:?}", loaded.warnings) };
        assert!(warning.message.starts_with(message), "{directive}: {warning:?}");
        assert!(warning.label.contains(label), "{directive}: {warning:?}");
    }
}

#[test]
fn daemons_of_different_networks_have_more_time_unless_the_file_says_what_they_are() {
    let near = "Spread_Segment 10.1.2.255 { a 10.1.2.1 } Spread_Segment 10.1.3.255 { b 10.1.3.1 }";
    let far = "Spread_Segment 10.1.2.255 { a 10.1.2.1 } Spread_Segment 10.2.3.255 { b 10.2.3.1 }";
    let near_v6 = "Spread_Segment [2001:db8:1:2::1] { a [2001:db8:1:2::1] } \
                   Spread_Segment [2001:db8:1:3::1] { b [2001:db8:1:3::1] }";
    let far_v6 = "Spread_Segment [2001:db8:1:2::1] { a [2001:db8:1:2::1] } \
                  Spread_Segment [2001:db8:2:2::1] { b [2001:db8:2:2::1] }";
    let one = "Spread_Segment 10.1.2.1 { a 10.1.2.1 b 10.2.2.1 }";
    let loopback = "Spread_Segment 127.0.0.255 { a 127.0.0.1 } Spread_Segment 127.1.0.255 { b 127.1.0.1 }";
    for (directive, segments, wide) in [
        ("", near, false),
        ("", far, true),
        ("", near_v6, false),
        ("", far_v6, true),
        ("", one, false),
        ("", loopback, false),
        ("WideAreaNetwork = no", far, false),
        ("WideAreaNetwork = yes", one, true),
    ] {
        let text = format!("{directive}\n{segments}");
        let settings =
            load_source(Source::new("x.conf", text.as_bytes()), Some("a")).expect("a good file").settings;
        let ms = if wide { 2000 } else { 200 };
        assert_eq!(settings.wide_area, wide, "{text}");
        assert_eq!(settings.config.ring.token_loss, Duration::from_millis(ms), "{text}");
        assert_eq!(settings.config.membership.leave, Duration::from_millis(ms / 2), "{text}");
    }
}

#[test]
fn the_nine_timeouts_stand_above_those_of_a_wide_area_network() {
    let nine: String = ["Token", "Hurry", "Alive", "Join", "Rep", "Seg", "Gather", "Form", "Lookup"]
        .map(|name| format!("{name}Timeout = 600\n"))
        .concat();
    let far = "Spread_Segment 10.1.2.255 { a 10.1.2.1 } Spread_Segment 10.2.3.255 { b 10.2.3.1 }";
    let text = format!("{nine}{far}");
    let loaded = load_source(Source::new("x.conf", text.as_bytes()), Some("a")).expect("a good file");
    assert!(!loaded.settings.wide_area, "a file with times of its own has thought of the network");
    let settings = good(&with(&format!("{nine}WideAreaNetwork = yes"))).settings;
    assert_eq!(settings.config.ring.token_loss, Duration::from_millis(600));
    assert_eq!(settings.config.membership.gather, Duration::from_millis(450));
    assert_eq!(settings.config.membership.hello, Duration::from_millis(600));
}

#[test]
fn wrong_values_are_errors_at_their_place() {
    for (directive, place, label) in [
        ("Window = 0", ":1:10", "expected a number from 1 to 65536"),
        ("Window = x", ":1:10", "expected a number from 1 to 65536"),
        ("MaxSessionMessages = 0", ":1:22", "expected a number from 1 to 4294967295"),
        ("OutboxLimit = 0", ":1:15", "expected a number from 1 to 1048576"),
        ("Window = 10\nPersonalWindow = 11", ":2:18", "expected at most 10"),
        ("WindowLimit = 100\nWindow = 160", ":2:10", "expected at most 100"),
        ("PersonalWindow = 5\nAcceleratedWindow = 6", ":2:21", "expected at most 5"),
        ("AcceleratedRing = on", ":1:19", "expected true, yes, false or no"),
        ("BusyPoll = 100", ":1:12", "expected true, yes, false or no"),
        ("SocketPortReuse = true", ":1:19", "expected on, off or auto"),
        ("EventPriority = LOUD", ":1:17", "expected pDEBUG, INFO"),
        ("AccessControlPolicy = DENY", ":1:23", "expected PERMIT"),
        ("ActiveIPVersion = 4", ":1:19", "expected IPv4 or IPv6"),
        ("TokenTimeout = 100", ":1:1", "expected all nine or none; missing: HurryTimeout"),
        ("VirtualID = 3", ":1:1", "after the address of a daemon"),
        ("EventLogFile = \"open", ":1:16", "closing quote"),
        ("Bananas = 3", ":1:1", "expected Spread_Segment or a directive"),
    ] {
        let report = report(&with(directive));
        assert!(report.contains(&format!("spread.conf{place}")), "{directive}\n{report}");
        assert!(report.contains(label), "{directive}\n{report}");
    }
}

#[test]
fn limits_and_conflicts_are_errors() {
    let daemons = |count: usize| -> String {
        (0..count).map(|i| format!("d{i} 127.0.{}.{} ", i / 200, i % 200 + 1)).collect()
    };
    let segments = |count: usize| -> String {
        (0..count).map(|i| format!("Spread_Segment 127.0.{i}.255 {{ d{i} 127.0.{i}.1 }} ")).collect()
    };
    assert_eq!(
        good(&format!("Spread_Segment 127.0.0.255 {{ {} }}", daemons(128))).settings.locations.len(),
        128
    );
    good(&segments(20));
    for (text, expected) in [
        (format!("Spread_Segment 127.0.0.255 {{ {} }}", daemons(129)), "expected at most 128"),
        (segments(21), "expected at most 20"),
        (
            format!("Spread_Segment 127.0.0.255 {{ a 127.0.0.1 {{ {} }} }}", "127.0.0.1 ".repeat(11)),
            "at most 10",
        ),
        ("Spread_Segment 127.0.0.255 { a 127.0.0.1 a 127.0.0.2 }".into(), "two daemons are named a"),
        ("Spread_Segment 127.0.0.255 { a 127.0.0.1 b 127.0.0.1 }".into(), "b and a share an address"),
        ("Spread_Segment 127.0.0.255 { a 127.0.0.1 b 192.0.2.1 }".into(), "from its own machine only"),
        ("Spread_Segment 127.0.0.255 { a 127.0.0.1 { } }".into(), "the list of interfaces is empty"),
        ("Spread_Segment 127.0.0.255:65535 { a 127.0.0.1 }".into(), "from 1 to 65534"),
        ("Spread_Segment 127.0.0.255 { nowhere.invalid }".into(), "cannot find the address"),
        ("Window = 5".into(), "no daemon is configured"),
        (String::new(), "no daemon is configured"),
    ] {
        let report = report(&text);
        assert!(report.contains(expected), "{text}\n{report}");
    }
}

#[test]
fn no_two_daemons_have_one_number_in_group_ids() {
    let numbers = |text: &str| -> Vec<u32> {
        good(text).settings.config.cluster.daemons.iter().map(|daemon| daemon.address.to_bits()).collect()
    };
    let shared = numbers(
        "Spread_Segment 127.0.0.255:5000 { a 127.0.0.1 } Spread_Segment 127.0.0.255:5002 { b 127.0.0.1 }",
    );
    assert_eq!(shared, [0x7f00_0001, fnv1a(b"b")]);
    let six =
        "Spread_Segment 127.0.0.255:5000 { a ::1 VirtualID = 9 } Spread_Segment 127.0.0.255:5002 { b ::1 }";
    assert_eq!(numbers(six), [9, fnv1a(b"b")]);
    let taken = report("Spread_Segment 127.0.0.255 { a 127.0.0.1 VirtualID = 7 b 127.0.0.2 VirtualID = 7 }");
    assert!(taken.contains("the VirtualID of b is taken"), "{taken}");
    assert!(taken.contains("spread.conf:1:80\n"), "{taken}");
}

#[test]
fn addresses_that_no_daemon_can_have_are_errors_at_their_place() {
    for (daemons, column, expected) in [
        ("a 0.0.0.0", 32, "a cannot have the address that stands for any"),
        ("a ::", 32, "a cannot have the address that stands for any"),
        ("a 127.0.0.1 b 239.1.2.3", 44, "b cannot have a multicast address"),
        ("a ff02::5", 32, "a cannot have a multicast address"),
        ("a fe80::5", 32, "a cannot have a link-local address"),
        ("a ::ffff:127.0.0.1", 32, "a cannot have an IPv4 address in the form of IPv6"),
        ("a 255.255.255.255", 32, "a cannot have the broadcast address"),
        ("a 192.0.2.1 b 2001:db8::1", 44, "b and a cannot send to each other"),
        ("a ::1 b 127.0.0.1", 38, "expected IPv4 addresses for all daemons, or IPv6"),
    ] {
        let report = report(&format!("Spread_Segment 127.0.0.255 {{ {daemons} }}"));
        assert!(report.contains(expected), "{daemons}\n{report}");
        assert!(report.contains(&format!("spread.conf:1:{column}\n")), "{daemons}\n{report}");
        assert_eq!(report.matches("error:").count(), 1, "{report}");
    }
}

#[test]
fn datagrams_must_be_able_to_carry_a_ring_of_all_daemons() {
    let with = |count: usize, directive: &str| -> String {
        let daemons: String = (1..=count).map(|i| format!("d{i} 127.0.0.{i} ")).collect();
        format!("Spread_Segment 127.0.0.255 {{ {daemons} }}\n{directive}")
    };
    for (count, directive) in [(128, ""), (128, "DatagramBytes = 1472"), (70, "DatagramBytes = 508")] {
        good(&with(count, directive));
    }
    let report = report(&with(110, "DatagramBytes = 508"));
    assert!(report.contains("spread.conf:2:17") && report.contains("expected at least 686"), "{report}");
    good(&with(110, "DatagramBytes = 686"));
}

#[test]
fn the_report_shows_the_line_and_marks_the_word() {
    let report = report("Spread_Segment 127.0.0.255 {\n  localhost 127.0.0.1\n}\nWnidow = 5\n");
    let expected = "error: unknown directive `Wnidow`
 --> spread.conf:4:1
  |
4 | Wnidow = 5
  | ^^^^^^ did you mean `Window`?";
    assert_eq!(report, expected);
}

#[test]
fn several_errors_are_reported_together() {
    let report = report(&with("Window = 0\nSocketPortReuse = 7"));
    assert_eq!(report.matches("error:").count(), 2, "{report}");
}

#[test]
fn naming_a_method_switches_the_free_entry_off() {
    let authentication = |text: &str| good(&with(text)).settings.config.sessions.authentication;
    assert_eq!(authentication("").allowed, [AuthMethod::Null]);
    assert_eq!(
        authentication("AllowedAuthMethods = \"IP NULL\"").allowed,
        [AuthMethod::Null, AuthMethod::Ip]
    );
    let required = authentication("RequiredAuthMethods = \"IP\"");
    assert!(required.allowed.is_empty());
    assert_eq!(required.required, [AuthMethod::Ip]);
}

#[test]
fn ipv6_daemons_have_a_number_for_clients() {
    let settings = good("Spread_Segment [ff02::5]:4803 { a ::1 VirtualID = 9 }").settings;
    assert_eq!(settings.locations[0].address, "::1".parse::<IpAddr>().expect("an address"));
    assert_eq!(u32::from(settings.config.cluster.daemons[0].address), 9);
}

#[test]
fn a_missing_file_is_an_error_only_when_it_was_named() {
    let error = load(Some(Path::new("/nonexistent/spread.conf")), None).expect_err("no such file");
    let error = error.to_string();
    assert!(error.contains("/nonexistent/spread.conf") && error.contains("or leave -c out"), "{error}");
}

#[test]
fn addresses_that_the_system_does_not_tell_are_not_called_missing() {
    let error = LoadError::Addresses(rustix::io::Errno::MFILE.into()).to_string();
    assert!(error.contains("LimitNOFILE=") && error.ends_with("with -n"), "{error}");
}

#[test]
fn the_built_in_configuration_serves_this_machine_by_the_addresses_that_it_has() {
    let settings = |has: fn(IpAddr) -> bool| load_built_in(None, has).expect("it is a good one").settings;
    let (four, six) = (IpAddr::from(Ipv4Addr::LOCALHOST), IpAddr::from(Ipv6Addr::LOCALHOST));
    assert_eq!(settings(|_| true).locations[0].port, 4803);
    assert_eq!(settings(|_| true).client_interfaces, [four, six]);
    assert_eq!(settings(|address| address.is_ipv4()).client_interfaces, [four]);
}

#[test]
fn damaged_files_never_panic() {
    let seed = "Spread_Segment [ff02::5%e]:4803 127.0.0.255:99 {\n a 127.0.0.1 VirtualID = 3 { D 127.0.0.1 C ::1 }\n; 127.0.0.9 }\n\
        DebugFlags = { PRINT !EXIT }\nEventTimeStamp = \"%H\"\nWindow = 5\nTokenTimeout = 9\nRouteMatrix = { 1 2 }\n# ä\n";
    let alphabet = b"{}=!;:#\"'%[] \t\r\n09aDCM.\xc3\xa4\xff\0";
    let mut random = fastrand::Rng::with_seed(7);
    for _ in 0..4000 {
        let mut bytes = seed.as_bytes().to_vec();
        for _ in 0..random.usize(1..8) {
            let at = random.usize(..bytes.len());
            match random.u8(..3) {
                0 => bytes[at] = alphabet[random.usize(..alphabet.len())],
                1 => drop(bytes.remove(at)),
                _ => bytes.insert(at, alphabet[random.usize(..alphabet.len())]),
            }
        }
        bytes.truncate(random.usize(1..=bytes.len()));
        let source = Source::new("spread.conf", &bytes);
        // A damaged name would be looked up on the network, so only well-formed trees without one go on.
        match parse::parse(&source.text) {
            Ok(tree) if tree.daemons().all(|d| d.address.is_some()) => {
                if let Err(error) = load_source(source, None) {
                    assert!(!error.to_string().is_empty());
                }
            }
            Ok(_) => {}
            Err(error) => assert!(!source.render(&error).is_empty()),
        }
    }
}

#[test]
fn datagrams_fill_a_frame_of_ethernet_unless_the_file_says_otherwise() {
    let bytes = |text: &str| good(text).settings.config.ring.datagram_bytes;
    assert_eq!(bytes("Spread_Segment 127.0.0.255 { a 127.0.0.1 b 127.0.0.2 }"), 1472);
    assert_eq!(bytes("Spread_Segment [::1]:4803 { a ::1 }"), 1452);
    assert_eq!(bytes("Spread_Segment [::1]:4803 { a ::1 }\nDatagramBytes = 1472"), 1472);
}

/// The key itself is read by the daemon: who else uses the file may not be allowed to.
#[test]
fn a_key_takes_room_in_each_datagram() {
    let loaded = good(&with("KeyFile = /nowhere/antiphon.key"));
    assert_eq!((loaded.settings.config.ring.datagram_bytes, loaded.warnings.len()), (1436, 0));
    assert_eq!(loaded.settings.key_file, Some("/nowhere/antiphon.key".into()));
    assert_eq!(loaded.settings.config.cluster, good(&with("")).settings.config.cluster);
    let daemons: String = (1..=110).map(|i| format!("d{i} 127.0.0.{i} ")).collect();
    let many = format!("Spread_Segment 127.0.0.255 {{ {daemons} }}\nKeyFile = k\nDatagramBytes = 700");
    assert!(report(&many).contains("expected at least 722"), "{}", report(&many));
}

#[test]
fn a_file_without_an_end_is_not_read_to_it() {
    let error = load(Some(Path::new("/dev/zero")), None).expect_err("no configuration").to_string();
    assert!(error.starts_with("cannot read the configuration file /dev/zero: it is longer than "), "{error}");
}
