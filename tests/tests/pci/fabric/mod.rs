//! The simulator of a fabric: one rule at a time, what is assumed, and what holds everywhere.

mod assumed;
mod properties;
mod requesters;
mod routes;
mod vendors;
