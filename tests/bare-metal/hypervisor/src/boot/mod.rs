//! From the loader to `main`, and to the end: nothing of it concerns the IOMMU.

mod entry;
mod exceptions;
mod exit;

pub use exit::{Exit, exit};

use crate::machine::{processors, serial};

/// Where the assembly of [`entry`] goes on, with the address that the loader left.
#[expect(unsafe_code, reason = "assembly calls it by its name")]
#[unsafe(no_mangle)]
extern "C" fn boot_main(start_info: usize) -> ! {
    serial::start_logging();
    exceptions::install();
    exit(crate::main(start_info))
}

/// The same of a processor that was started later.
#[expect(unsafe_code, reason = "assembly calls it by its name")]
#[unsafe(no_mangle)]
extern "C" fn processor_main(number: usize) -> ! {
    exceptions::install();
    processors::serve(number)
}
