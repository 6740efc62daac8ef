//! The machine: ports, memory, functions on the bus, what firmware says of it.

pub mod port;
pub mod serial;
