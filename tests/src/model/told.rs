//! Answers, and what the model says they must be.

use std::fmt::Debug;

use pviommu_abi::Errno;

use super::{
    run::{Run, status},
    world::World,
};
use crate::machine::Bed;

/// An answer as numbers: status of the call, status of its element, pages done.
pub(super) type Numbers = (i64, i64, i64);

/// An answer that was given, and the one that the model has.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Told {
    pub(super) given: Numbers,
    pub(super) expected: Numbers,
}

pub(super) trait Answer: Debug + PartialEq {
    fn numbers(&self) -> Numbers;
}

impl Answer for i64 {
    fn numbers(&self) -> Numbers {
        (*self, 0, 0)
    }
}

impl Answer for Result<(), Errno> {
    fn numbers(&self) -> Numbers {
        (status(*self), 0, 0)
    }
}

impl Answer for Numbers {
    fn numbers(&self) -> Numbers {
        *self
    }
}

impl<'b> Run<'b> {
    pub(super) fn new(bed: &'b Bed<'b>, world: World) -> Self {
        Self { bed, world, touched: Vec::new(), patience: None, told: None }
    }

    /// Compares an answer with what the model says, or notes both while something fails.
    pub(super) fn answered<A: Answer>(&mut self, given: A, expected: A) {
        match &mut self.told {
            None => assert_eq!(given, expected),
            Some(told) => {
                told.push(Told { given: given.numbers(), expected: expected.numbers() });
            }
        }
    }
}
