//! Tokens of a configuration file (Spread's, read leniently).
//!
//! Numbers, addresses, booleans and keywords are all words here; what a word means depends on where
//! it stands. So `Key=5` without blanks, numbers before blanks, CRLF and names that look like
//! keywords need no special rules.

use std::fmt;

use logos::{Lexer, Logos};

use super::diagnostic::{Diagnostic, Span};

/// One token. Comments and blanks are skipped.
#[derive(Logos, Clone, Copy, PartialEq, Eq, Debug)]
#[logos(skip(r"[ \t\r\n\x0b\x0c]+"))]
#[logos(skip(r"#[^\n]*", allow_greedy = true))]
pub(crate) enum Token<'s> {
    /// `{`
    #[token("{")]
    Open,
    /// `}`
    #[token("}")]
    Close,
    /// `=`
    #[token("=")]
    Equals,
    /// `!`
    #[token("!")]
    Not,
    /// `;`
    #[token(";")]
    Semicolon,
    /// A string in double or single quotes, without them.
    #[regex(r#""[^"\n]*""#, unquoted)]
    #[regex(r"'[^'\n]*'", unquoted)]
    Quoted(&'s str),
    /// A run of other characters; `[` … `]` with an IPv6 address counts as part of it.
    #[regex(r#"[^ \t\r\n\x0b\x0c#{}=!;"']+"#)]
    Word(&'s str),
}

impl fmt::Display for Token<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Open => f.write_str("`{`"),
            Self::Close => f.write_str("`}`"),
            Self::Equals => f.write_str("`=`"),
            Self::Not => f.write_str("`!`"),
            Self::Semicolon => f.write_str("`;`"),
            Self::Quoted(text) => write!(f, "\"{text}\""),
            Self::Word(text) => write!(f, "`{text}`"),
        }
    }
}

fn unquoted<'s>(lexer: &Lexer<'s, Token<'s>>) -> &'s str {
    let quoted = lexer.slice();
    quoted.get(1..quoted.len() - 1).unwrap_or_default()
}

/// Cuts the text into tokens with their places.
///
/// # Errors
/// At a quote that is not closed on its line.
pub(crate) fn tokens(text: &str) -> Result<Vec<(Token<'_>, Span)>, Diagnostic> {
    Token::lexer(text)
        .spanned()
        .map(|(token, span)| match token {
            Ok(token) => Ok((token, span)),
            Err(()) => Err(Diagnostic::error(
                span,
                "a quoted string is not closed",
                "expected the closing quote on the same line",
            )),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plain(text: &str) -> Vec<Token<'_>> {
        tokens(text).expect("legal tokens").into_iter().map(|(token, _)| token).collect()
    }

    #[test]
    fn blanks_are_not_needed_around_punctuation() {
        use Token::*;
        let expected =
            [Word("Key"), Equals, Word("5"), Word("Flags"), Equals, Open, Not, Word("EXIT"), Close];
        assert_eq!(plain("Key=5 # = {\r\nFlags={!EXIT}"), expected);
        assert_eq!(plain("\tKey =\t5 \nFlags\r\n=\r\n{ ! EXIT }\r\n"), expected);
    }

    #[test]
    fn quotes_protect_comments_blanks_and_punctuation() {
        assert_eq!(plain(r##""a # {b}" 'c "d"'"##), [Token::Quoted("a # {b}"), Token::Quoted("c \"d\"")]);
        assert_eq!(plain("\"\""), [Token::Quoted("")]);
    }

    #[test]
    fn ipv6_addresses_are_words() {
        assert_eq!(plain("[ff02::5%eth1]:3333{"), [Token::Word("[ff02::5%eth1]:3333"), Token::Open]);
    }

    #[test]
    fn an_open_quote_is_an_error_at_its_place() {
        let error = tokens("a = \"b\nc").expect_err("the quote is open");
        assert_eq!(error.span.start, 4);
    }
}
