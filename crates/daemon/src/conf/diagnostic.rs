//! What is wrong or noteworthy in a configuration file, and where.

use std::fmt;
use std::ops::Range;

use annotate_snippets::{AnnotationKind, Group, Level, Renderer, Snippet};

/// Bytes of the file that something is about.
pub type Span = Range<usize>;

/// How bad it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Severity {
    /// The daemon does not start.
    Error,
    /// The daemon starts, but not everything happens as written.
    Warning,
}

/// One remark about a place in the file.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Diagnostic {
    /// How bad it is.
    pub severity: Severity,
    /// The bytes of the file that are meant.
    pub span: Span,
    /// What is the matter, in one line.
    pub message: String,
    /// What was expected at that place, or what happens instead.
    pub label: String,
}

impl Diagnostic {
    /// Something that keeps the daemon from starting; `label` says what was expected.
    pub fn error(span: Span, message: impl Into<String>, label: impl Into<String>) -> Self {
        Self { severity: Severity::Error, span, message: message.into(), label: label.into() }
    }

    /// Something that has less effect than it seems; `label` says what happens instead.
    pub fn warning(span: Span, message: impl Into<String>, label: impl Into<String>) -> Self {
        Self { severity: Severity::Warning, span, message: message.into(), label: label.into() }
    }
}

/// A configuration file with its name, for messages.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Source {
    /// Where it was read from.
    pub name: String,
    /// Its contents.
    pub text: String,
}

impl Source {
    /// Takes a file's bytes; what is not UTF-8 (old comments often are not) is replaced. The mark that some
    /// editors put before UTF-8 is left out.
    #[must_use]
    pub fn new(name: impl Into<String>, bytes: &[u8]) -> Self {
        let bytes = bytes.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(bytes);
        Self { name: name.into(), text: String::from_utf8_lossy(bytes).into_owned() }
    }

    /// Line and column of a byte, both from 1; the column counts characters.
    #[must_use]
    pub fn position(&self, offset: usize) -> (usize, usize) {
        let before = self.text.get(..offset).unwrap_or(&self.text);
        let line = before.matches('\n').count() + 1;
        let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
        (line, column)
    }

    /// One line for a log: `file:line:column: message: label`.
    #[must_use]
    pub fn line(&self, diagnostic: &Diagnostic) -> String {
        let (line, column) = self.position(diagnostic.span.start);
        format!("{}:{line}:{column}: {}: {}", self.name, diagnostic.message, diagnostic.label)
    }

    /// Several lines for a person, with the offending piece of the file underlined.
    #[must_use]
    pub fn render(&self, diagnostic: &Diagnostic) -> String {
        let level = match diagnostic.severity {
            Severity::Error => Level::ERROR,
            Severity::Warning => Level::WARNING,
        };
        let annotation = AnnotationKind::Primary.span(diagnostic.span.clone()).label(&diagnostic.label);
        let snippet = Snippet::source(&self.text).path(&self.name).annotation(annotation);
        let report: &[Group<'_>] = &[level.primary_title(&diagnostic.message).element(snippet)];
        Renderer::plain().render(report)
    }
}

/// Why no usable configuration came out of a file. `Display` is the rendered report.
#[derive(Clone, Debug)]
pub struct Rejected {
    /// The file.
    pub source: Source,
    /// Everything that was found; at least one is an error.
    pub diagnostics: Vec<Diagnostic>,
}

impl Rejected {
    /// What is wrong, in one line for a log.
    pub(crate) fn in_one_line(&self) -> String {
        let errors = self.diagnostics.iter().filter(|each| each.severity == Severity::Error);
        errors.map(|error| self.source.line(error)).collect::<Vec<_>>().join("; ")
    }
}

impl fmt::Display for Rejected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let is_error = |diagnostic: &&Diagnostic| diagnostic.severity == Severity::Error;
        // What keeps the daemon from starting stands last, where it is seen first.
        let (errors, warnings): (Vec<_>, Vec<_>) = self.diagnostics.iter().partition(is_error);
        for (index, diagnostic) in warnings.into_iter().chain(errors).enumerate() {
            let separator = if index == 0 { "" } else { "\n" };
            write!(f, "{separator}{}", self.source.render(diagnostic))?;
        }
        Ok(())
    }
}

impl std::error::Error for Rejected {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mark_of_some_editors_is_left_out() {
        assert_eq!(Source::new("spread.conf", b"\xEF\xBB\xBFWindow = 5").text, "Window = 5");
    }

    #[test]
    fn a_report_has_the_errors_together_behind_the_warnings() {
        let of = |severity, message: &str| Diagnostic {
            severity,
            span: 0..1,
            message: message.to_owned(),
            label: String::new(),
        };
        let (error, warning) = (Severity::Error, Severity::Warning);
        let diagnostics = [of(error, "one"), of(warning, "two"), of(error, "three"), of(warning, "four")];
        let rejected = Rejected { source: Source::new("x", b"y"), diagnostics: diagnostics.to_vec() };
        let report = rejected.to_string();
        let titles = report.lines().filter(|line| line.starts_with("error") || line.starts_with("warning"));
        let expected = ["warning: two", "warning: four", "error: one", "error: three"];
        assert_eq!(titles.collect::<Vec<_>>(), expected, "{report}");
        assert_eq!(rejected.in_one_line(), "x:1:1: one: ; x:1:1: three: ");
    }

    #[test]
    fn a_diagnostic_names_file_line_and_column() {
        let source = Source::new("spread.conf", b"Window = 5\n\nWindou = 6\n");
        let diagnostic = Diagnostic::error(12..18, "unknown directive `Windou`", "did you mean `Window`?");
        assert_eq!(
            source.line(&diagnostic),
            "spread.conf:3:1: unknown directive `Windou`: did you mean `Window`?"
        );
        let rendered = source.render(&diagnostic);
        assert!(rendered.contains("spread.conf:3:1"), "{rendered}");
        assert!(rendered.contains("^^^^^^ did you mean"), "{rendered}");
    }
}
