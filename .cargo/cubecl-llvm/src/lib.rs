//! What cubecl-cuda 0.11.3 names of the crate cubecl-llvm, and nothing behind the names.
//!
//! The real crate downloads a build of LLVM from its build script, which a hospital's network or a
//! builder without one refuses. nowcxr compiles its CUDA kernels with NVRTC (feature `cuda-cpp` of
//! cubecl), so the LLVM way is never taken: cubecl-cuda only has to compile with it. Where the
//! download is allowed, deleting the `[patch.crates-io]` entry in Cargo.toml gives the real crate.
//! Check these names again whenever cubecl is raised.

use cubecl_core::ir::nvidia::SmArch;
use cubecl_core::prelude::KernelDefinition;
use cubecl_runtime::compiler::CompilationError;
use cubecl_runtime::kernel::BufferIOAttr;

pub mod nvptx {
    pub mod ptx_version {
        use std::fmt;

        /// A version of PTX. There is none.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum PtxVersion {}

        impl PtxVersion {
            pub fn for_driver(_driver: i32) -> Option<Self> {
                None
            }
        }

        impl fmt::Display for PtxVersion {
            fn fmt(&self, _f: &mut fmt::Formatter<'_>) -> fmt::Result {
                match *self {}
            }
        }
    }
}

pub mod shared {
    pub mod lowered_features {
        use cubecl_core::ir::DeviceProperties;

        /// What LLVM would compile for.
        pub enum GpuTarget {
            Nvptx,
        }

        /// LLVM would withdraw device features here; NVRTC keeps them all.
        pub fn restrict_features(_properties: &mut DeviceProperties, _target: GpuTarget) {}
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LlvmTarget {
    #[default]
    Cpu,
    Nvptx,
}

#[derive(Clone, Debug, Default)]
pub struct PlironOptions {
    pub cpu_buffer_alignment: Option<u32>,
    pub arch: Option<()>,
    pub sm_arch: Option<SmArch>,
    pub ptx_version: Option<nvptx::ptx_version::PtxVersion>,
    pub grid_constants: bool,
}

#[derive(Clone, Debug)]
pub struct NvptxModule {
    pub ptx: Vec<std::ffi::c_char>,
    pub entrypoint: String,
    pub ir: String,
    pub shared_memory_size: usize,
    pub io: Vec<BufferIOAttr>,
}

#[derive(Clone)]
pub enum PlironArtifact {
    NvptxCode(NvptxModule),
    Other,
}

#[derive(Clone, Debug, Default)]
pub struct PlironCompiler {
    pub target: LlvmTarget,
}

impl PlironCompiler {
    /// Never reached: kernels are compiled by NVRTC.
    pub fn compile(
        &mut self,
        _kernel: KernelDefinition,
        _options: &PlironOptions,
    ) -> Result<PlironArtifact, CompilationError> {
        unreachable!("built without LLVM: cubecl must have the feature cuda-cpp")
    }

    pub fn lang_tag(&self) -> &'static str {
        "llvm"
    }

    pub fn extension(&self) -> &'static str {
        "ll"
    }
}
