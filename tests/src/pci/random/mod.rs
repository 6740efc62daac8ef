//! Made-up topologies.
