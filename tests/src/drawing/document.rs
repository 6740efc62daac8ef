//! An XML document that cannot come out unbalanced or unescaped.

use std::fmt::{Arguments, Write};

/// A document on its way. Attributes are written by the drawing code itself, never by a file;
/// texts are escaped here.
#[derive(Default, Debug)]
pub(crate) struct Document {
    text: String,
    open: Vec<&'static str>,
}

impl Document {
    /// Opens an element.
    pub(crate) fn open(&mut self, name: &'static str, attributes: Arguments<'_>) {
        self.line(format_args!("<{name}{attributes}>"));
        self.open.push(name);
    }

    /// Closes the element that was opened last.
    pub(crate) fn close(&mut self) {
        if let Some(name) = self.open.pop() {
            self.line(format_args!("</{name}>"));
        }
    }

    /// An element without contents.
    pub(crate) fn empty(&mut self, name: &str, attributes: Arguments<'_>) {
        self.line(format_args!("<{name}{attributes}/>"));
    }

    /// An element that holds text.
    pub(crate) fn text(&mut self, name: &str, attributes: Arguments<'_>, text: &str) {
        self.line(format_args!("<{name}{attributes}>{}</{name}>", escape(text)));
    }

    /// Takes in another document.
    pub(crate) fn include(&mut self, other: Self) {
        self.text.push_str(&other.finish());
    }

    /// The whole document; what is still open is closed.
    pub(crate) fn finish(mut self) -> String {
        while !self.open.is_empty() {
            self.close();
        }
        self.text
    }

    fn line(&mut self, line: Arguments<'_>) {
        let indent = self.open.len();
        // Writing to a string cannot fail.
        let _ = writeln!(self.text, "{:indent$}{line}", "");
    }
}

/// `text` as XML takes it: no markup, no character that XML forbids.
pub(crate) fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            '\t' | '\n' | '\r' => out.push(' '),
            c if c.is_control() || matches!(c, '\u{fffe}' | '\u{ffff}') => out.push('\u{fffd}'),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_escaped_and_elements_are_closed() {
        let mut document = Document::default();
        document.open("svg", format_args!(" a=\"1\""));
        document.open("g", format_args!(""));
        document.text("title", format_args!(""), "<&>\"'\u{1}\n");
        assert_eq!(
            document.finish(),
            "<svg a=\"1\">\n <g>\n  <title>&lt;&amp;&gt;&quot;&#39;\u{fffd} </title>\n </g>\n</svg>\n"
        );
    }
}
