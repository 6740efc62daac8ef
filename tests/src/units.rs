//! Numbers for people.

/// `frames` frames of 4 KiB, in the largest unit that leaves a number above one.
#[must_use]
pub(crate) fn bytes(frames: u64) -> String {
    const UNITS: [&str; 5] = ["KiB", "MiB", "GiB", "TiB", "PiB"];
    let kib = u128::from(frames) * 4;
    let place = UNITS.len() - 1;
    let place = (0..place).find(|place| kib >> (10 * (place + 1)) == 0).unwrap_or(place);
    let (unit, scale) = (UNITS[place], 1_u128 << (10 * place));
    // Rounded down, so that a part never looks like the whole.
    let (whole, tenth) = (kib / scale, kib % scale * 10 / scale);
    if tenth == 0 { format!("{whole} {unit}") } else { format!("{whole}.{tenth} {unit}") }
}

/// `first..last` in hexadecimal, or the one number if they are the same.
#[must_use]
pub(crate) fn span(first: u64, last: u64) -> String {
    if first == last { format!("{first:#x}") } else { format!("{first:#x}..{last:#x}") }
}

/// `count` of something whose plural ends in an s.
#[must_use]
pub(crate) fn plural(count: u64, name: &str) -> String {
    let ending = if count == 1 { "" } else { "s" };
    format!("{count} {name}{ending}")
}

/// `text` in lines of at most `width` letters, broken at spaces; a word that is longer stays whole.
#[must_use]
pub(crate) fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(line) if line.chars().count() + 1 + word.chars().count() <= width => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_written_in_the_largest_unit_that_fits() {
        let cases =
            [(0, "0 KiB"), (1, "4 KiB"), (255, "1020 KiB"), (256, "1 MiB"), (300, "1.1 MiB")];
        for (frames, text) in cases {
            assert_eq!(bytes(frames), text);
        }
        assert_eq!(bytes(1 << 18), "1 GiB");
        assert_eq!(bytes(1 << 36), "256 TiB");
        assert_eq!(bytes((1 << 36) - 1), "255.9 TiB");
        assert_eq!(bytes(u64::MAX), "67108863.9 PiB");
    }

    #[test]
    fn spans_and_counts() {
        assert_eq!(span(0xfee00, 0xfeeff), "0xfee00..0xfeeff");
        assert_eq!(span(7, 7), "0x7");
        assert_eq!(
            (plural(1, "page"), plural(0, "page")),
            ("1 page".to_owned(), "0 pages".to_owned())
        );
    }

    #[test]
    fn lines_are_broken_at_spaces_only() {
        assert_eq!(wrap("one two  three", 7), ["one two", "three"]);
        assert_eq!(wrap("incomprehensible", 3), ["incomprehensible"]);
        assert!(wrap(" ", 3).is_empty());
    }
}
