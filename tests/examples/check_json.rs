//! Reads standard input and fails unless it is one JSON array with something in it.

use std::io;

fn main() -> io::Result<()> {
    let figures: Vec<serde_json::Value> = serde_json::from_reader(io::stdin())?;
    if figures.is_empty() {
        return Err(io::Error::other("the array is empty"));
    }
    println!("{} figures", figures.len());
    Ok(())
}
