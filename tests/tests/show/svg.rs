//! Drawings: well-formed, on their own, the same every time.

use pviommu_hypervisor::Background;
use pviommu_testbed::replay::Options;
use pviommu_testbed::show::{Picture, show, svg};
use pviommu_testbed::trace::Trace;

use crate::text::{BUNDLED, HEADER, bundled, parse};

fn take(trace: &Trace, background: Background, at: Option<u64>) -> Picture {
    let options = Options { background, ..Options::default() };
    show(trace, &options, at, &mut |_| ()).unwrap().0
}

/// Checks that `text` is one XML element with all its tags closed in order and its text escaped,
/// and returns the start tags.
fn tags(text: &str) -> Vec<&str> {
    let mut open = Vec::new();
    let mut tags = Vec::new();
    let mut rest = text.trim_end();
    while let Some(start) = rest.find('<') {
        let (before, from) = rest.split_at(start);
        check_text(before);
        assert!(before.trim().is_empty() || !open.is_empty(), "text outside: {before}");
        let (tag, after) = from.split_at(from.find('>').expect("a tag ends") + 1);
        assert!(!tag.strip_prefix('<').unwrap().contains('<'), "{tag}");
        rest = after;
        let inner = tag.trim_matches(['<', '>']);
        let name = inner.split([' ', '/']).find(|part| !part.is_empty()).unwrap();
        assert!(tags.is_empty() || !open.is_empty() || inner.starts_with('/'), "a second root");
        if inner.starts_with('/') {
            assert_eq!(open.pop(), Some(name), "closed in order");
            continue;
        }
        check_attributes(inner);
        if !inner.ends_with('/') {
            open.push(name);
        }
        tags.push(inner);
    }
    assert_eq!(rest, "", "nothing behind the root");
    assert!(open.is_empty(), "left open: {open:?}");
    tags
}

fn check_text(text: &str) {
    assert!(!text.contains('>'), "{text}");
    for (at, _) in text.match_indices('&') {
        let entity = text.get(at + 1..).and_then(|tail| tail.split_once(';')).unwrap().0;
        assert!(["amp", "lt", "gt", "quot", "#39"].contains(&entity), "&{entity};");
    }
}

/// Attributes are `name="value"`, each once.
fn check_attributes(tag: &str) {
    let (_, attributes) = tag.trim_end_matches('/').split_once(' ').unwrap_or((tag, ""));
    let parts: Vec<&str> = attributes.split('"').collect();
    assert_eq!(parts.len() % 2, 1, "{tag}");
    let mut names: Vec<&str> =
        parts.iter().step_by(2).map(|part| part.trim()).filter(|part| !part.is_empty()).collect();
    assert!(names.iter().all(|name| name.ends_with('=')), "{tag}");
    let count = names.len();
    names.sort_unstable();
    names.dedup();
    assert_eq!((names.len(), count * 2 + 1), (count, parts.len()), "{tag}");
}

fn number(tag: &str, name: &str) -> f64 {
    let (_, after) = tag.split_once(&format!(" {name}=\"")).expect(name);
    after.split('"').next().unwrap().parse().unwrap()
}

/// Checks a drawing as a whole.
fn check(drawing: &str) {
    let tags = tags(drawing);
    let root = tags.first().unwrap();
    assert!(root.starts_with("svg xmlns=\"http://www.w3.org/2000/svg\""), "{root}");
    let (width, height) = (number(root, "width"), number(root, "height"));
    assert!(root.contains(&format!("viewBox=\"0 0 {width} {height}\"")), "{root}");
    for forbidden in ["NaN", "inf", "href", "@import", "<script", "<image", "=\"-"] {
        assert!(!drawing.contains(forbidden), "{forbidden}");
    }
    assert_eq!(drawing.matches("http").count(), 1, "the namespace, and nothing from elsewhere");
    for tag in tags.iter().filter(|tag| tag.starts_with("rect x=")) {
        assert!(number(tag, "x") + number(tag, "width") <= width, "{tag}");
        assert!(number(tag, "y") + number(tag, "height") <= height, "{tag}");
    }
    for tag in tags.iter().filter(|tag| tag.starts_with("text ")) {
        assert!(number(tag, "x") <= width && number(tag, "y") <= height, "{tag}");
    }
}

#[test]
fn every_bundled_trace_makes_a_well_formed_drawing() {
    for name in BUNDLED {
        let picture = take(&bundled(name), Background::Fault, Some(3000));
        let drawing = svg(&picture);
        check(&drawing);
        assert!(drawing.len() < 200_000, "{name}: {} bytes", drawing.len());
        for space in &picture.spaces {
            let head = format!("domain {} (context {})", space.domain, space.context);
            assert!(drawing.contains(&head), "{name}: {head}");
        }
    }
}

#[test]
fn a_drawing_is_the_same_each_time_it_is_made() {
    let draw = || svg(&take(&bundled("d0"), Background::Scratch, None));
    assert_eq!(draw(), draw());
}

#[test]
fn a_background_is_drawn_and_explained() {
    let trace = bundled("d0");
    let with = svg(&take(&trace, Background::Scratch, Some(2000)));
    let without = svg(&take(&trace, Background::Fault, Some(2000)));
    check(&with);
    assert!(with.contains("hits the scratch page") && with.contains(" + 1 shared"));
    assert!(!without.contains("hits the scratch page") && !without.contains(" shared"));
    assert!(without.contains("class=\"hatched\""), "the interrupt window is hatched");
}

#[test]
fn names_from_a_trace_are_escaped() {
    let text = HEADER
        .replace("name: synthetic", "name: <b>&\"it's\"</b>")
        .replace("what: written for a test", "what: ]]> <script> &amp; \u{7}");
    let events = "0 0 D 1 DMA 00:01.0\n1 0 M 1 fff00000 5000 16384 rw\n";
    let drawing = svg(&take(&parse(&format!("{text}{events}")).unwrap(), Background::Fault, None));
    check(&drawing);
    assert!(drawing.contains("&lt;b&gt;&amp;&quot;it&#39;s&quot;&lt;/b&gt;"), "{drawing}");
    assert!(!drawing.contains('\u{7}'));
}

#[test]
fn many_scattered_pages_and_large_ones_stay_a_small_drawing() {
    let mut events = String::from("0 0 D 1 UNMANAGED 00:01.0\n");
    for page in 0..3000_u64 {
        events.push_str(&format!("1 0 M 1 {:x} 5000 4096 rw\n", 0x10_0000_0000 + page * 0x7_3000));
    }
    events.push_str("2 0 M 1 40000000 40000000 1073741824 r\n");
    events.push_str("3 0 M 1 80000000 80000000 1073737728 w\n");
    let trace = parse(&format!("{HEADER}{events}")).unwrap();
    let drawing = svg(&take(&trace, Background::Fault, None));
    check(&drawing);
    assert!(drawing.len() < 100_000, "{} bytes", drawing.len());
    assert!(drawing.contains("1 page of 1G, r-, guest"), "{drawing}");
}

#[test]
fn a_picture_of_nothing_is_a_drawing_too() {
    check(&svg(&take(&bundled("d0"), Background::Fault, Some(0))));
}
