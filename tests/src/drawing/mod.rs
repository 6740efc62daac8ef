//! What all pictures of the testbed are made of: an SVG document, texts in it, and how they look.

mod document;

pub(crate) use document::Document;

/// How texts look, and the paper they are on: the first rules of every picture.
pub(crate) const TEXT_STYLE: &str = "text{font-family:'DejaVu Sans',Verdana,sans-serif;font-size:12px;fill:#24292f}\
     .mono{font-family:'DejaVu Sans Mono',Consolas,monospace;font-size:11px}\
     .dim{fill:#6e7781}.right{text-anchor:end}.middle{text-anchor:middle}\
     .title{font-size:22px;font-weight:bold}.head{font-size:15px;font-weight:bold}\
     .paper{fill:#ffffff}.card{fill:#ffffff;stroke:#d0d7de}";

/// A text at a place.
pub(crate) fn label(document: &mut Document, x: u64, y: u64, class: &str, text: &str) {
    let class = if class.is_empty() { String::new() } else { format!(" class=\"{class}\"") };
    document.text("text", format_args!(" x=\"{x}\" y=\"{y}\"{class}"), text);
}
