//! The default context: the map a domain starts with, the ownership switch (INV-70, INV-71), and the
//! maps that follow the P2M.

mod busy;
mod default;
mod failing;
mod forms;
mod half_way;
mod host;
pub(crate) mod kit;
mod over_initial;
mod p2m;
mod p2m_short;
mod tags;
