//! Edits of a text that nest, and which mutant wrote what.

use std::{cmp::Reverse, ops::Range};

/// A part of what stands in the place of an edit's span.
pub(crate) enum Part {
    /// Written for this mutant.
    Mutant(usize, String),
    Text(&'static str),
    /// The source there, with the edits in it.
    Source(Range<usize>),
}

pub(crate) struct Edit {
    pub(crate) span: Range<usize>,
    pub(crate) parts: Vec<Part>,
}

impl Edit {
    fn mutants(&self) -> impl Iterator<Item = usize> {
        self.parts.iter().filter_map(|part| match part {
            Part::Mutant(index, _) => Some(*index),
            Part::Text(_) | Part::Source(_) => None,
        })
    }
}

/// Where something was written for some mutants.
pub(crate) struct Written {
    pub(crate) span: Range<usize>,
    pub(crate) mutants: Vec<usize>,
    /// It is the mutated text itself; else, all that is around it.
    pub(crate) itself: bool,
}

pub(crate) struct Rewritten {
    pub(crate) text: String,
    pub(crate) written: Vec<Written>,
}

impl Rewritten {
    /// The smallest thing written that a range of the text lies in.
    pub(crate) fn around(&self, range: &Range<usize>) -> Option<&Written> {
        self.written
            .iter()
            .filter(|it| it.span.start <= range.start && range.end <= it.span.end)
            .min_by_key(|it| it.span.len())
    }
}

/// The source with these edits. Of two of one span, the first is around the second.
pub(crate) fn rewrite(source: &str, mut edits: Vec<Edit>) -> Rewritten {
    edits.sort_by_key(|edit| (edit.span.start, Reverse(edit.span.end)));
    let mut out = Rewritten { text: String::new(), written: Vec::new() };
    emit(source, &edits, 0..source.len(), &mut out);
    out
}

/// Writes a range of the source with those of `edits` that lie in it.
fn emit(source: &str, edits: &[Edit], range: Range<usize>, out: &mut Rewritten) {
    let mut done = range.start;
    for (n, edit) in edits.iter().enumerate() {
        if edit.span.start > range.end {
            break;
        }
        if edit.span.start < done || edit.span.end > range.end {
            continue;
        }
        out.text.push_str(&source[done..edit.span.start]);
        let start = out.text.len();
        for part in &edit.parts {
            match part {
                Part::Text(text) => out.text.push_str(text),
                Part::Source(inner) => emit(source, &edits[n + 1..], inner.clone(), out),
                Part::Mutant(mutant, text) => {
                    let start = out.text.len();
                    out.text.push_str(text);
                    let span = start..out.text.len();
                    out.written.push(Written { span, mutants: vec![*mutant], itself: true });
                }
            }
        }
        let span = start..out.text.len();
        out.written.push(Written { span, mutants: edit.mutants().collect(), itself: false });
        done = edit.span.end;
    }
    out.text.push_str(&source[done..range.end]);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn edits_nest_and_what_they_wrote_is_found() {
        let outer = Edit {
            span: 2..7,
            parts: vec![Part::Mutant(1, "[x]".into()), Part::Source(2..7), Part::Text("]")],
        };
        let inner = Edit { span: 4..5, parts: vec![Part::Mutant(2, "<y>".into())] };
        let first = Edit { span: 0..0, parts: vec![Part::Mutant(3, "!".into())] };
        let out = rewrite("a(b+c+d)", vec![inner, outer, first]);
        assert_eq!(out.text, "!a([x]b+<y>+d])");
        let found = |range| out.around(&range).map(|it| (it.mutants.clone(), it.itself));
        assert_eq!(found(9..10), Some((vec![2], true)));
        assert_eq!(found(4..5), Some((vec![1], true)));
        assert_eq!(found(12..13), Some((vec![1], false)));
        assert_eq!(found(1..2), None);
    }
}
