//! Where the networks run, and with how many threads.

use burn::tensor::Device;
use thiserror::Error;

use crate::config::DeviceChoice;

/// Why the device that was asked for cannot be had.
#[derive(Debug, Error)]
pub enum DeviceError {
    #[error("this program was built without CUDA; build it with --features cuda, or set cpu")]
    NotBuilt,
    #[error("no CUDA device was found; check the driver, or set cpu")]
    NotFound,
}

/// The device of this choice.
pub(super) fn device(choice: DeviceChoice) -> Result<Device, DeviceError> {
    match (choice, first_gpu()) {
        (DeviceChoice::Cpu, _) | (DeviceChoice::Auto, Err(_)) => Ok(Device::flex()),
        (DeviceChoice::Auto | DeviceChoice::Cuda, Ok(gpu)) => Ok(gpu),
        (DeviceChoice::Cuda, Err(error)) => Err(error),
    }
}

/// Looks before it touches: burn panics when it is asked for a GPU that is not there.
#[cfg(feature = "cuda")]
fn first_gpu() -> Result<Device, DeviceError> {
    let found = Device::enumerate(burn::tensor::DeviceType::Cuda).into_vec();
    found.into_iter().next().ok_or(DeviceError::NotFound)
}

#[cfg(not(feature = "cuda"))]
fn first_gpu() -> Result<Device, DeviceError> {
    Err(DeviceError::NotBuilt)
}

/// Sets how many threads the networks use on the CPU, 0 for one a core; no outcome depends on it.
/// Holds from the first call on, for the whole process.
pub fn set_threads(threads: usize) {
    let built = rayon::ThreadPoolBuilder::new().num_threads(threads).build_global();
    if let Err(error) = built {
        tracing::debug!("the threads of the networks stay as they are: {error}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_a_gpu_auto_is_the_cpu_and_cuda_is_an_error_that_says_what_to_do() {
        if first_gpu().is_ok() {
            return;
        }
        assert_eq!(device(DeviceChoice::Auto).expect("a device"), Device::flex());
        assert_eq!(device(DeviceChoice::Cpu).expect("a device"), Device::flex());
        let error = device(DeviceChoice::Cuda).expect_err("no GPU").to_string();
        assert!(error.contains("set cpu"), "{error}");
    }
}
