//! Memory that the firmware of a device uses (INV-30 to INV-34), quarantine (INV-43, INV-44), and
//! devices with several source ids (INV-40).

mod aliases;
mod aperture;
mod conflict;
mod deferred;
mod failing;
mod firmware;
pub(crate) mod kit;
mod life;
mod opt_in;
mod quarantine;
mod replaced;
mod setup;
