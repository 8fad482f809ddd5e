//! The configuration file as a tree, before names are looked up and values understood.

use std::net::IpAddr;

use super::diagnostic::Span;

/// A value and the bytes of the file that gave it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Spanned<T> {
    pub(crate) value: T,
    pub(crate) span: Span,
}

impl<T> Spanned<T> {
    pub(crate) fn new(value: T, span: Span) -> Self {
        Self { value, span }
    }
}

/// A whole file.
#[derive(Clone, Default, Debug)]
pub(crate) struct Tree {
    pub(crate) segments: Vec<SegmentTree>,
    /// Directives in the order of the file.
    pub(crate) directives: Vec<DirectiveTree>,
}

impl Tree {
    /// All daemons, in the order of the file, which is that of their numbers.
    pub(crate) fn daemons(&self) -> impl Iterator<Item = &DaemonTree> {
        self.segments.iter().flat_map(|segment| &segment.daemons)
    }
}

/// `Spread_Segment address[:port] … { daemon … }`
#[derive(Clone, Debug)]
pub(crate) struct SegmentTree {
    pub(crate) span: Span,
    pub(crate) addresses: Vec<Spanned<Address>>,
    pub(crate) daemons: Vec<DaemonTree>,
}

/// `NAME [address] [VirtualID = n] [{ interface … }]`
#[derive(Clone, Debug)]
pub(crate) struct DaemonTree {
    pub(crate) name: Spanned<String>,
    /// None when the name is to be looked up.
    pub(crate) address: Option<Spanned<Address>>,
    pub(crate) virtual_id: Option<Spanned<u32>>,
    /// None without a stanza.
    pub(crate) interfaces: Option<Vec<InterfaceTree>>,
}

/// `[C] [D] [M] address`; without a letter, all three.
#[derive(Clone, Debug)]
pub(crate) struct InterfaceTree {
    pub(crate) address: Spanned<Address>,
    pub(crate) clients: bool,
    pub(crate) daemons: bool,
}

/// An address with the port that may follow it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Address {
    pub(crate) ip: IpAddr,
    pub(crate) port: Option<u16>,
}

/// `KEY = value`, `KEY = { … }` or `KEY` alone. The key is one of the table of directives.
#[derive(Clone, Debug)]
pub(crate) struct DirectiveTree {
    pub(crate) key: Spanned<&'static str>,
    pub(crate) values: Vec<ValueTree>,
}

/// A word of a value; `negated` with a `!` before it, as in `DebugFlags`.
#[derive(Clone, Debug)]
pub(crate) struct ValueTree {
    pub(crate) text: Spanned<String>,
    pub(crate) negated: bool,
}

/// Reads `1.2.3.4`, `1.2.3.4:5`, `::1`, `[::1]`, `[::1]:5`; an interface suffix `%eth1` is dropped.
pub(crate) fn address(text: &str) -> Option<Address> {
    if let Some(rest) = text.strip_prefix('[') {
        let (inner, after) = rest.split_once(']')?;
        let port = match after {
            "" => None,
            after => Some(after.strip_prefix(':')?.parse().ok()?),
        };
        return Some(Address { ip: IpAddr::V6(without_interface(inner)?.parse().ok()?), port });
    }
    if let Some(Ok(ip)) = without_interface(text).map(str::parse) {
        return Some(Address { ip, port: None });
    }
    let (ip, port) = text.split_once(':')?;
    let ip = without_interface(ip)?.parse().ok()?;
    Some(Address { ip: IpAddr::V4(ip), port: Some(port.parse().ok()?) })
}

/// What stands before the `%` and the name of an interface, if there is one. None if a port stands behind that, where
/// it is no part of the name.
fn without_interface(text: &str) -> Option<&str> {
    match text.split_once('%') {
        None => Some(text),
        Some((_, name)) if name.is_empty() || name.contains(':') => None,
        Some((ip, _)) => Some(ip),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_come_with_and_without_ports() {
        let parse = |text| address(text).map(|Address { ip, port }| (ip.to_string(), port));
        assert_eq!(parse("10.0.0.1"), Some(("10.0.0.1".into(), None)));
        assert_eq!(parse("10.0.0.1:4803"), Some(("10.0.0.1".into(), Some(4803))));
        assert_eq!(parse("::1"), Some(("::1".into(), None)));
        assert_eq!(parse("[ff02::5%eth1]:3333"), Some(("ff02::5".into(), Some(3333))));
        assert_eq!(parse("225.0.1.1%eth0:3333"), Some(("225.0.1.1".into(), Some(3333))));
        assert_eq!(parse("225.0.1.1%eth0"), Some(("225.0.1.1".into(), None)));
        for bad in ["ff02::5%eth1:3333", "225.0.1.1%:3333", "225.0.1.1%"] {
            assert_eq!(parse(bad), None, "{bad:?}");
        }
        for bad in ["", "host", "1.2.3", "1.2.3.400", "1.2.3.4:", "1.2.3.4:70000", "[::1", "[::1]x", "5"] {
            assert_eq!(parse(bad), None, "{bad:?}");
        }
    }
}
