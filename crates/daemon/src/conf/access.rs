//! The access list of the `IP` method: `spread.access_ip`, read leniently.
//!
//! Empty and malformed lines are skipped with a remark, where the reference stops reading or dies.

use std::net::Ipv4Addr;
use std::path::Path;

use antiphon_proto::config::AccessRule;

const SEARCH_PATH: [&str; 2] = ["spread.access_ip", "/etc/spread.access_ip"];

/// Reads the first file there is; returns its rules, and remarks of one line each. Without a file nobody passes.
pub(crate) fn load() -> (Vec<AccessRule>, Vec<String>) {
    let Some(path) = SEARCH_PATH.iter().map(Path::new).find(|path| super::is_there(path)) else {
        let missing = SEARCH_PATH.join(" or ");
        return (Vec::new(), vec![format!("there is no {missing}, so the IP method lets nobody in")]);
    };
    match super::read(path, super::FILE_MAX_BYTES) {
        Ok(bytes) => {
            let (rules, remarks) = parse(&String::from_utf8_lossy(&bytes));
            let remarks = remarks.into_iter().map(|remark| format!("{}:{remark}", path.display()));
            (rules, remarks.collect())
        }
        Err(error) => {
            let remark = format!("cannot read {}, so the IP method lets nobody in: {error}", path.display());
            (Vec::new(), vec![remark])
        }
    }
}

fn parse(text: &str) -> (Vec<AccessRule>, Vec<String>) {
    let (mut rules, mut remarks) = (Vec::new(), Vec::new());
    for (index, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        match rule(line) {
            Some(rule) => {
                remarks.extend(complaint(&rule).map(|remark| format!("{}: {remark}", index + 1)));
                rules.push(rule);
            }
            None => remarks.push(format!(
                "{}: expected unix, local, an address or address/bits, found {line:?}; the line is skipped",
                index + 1
            )),
        }
    }
    (rules, remarks)
}

fn rule(line: &str) -> Option<AccessRule> {
    if line.starts_with("unix") {
        return Some(AccessRule::UNIX);
    }
    if line.starts_with("local") {
        return Some(AccessRule::Local);
    }
    let word = line.split_whitespace().next()?;
    let (address, bits) = word.split_once('/').unwrap_or((word, "32"));
    let address: Ipv4Addr = address.parse().ok()?;
    let prefix_bits = bits.parse().ok().filter(|bits| *bits <= 32)?;
    Some(AccessRule::Network { address, prefix_bits })
}

/// What is wrong with a network to which no client can belong: its address has bits behind its prefix, and clients'
/// addresses are compared with it without theirs. Without a prefix nothing is compared.
fn complaint(rule: &AccessRule) -> Option<String> {
    let AccessRule::Network { address, prefix_bits: prefix_bits @ 1.. } = *rule else { return None };
    let network = AccessRule::network_of(address, prefix_bits);
    (network != address).then(|| {
        format!(
            "{address}/{prefix_bits} matches nobody; expected {network}/{prefix_bits} for all of that network"
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_form_of_line_is_read_and_the_rest_is_remarked_on() {
        let text =
            "# who\r\nunix\r\n\r\nlocal\n10.1.2.3\n10.0.0.0/8 # ours\n0.0.0.0/0\n1.2.3\n1.2.3.4/33\nx\n";
        let (rules, remarks) = parse(text);
        let network = |a: [u8; 4], prefix_bits| AccessRule::Network { address: a.into(), prefix_bits };
        let expected = [
            AccessRule::UNIX,
            AccessRule::Local,
            network([10, 1, 2, 3], 32),
            network([10, 0, 0, 0], 8),
            network([0, 0, 0, 0], 0),
        ];
        assert_eq!(rules, expected);
        assert_eq!(remarks.len(), 3);
        assert!(remarks[0].starts_with("8: expected"), "{}", remarks[0]);
    }

    #[test]
    fn a_network_that_nobody_can_be_of_is_remarked_on_and_stays() {
        let (rules, remarks) = parse("127.0.0.31/8\n10.1.2.3/32\n10.1.2.128/25\n10.1.2.129/25\n1.2.3.4/0\n");
        assert_eq!(rules.len(), 5);
        assert_eq!(
            remarks,
            [
                "1: 127.0.0.31/8 matches nobody; expected 127.0.0.0/8 for all of that network",
                "4: 10.1.2.129/25 matches nobody; expected 10.1.2.128/25 for all of that network",
            ]
        );
    }
}
