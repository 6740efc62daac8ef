//! Questions that people ask about real machines, from their functions to what two guests get of them.
//!
//! Each is one thread of a mailing list, or one mistake that is known, and begins with what it was about.

mod conventional_bridge;
mod doorbells_in_the_way;
mod kit;
mod peer_to_peer_at_run_time;
mod splitting_a_card;
mod switch_without_acs;
