//! INV-46: what the IOMMU cannot keep apart is one domain's, or nobody's.

mod kit;
mod shared_ids;
mod whole;
