//! The lists of tests that the programs in C have.
#![expect(unsafe_code, reason = "the lists are C's")]

use std::{
    ffi::{CStr, c_char, c_void},
    ptr,
};

use crate::bed::Bed;

/// `struct test` of `bed.h`.
#[repr(C)]
struct Test {
    name: *const c_char,
    run: Option<unsafe extern "C" fn(*mut c_void)>,
}

unsafe extern "C" {
    static linux_v7: Test;
    static embedder: Test;
    static refusals: Test;
}

/// A program in C.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Suite {
    /// `linux_v7.c`.
    LinuxV7,
    /// `embedder.c`.
    Embedder,
    /// `refusals.c`.
    Refusals,
}

impl Suite {
    fn first(self) -> *const Test {
        match self {
            Self::LinuxV7 => &raw const linux_v7,
            Self::Embedder => &raw const embedder,
            Self::Refusals => &raw const refusals,
        }
    }

    /// All its tests, in order.
    fn tests(self) -> impl Iterator<Item = &'static Test> {
        let mut at = self.first();
        std::iter::from_fn(move || {
            // SAFETY: the list goes on until a test without a name.
            let test = unsafe { &*at };
            at = at.wrapping_add(1);
            (!test.name.is_null()).then_some(test)
        })
    }

    /// Their names.
    pub fn names(self) -> Vec<String> {
        self.tests().map(Test::name).collect()
    }

    /// Runs one of them.
    ///
    /// # Panics
    /// If there is none of this name.
    pub fn run(self, name: &str, bed: &mut Bed) {
        let test = self.tests().find(|test| test.name() == name).expect("a test of the list");
        let run = test.run.expect("a test of the list");
        // SAFETY: it was made for this, and is given what the header says.
        unsafe { run(ptr::from_mut(bed).cast()) };
    }
}

impl Test {
    fn name(&self) -> String {
        // SAFETY: a literal.
        let name = unsafe { CStr::from_ptr(self.name) };
        name.to_str().unwrap().to_owned()
    }
}
