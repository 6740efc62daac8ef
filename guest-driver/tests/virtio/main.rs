//! What a device is given, and drivers of `virtio-drivers` on top, against a machine that keeps the
//! mappings and a disk that reads and writes memory through them only.
#![expect(clippy::unwrap_used, reason = "a panic is how a test fails")]
#![expect(clippy::indexing_slicing, reason = "a panic is how a test fails")]
#![expect(clippy::panic, reason = "a panic is how a test fails")]

mod access_platform;
mod disk;
mod hal;
mod machine;
mod platform;
mod space;
