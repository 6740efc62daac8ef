//! What a hypervisor has of its domains, with the service or without it: whose each frame is, what backs
//! their guest frames, and a record of each.

mod frame_table;
mod p2m;
mod record;

pub use frame_table::FrameTable;
pub use p2m::{Backed, Block, P2m};
pub use record::{Domain, DomainConfig};
