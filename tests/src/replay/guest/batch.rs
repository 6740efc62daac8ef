//! Many calls in one hypercall.

use pviommu_abi::{Bfn, ContextId, ElementFlags, Gfn};
use pviommu_guest::{BatchBuilder, BatchFull, BatchPage, Error};

use super::{CALL, Driver, parts};
use crate::replay::calls::{Call, Done, element_flags};

/// Elements that fit the page of a batch.
const PAGE: usize = 128;

/// How many batches there were.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(in crate::replay) struct Batches {
    pub(in crate::replay) batches: u64,
    pub(in crate::replay) elements: u64,
    pub(in crate::replay) largest: u64,
}

/// What the service takes in one hypercall.
#[derive(Clone, Copy, Debug)]
pub(super) struct Most {
    elements: usize,
    pages: u64,
}

/// A call, or a part of one, as an element of a batch.
struct Element {
    call: Call,
    /// The place of the call among all.
    place: usize,
    offset: u64,
    pages: u32,
    /// It is meant to fail.
    fails: bool,
}

impl Element {
    fn add_to(&self, batch: &mut BatchBuilder<'_>) -> Result<usize, BatchFull> {
        match self.call {
            Call::Map { extent, how } => {
                let flags = element_flags(extent.access, how);
                let (bfn, gfn) = (Bfn(extent.bfn + self.offset), Gfn(extent.gfn + self.offset));
                batch.map(bfn, gfn, self.pages, flags)
            }
            Call::Unmap { bus, later } => {
                let flags = if later { ElementFlags::NO_FLUSH } else { ElementFlags::empty() };
                batch.unmap(Bfn(bus.first + self.offset), self.pages, flags)
            }
            Call::Flush { .. } => batch.flush_all(),
        }
    }
}

/// The elements of the call at `place`: one, or as many as its size takes, but none after the one
/// that is meant to fail.
fn elements(place: usize, call: Call, expected: &Done, most: u64) -> Vec<Element> {
    let pages = call.pages();
    if pages == 0 {
        return vec![Element { call, place, offset: 0, pages: 0, fails: false }];
    }
    let mut elements = Vec::new();
    for (offset, pages) in parts(pages, most) {
        let fails = expected.error.is_some() && offset + u64::from(pages) > expected.pages;
        elements.push(Element { call, place, offset, pages, fails });
        if fails {
            break;
        }
    }
    elements
}

impl Driver<'_> {
    /// Does `calls` in order, in batches.
    pub(super) fn run_batches(
        &mut self,
        context: ContextId,
        calls: &[Call],
        expected: &[Done],
    ) -> Vec<Done> {
        let most = match self.most(context) {
            Ok(most) => most,
            Err(error) => return vec![Done { pages: 0, error: Some(error) }; calls.len()],
        };
        let elements: Vec<Element> = calls
            .iter()
            .zip(expected)
            .enumerate()
            .flat_map(|(place, (call, expected))| elements(place, *call, expected, most.pages))
            .collect();
        let mut done = vec![Done::all(0); calls.len()];
        for batch in elements.chunks(most.elements) {
            self.submit(context, batch, &mut done);
        }
        done
    }

    /// Asked of the first context: no other has limits of its own.
    fn most(&mut self, context: ContextId) -> Result<Most, Error> {
        if let Some(most) = self.most {
            return Ok(most);
        }
        let limits = self.client().query_limits(context)?;
        let elements = usize::try_from(limits.max_batch_ops).unwrap_or(PAGE);
        let elements = elements.min(PAGE).min(self.batch).max(1);
        let pages = u64::from(limits.max_element_pages).min(CALL);
        Ok(*self.most.insert(Most { elements, pages }))
    }

    /// One hypercall. It stops at the first element that fails, as a driver wants it, unless one is
    /// there to fail.
    fn submit(&mut self, context: ContextId, elements: &[Element], done: &mut [Done]) {
        let mut page = BatchPage::new();
        let mut batch = BatchBuilder::new(&mut page, context);
        if elements.iter().any(|element| element.fails) {
            batch = batch.run_all();
        }
        for element in elements {
            element.add_to(&mut batch).expect("there is room for as many");
        }
        let stopped = self.client().submit(&mut batch).err();
        let results = batch.done();
        let stopped = stopped.or(results.first_error().map(|(_, error)| error.cause));
        for (index, element) in elements.iter().enumerate() {
            let part = match results.element(index) {
                Some(Ok(part)) => Done::all(part.pages.into()),
                Some(Err(error)) => Done { pages: error.done.into(), error: Some(error.cause) },
                // Not run, because of what stopped the batch.
                None => Done { pages: 0, error: stopped },
            };
            let call = &mut done[element.place];
            if call.error.is_none() {
                *call = call.and(part);
            }
        }
        self.batches.batches += 1;
        self.batches.elements += elements.len() as u64;
        self.batches.largest = self.batches.largest.max(elements.len() as u64);
    }
}
