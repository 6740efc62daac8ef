//! What a guest is told of its devices and of reserved ranges.

mod device;
mod every_kind;
#[path = "../../service/query/kit.rs"]
pub(crate) mod kit;
mod reserved;
