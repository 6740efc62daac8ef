use serde_json::json;

use super::*;
use crate::rewrite::rewrite;

const SOURCE: &str = "\
const A: u32 = 1 + 2;
fn f(a: bool, b: u32) -> bool {
    if let Some(x) = g(b) && a && x == 1 { return true; }
    match b { 0 if a => false, 1 => true, _ => !(b + 1 == 2) }
}
";

/// The mutant that has the first `from` of the source replaced.
fn mutant(genre: &str, from: &str, to: &str) -> Mutant {
    let at = |offset: usize| {
        let before = &SOURCE[..offset];
        let column = offset - before.rfind('\n').map_or(0, |newline| newline + 1);
        json!({ "line": before.matches('\n').count() + 1, "column": column + 1 })
    };
    let start = SOURCE.find(from).unwrap();
    let span = json!({ "start": at(start), "end": at(start + from.len()) });
    let value = json!({ "file": "", "genre": genre, "replacement": to, "span": span });
    serde_json::from_value(value).unwrap()
}

fn placed(mutant: &Mutant) -> (Placed, String) {
    let mut placed = place(SOURCE, &[(0, mutant)]).unwrap();
    placed.edits.retain(|edit| edit.parts.iter().any(|it| matches!(it, Part::Mutant(..))));
    let text = rewrite(SOURCE, std::mem::take(&mut placed.edits)).text;
    (placed, text)
}

#[test]
fn a_mutant_is_a_branch_and_the_source_is_the_other() {
    for (genre, from, to, becomes) in [
        (
            "BinaryOperator",
            "==",
            "!=",
            "&& (if crate::mutant::on(16) { (x != 1) } else { (x == 1) })",
        ),
        (
            "BinaryOperator",
            "+ 1 ==",
            "- 1 ==",
            "!((if crate::mutant::on(16) { (b - 1 == 2) } else { (b + 1 == 2) }))",
        ),
        ("UnaryOperator", "!", "", "(if crate::mutant::on(16) { ((b + 1 == 2)) } else { (!(b"),
        ("MatchArm", "1 => true,", "", "1 if !crate::mutant::on(16) => true,"),
        ("MatchArm", "0 if a => false,", "", "0 if !crate::mutant::on(16) && ({ (a) }) => false"),
        (
            "MatchArmGuard",
            "a => false",
            "true",
            "0 if (if crate::mutant::on(16) { (true) } else { (a) })",
        ),
        ("FnValue", "if let", "true", "bool { if crate::mutant::on(16) { return true; }\n"),
    ] {
        let (found, text) = placed(&mutant(genre, from, to));
        assert!(found.placed.contains(&0), "{genre} {from}");
        assert!(text.contains(becomes), "{genre} {from}:\n{text}");
    }
}

#[test]
fn what_cannot_be_a_branch_is_left_as_it_is() {
    let (found, text) = placed(&mutant("BinaryOperator", "&&", "||"));
    assert!(found.not_viable.contains(&0) && text == SOURCE);
    let (found, text) = placed(&mutant("BinaryOperator", "+", "-"));
    assert!(found.placed.is_empty() && found.not_viable.is_empty() && text == SOURCE);
}
