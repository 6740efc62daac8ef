//! From a file that somebody names to its text, and from text to an excerpt in a message.
//!
//! Gzip is recognised and decompressed on the way.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Chain, Cursor, Read};
use std::path::Path;

use flate2::read::MultiGzDecoder;

/// The first bytes of every gzip stream.
const GZIP: [u8; 2] = [0x1f, 0x8b];

/// Longest piece of a file that a message repeats.
const EXCERPT: usize = 60;

/// The name of the file at `path` in messages, and its bytes; `-` is the standard input.
pub(crate) fn open(path: &Path) -> (String, io::Result<Box<dyn Read>>) {
    if path.as_os_str() == "-" {
        return ("standard input".to_owned(), Ok(Box::new(io::stdin().lock())));
    }
    (path.display().to_string(), File::open(path).map(|file| Box::new(file) as Box<dyn Read>))
}

/// `text` in quotation marks, shortened and safe to print on a terminal.
pub(crate) fn quote(text: &str) -> String {
    let mut shown: String = text.chars().take(EXCERPT).flat_map(char::escape_debug).collect();
    if text.chars().nth(EXCERPT).is_some() {
        shown.push_str("...");
    }
    format!("\"{shown}\"")
}

/// The text of a file, plain or gzip.
///
/// Decided by content: a renamed file stays readable, and a pipe has no name.
pub(crate) fn text<R: Read>(mut bytes: R) -> io::Result<Text<R>> {
    let mut magic = Vec::with_capacity(GZIP.len());
    bytes.by_ref().take(GZIP.len() as u64).read_to_end(&mut magic)?;
    let is_gzip = magic == GZIP;
    let whole = Cursor::new(magic).chain(bytes);
    Ok(if is_gzip {
        // A file may hold several streams: `cat a.gz b.gz` is valid gzip.
        Text::Gzip(BufReader::new(MultiGzDecoder::new(whole)))
    } else {
        Text::Plain(BufReader::new(whole))
    })
}

/// What [`text`] returns.
pub(crate) enum Text<R: Read> {
    Plain(BufReader<Chain<Cursor<Vec<u8>>, R>>),
    Gzip(BufReader<MultiGzDecoder<Chain<Cursor<Vec<u8>>, R>>>),
}

impl<R: Read> Read for Text<R> {
    fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(reader) => reader.read(to),
            Self::Gzip(reader) => reader.read(to),
        }
    }
}

impl<R: Read> BufRead for Text<R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        match self {
            Self::Plain(reader) => reader.fill_buf(),
            Self::Gzip(reader) => reader.fill_buf(),
        }
    }

    fn consume(&mut self, amount: usize) {
        match self {
            Self::Plain(reader) => reader.consume(amount),
            Self::Gzip(reader) => reader.consume(amount),
        }
    }
}
