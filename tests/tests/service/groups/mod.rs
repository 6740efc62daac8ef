//! INV-46: what the IOMMU cannot keep apart is one domain's, or nobody's.

mod failing;
mod index;
mod kit;
mod plug;
mod random;
mod reassign;
mod regroup;
mod risks;
mod shared_ids;
mod split;
mod taint;
mod together;
mod whole;
