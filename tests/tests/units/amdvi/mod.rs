//! The driver of AMD-Vi.

mod bring_up;
mod busy;
mod events;
mod facts;
mod forgetting;
mod interrupts;
mod kit;
mod log;
mod refused;
mod sleep;
mod stop;
mod take_over;
mod waits;
