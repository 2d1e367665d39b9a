//! Our networks, samplers and losses against the reference's own outputs
//! (`reference/ddl-cxr.md` 8a), the published sizes, and what the reference files do not cover.
//!
//! The reference files are found by `NOWCXR_PARITY_DIR`, else in `parity` under `NOWCXR_SHARED`,
//! else beside the repository. Every network is built from the configuration in its file, so other
//! files of the same format need no change here. Without them those tests say `skipped`; the
//! fixtures of our own (`tests/peers`) are always there.

mod case;
mod full_size;
mod losses;
mod networks;
