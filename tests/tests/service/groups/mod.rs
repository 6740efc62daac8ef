//! INV-46: what the IOMMU cannot keep apart is one domain's, or nobody's.

mod failing;
mod kit;
mod reassign;
mod risks;
mod shared_ids;
mod split;
mod together;
mod whole;
