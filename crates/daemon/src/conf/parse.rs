//! Grammar of a configuration file (that of Spread 4.4, with what 5.0 added).

use super::diagnostic::{Diagnostic, Span};
use super::directives::{self, Shape};
use super::lex::{self, Token};
use super::syntax::{
    self, Address, DaemonTree, DirectiveTree, InterfaceTree, SegmentTree, Spanned, Tree, ValueTree,
};

type Parsed<T> = Result<T, Diagnostic>;

const SEGMENT: &str = "Spread_Segment";

/// Reads a whole file.
///
/// # Errors
/// The first place that does not fit the grammar, with what was expected there.
pub(crate) fn parse(text: &str) -> Parsed<Tree> {
    let tokens = lex::tokens(text)?;
    let mut parser = Parser { tokens: &tokens, end: text.trim_end().len() };
    let mut tree = Tree::default();
    while let Some((token, span)) = parser.peek() {
        match token {
            Token::Word(SEGMENT) => tree.segments.push(parser.segment()?),
            Token::Semicolon => parser.skip(),
            Token::Word(word) => tree.directives.push(parser.directive(word, span)?),
            other => return Err(expected("Spread_Segment or a directive", other, span)),
        }
    }
    Ok(tree)
}

fn expected(what: &str, found: Token<'_>, span: Span) -> Diagnostic {
    Diagnostic::error(span, format!("unexpected {found}"), format!("expected {what}"))
}

struct Parser<'t, 's> {
    tokens: &'t [(Token<'s>, Span)],
    /// Where the file ends, for errors that are found there.
    end: usize,
}

impl<'s> Parser<'_, 's> {
    fn peek(&self) -> Option<(Token<'s>, Span)> {
        self.tokens.first().cloned()
    }

    fn peek_token(&self) -> Option<Token<'s>> {
        self.tokens.first().map(|(token, _)| *token)
    }

    fn skip(&mut self) {
        self.tokens = self.tokens.get(1..).unwrap_or_default();
    }

    fn next(&mut self, what: &str) -> Parsed<(Token<'s>, Span)> {
        let next = self.peek().ok_or_else(|| {
            Diagnostic::error(self.end..self.end, "the file ends too early", format!("expected {what}"))
        })?;
        self.skip();
        Ok(next)
    }

    fn expect(&mut self, wanted: Token<'_>, what: &str) -> Parsed<Span> {
        match self.next(what)? {
            (token, span) if token == wanted => Ok(span),
            (token, span) => Err(expected(what, token, span)),
        }
    }

    fn take(&mut self, wanted: Token<'_>) -> bool {
        let found = self.peek_token() == Some(wanted);
        if found {
            self.skip();
        }
        found
    }

    fn text(&mut self, what: &str) -> Parsed<Spanned<String>> {
        match self.next(what)? {
            (Token::Word(text) | Token::Quoted(text), span) => Ok(Spanned::new(text.to_owned(), span)),
            (token, span) => Err(expected(what, token, span)),
        }
    }

    /// The address that comes next, if one does; its port may stand apart, as in `1.2.3.4 : 4803`.
    fn address(&mut self) -> Parsed<Option<Spanned<Address>>> {
        let Some((Token::Word(word), mut span)) = self.peek() else { return Ok(None) };
        let Some(mut address) = syntax::address(word.trim_end_matches(':'))
            .filter(|_| !word.ends_with("::"))
            .or_else(|| syntax::address(word))
        else {
            return Ok(None);
        };
        self.skip();
        let detached =
            self.peek_token().filter(|token| matches!(token, Token::Word(next) if next.starts_with(':')));
        if address.port.is_none() && (detached.is_some() || word.ends_with(':')) && !word.ends_with("::") {
            span = span.start..self.detached_port(&mut address)?.end;
        }
        Ok(Some(Spanned::new(address, span)))
    }

    fn detached_port(&mut self, address: &mut Address) -> Parsed<Span> {
        self.take(Token::Word(":"));
        let what = "a port from 1 to 65534";
        let word = self.text(what)?;
        let digits = word.value.trim_start_matches(':');
        let wrong = || Diagnostic::error(word.span.clone(), "not a port", format!("expected {what}"));
        address.port = Some(digits.parse().map_err(|_| wrong())?);
        Ok(word.span.clone())
    }

    fn segment(&mut self) -> Parsed<SegmentTree> {
        let what = "the address of the segment, such as 239.192.0.1:4803; with a port, IPv6 addresses stand in \
                    brackets: [ff02::1]:4803";
        let (_, span) = self.next(SEGMENT)?;
        let mut addresses = Vec::new();
        while let Some(address) = self.address()? {
            addresses.push(address);
        }
        if addresses.is_empty() {
            let (found, span) = self.next(what)?;
            return Err(expected(what, found, span));
        }
        self.expect(Token::Open, "`{` and the daemons of the segment")?;
        let mut daemons = Vec::new();
        while let Some(daemon) = self.daemon()? {
            daemons.push(daemon);
        }
        Ok(SegmentTree { span, addresses, daemons })
    }

    /// The next daemon of a segment, or none at its closing brace.
    fn daemon(&mut self) -> Parsed<Option<DaemonTree>> {
        while self.take(Token::Semicolon) {}
        if self.take(Token::Close) {
            return Ok(None);
        }
        let name = self.text("the name of a daemon, or `}`")?;
        let own = syntax::address(&name.value).filter(|address| address.port.is_none());
        let address = match own {
            Some(address) => Some(Spanned::new(address, name.span.clone())),
            None => self.address_of_daemon()?,
        };
        let virtual_id = self.virtual_id()?;
        let interfaces = match self.peek_token() {
            Some(Token::Open) => Some(self.interfaces()?),
            _ => None,
        };
        Ok(Some(DaemonTree { name, address, virtual_id, interfaces }))
    }

    /// The address after the name of a daemon. Without one the name is looked up, and what comes next is another name.
    fn address_of_daemon(&mut self) -> Parsed<Option<Spanned<Address>>> {
        let address = self.address()?;
        match self.peek() {
            Some((Token::Word(word), span)) if address.is_none() && is_like_address(word) => {
                let label = "expected one such as 192.0.2.1 or 2001:db8::1";
                Err(Diagnostic::error(span, format!("`{word}` is not an IPv4 or IPv6 address"), label))
            }
            _ => Ok(address),
        }
    }

    fn virtual_id(&mut self) -> Parsed<Option<Spanned<u32>>> {
        let Some((Token::Word("VirtualID"), _)) = self.peek() else { return Ok(None) };
        self.skip();
        self.expect(Token::Equals, "`=` after VirtualID")?;
        let text = self.text("a number")?;
        match text.value.parse() {
            Ok(id) if id > 0 => Ok(Some(Spanned::new(id, text.span))),
            _ => Err(Diagnostic::error(
                text.span,
                "not a virtual id",
                "expected a number from 1 to 4294967295",
            )),
        }
    }

    fn interfaces(&mut self) -> Parsed<Vec<InterfaceTree>> {
        let open = self.expect(Token::Open, "`{`")?;
        let mut interfaces = Vec::new();
        while !self.take(Token::Close) {
            if self.take(Token::Semicolon) {
                continue;
            }
            interfaces.push(self.interface()?);
        }
        if interfaces.is_empty() {
            return Err(Diagnostic::error(
                open,
                "the list of interfaces is empty",
                "expected at least one address; remove the braces to use every interface",
            ));
        }
        Ok(interfaces)
    }

    fn interface(&mut self) -> Parsed<InterfaceTree> {
        let what = "`D`, `C` or `M` and an address, or `}`";
        let (mut clients, mut daemons, mut lettered) = (false, false, false);
        loop {
            if let Some(address) = self.address()? {
                let all = !lettered;
                return Ok(InterfaceTree { address, clients: clients || all, daemons: daemons || all });
            }
            match self.next(what)? {
                (Token::Word(word), _) if word.bytes().all(|byte| b"CDM".contains(&byte)) => {
                    lettered = true;
                    clients |= word.contains('C');
                    daemons |= word.contains('D');
                }
                (token, span) => return Err(expected(what, token, span)),
            }
        }
    }

    fn directive(&mut self, word: &str, span: Span) -> Parsed<DirectiveTree> {
        self.skip();
        let Some((name, shape)) = directives::find(word) else {
            return Err(unknown_directive(word, span));
        };
        let values = match shape {
            Shape::Alone => Vec::new(),
            Shape::OptionalValue if self.peek_token() != Some(Token::Equals) => Vec::new(),
            Shape::Value | Shape::OptionalValue => self.single_value(name)?,
            Shape::Flags | Shape::Matrix => self.braced_values(name)?,
        };
        Ok(DirectiveTree { key: Spanned::new(name, span), values })
    }

    fn single_value(&mut self, name: &str) -> Parsed<Vec<ValueTree>> {
        self.expect(Token::Equals, &format!("`=` after {name}"))?;
        let text = self.text(&format!("a value for {name}"))?;
        Ok(vec![ValueTree { text, negated: false }])
    }

    fn braced_values(&mut self, name: &str) -> Parsed<Vec<ValueTree>> {
        self.expect(Token::Equals, &format!("`=` after {name}"))?;
        self.expect(Token::Open, &format!("`{{` and the values of {name}"))?;
        let mut values = Vec::new();
        while !self.take(Token::Close) {
            let negated = self.take(Token::Not);
            values.push(ValueTree { text: self.text("a value, or `}`")?, negated });
        }
        Ok(values)
    }
}

/// Whether a word is meant as an address rather than as a name: it has a colon, or digits and dots alone.
fn is_like_address(word: &str) -> bool {
    word.contains(':')
        || (word.contains('.') && word.bytes().all(|byte| byte == b'.' || byte.is_ascii_digit()))
}

fn unknown_directive(word: &str, span: Span) -> Diagnostic {
    let label = match directives::closest(word) {
        Some(name) => format!("did you mean `{name}`?"),
        None => "expected Spread_Segment or a directive".to_owned(),
    };
    Diagnostic::error(span, format!("unknown directive `{word}`"), label)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SEGMENT_ADDRESS: &str = "expected the address of the segment, such as 239.192.0.1:4803; \
        with a port, IPv6 addresses stand in brackets: [ff02::1]:4803";

    fn tree(text: &str) -> Tree {
        parse(text).unwrap_or_else(|error| panic!("{text:?}: {error:?}"))
    }

    #[test]
    fn a_segment_holds_daemons_with_and_without_addresses_and_stanzas() {
        let tree = tree(
            "Spread_Segment 239.0.0.1:3333 { a 10.0.0.1 b { D 10.0.0.2 C 10.0.0.3 10.0.0.4 CD 10.0.0.5 } c }",
        );
        let daemons = &tree.segments[0].daemons;
        assert_eq!(daemons.iter().map(|d| d.name.value.as_str()).collect::<Vec<_>>(), ["a", "b", "c"]);
        assert!(daemons[0].address.is_some() && daemons[1].address.is_none());
        let interfaces = daemons[1].interfaces.as_ref().expect("a stanza");
        let roles: Vec<_> = interfaces.iter().map(|i| (i.clients, i.daemons)).collect();
        assert_eq!(roles, [(false, true), (true, false), (true, true), (true, true)]);
    }

    #[test]
    fn additions_of_later_versions_are_read() {
        let tree = tree(
            "Spread_Segment [ff02::5%eth1]:3333 239.0.0.1 { 10.0.0.1; b ; c 10.0.0.3 VirtualID = 7 { 10.0.0.3 } }",
        );
        let segment = &tree.segments[0];
        assert_eq!(segment.addresses.len(), 2);
        assert_eq!(segment.daemons[0].name.value, "10.0.0.1");
        assert_eq!(segment.daemons[2].virtual_id.as_ref().map(|id| id.value), Some(7));
    }

    #[test]
    fn a_semicolon_keeps_a_name_from_taking_the_next_address() {
        let tree = tree("Spread_Segment 10.0.0.255 { a ; 10.0.0.2 }");
        assert_eq!(tree.segments[0].daemons.len(), 2);
    }

    #[test]
    fn a_port_may_stand_apart() {
        for text in ["10.0.0.255:99", "10.0.0.255 :99", "10.0.0.255 : 99", "10.0.0.255: 99"] {
            let tree = tree(&format!("Spread_Segment {text} {{ a 10.0.0.1 }}"));
            assert_eq!(tree.segments[0].addresses[0].value.port, Some(99), "{text}");
        }
    }

    #[test]
    fn a_name_without_an_address_may_stand_before_another() {
        let tree = tree("Spread_Segment 10.0.0.255 { a node2.example 3com ; 1.2 10.0.0.2 }");
        assert_eq!(tree.segments[0].daemons.len(), 4);
    }

    #[test]
    fn errors_say_what_was_expected() {
        for (text, label) in [
            ("Window 5", "expected `=` after Window"),
            ("Window =", "expected a value for Window"),
            ("DebugFlags = PRINT", "expected `{` and the values of DebugFlags"),
            ("Spread_Segment foo { }", SEGMENT_ADDRESS),
            ("Spread_Segment ff02::1:25100 { }", SEGMENT_ADDRESS),
            ("Spread_Segment 10.0.0.255 a { }", "expected `{` and the daemons of the segment"),
            ("Spread_Segment 10.0.0.255 { a 10.0.0.1", "expected the name of a daemon, or `}`"),
            (
                "Spread_Segment 10.0.0.255 { a { X 10.0.0.1 } }",
                "expected `D`, `C` or `M` and an address, or `}`",
            ),
            ("Spread_Segment 10.0.0.255 { a 300.0.0.1 }", "expected one such as 192.0.2.1 or 2001:db8::1"),
            ("Spread_Segment 10.0.0.255 { a 10.0.0.1:x }", "expected one such as 192.0.2.1 or 2001:db8::1"),
            ("eventlogfile = x", "did you mean `EventLogFile`?"),
            ("Wnidow = 5", "did you mean `Window`?"),
            ("xyzzy = 5", "expected Spread_Segment or a directive"),
            ("} ", "expected Spread_Segment or a directive"),
        ] {
            assert_eq!(parse(text).expect_err(text).label, label, "{text}");
        }
    }
}
