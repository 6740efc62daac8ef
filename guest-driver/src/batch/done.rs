//! What became of the elements of a batch, as far as it can be believed.

use core::fmt;

use pviommu_abi::{AccessFlags, BatchElement, BatchOp, ElementFlags, Gfn, Subop};

use crate::client::counted;
use crate::error::{BadReply, Error, MapError};

/// What an element was asked to do, where the hypervisor cannot change it.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Asked {
    pub(super) op: BatchOp,
    pub(super) flags: ElementFlags,
    pub(super) nr: u32,
}

/// The results of a batch, by the index of the element.
#[derive(Clone, Copy)]
pub struct BatchDone<'b> {
    /// Both as long as what is finished.
    asked: &'b [Asked],
    elements: &'b [BatchElement],
}

/// An element that succeeded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ElementDone {
    /// How many pages were done: all that were asked for, but maybe fewer for a flush, and for an
    /// unmap with SKIP_HOLES.
    pub pages: u32,
    /// What a lookup found; `None` for all other operations.
    pub found: Option<LookedUp>,
}

/// What a bus frame maps to, as a batch tells it. [`IommuClient::lookup`] tells more.
///
/// [`IommuClient::lookup`]: crate::IommuClient::lookup
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LookedUp {
    /// The guest frame, if the hypervisor knows it.
    pub gfn: Option<Gfn>,
    /// Whether devices may read and write; no other flag is told.
    pub access: AccessFlags,
}

impl<'b> BatchDone<'b> {
    pub(super) fn new(asked: &'b [Asked], elements: &'b [BatchElement], finished: usize) -> Self {
        Self {
            asked: asked.get(..finished).unwrap_or_default(),
            elements: elements.get(..finished).unwrap_or_default(),
        }
    }

    /// How many elements are finished, well or not. They are the first ones.
    #[must_use]
    pub const fn finished(&self) -> usize {
        self.asked.len()
    }

    /// What became of an element; `None` if it is not finished, or there is no such element.
    ///
    /// [`MapError::done`] of an element that failed tells how many pages were done. An answer the
    /// ABI does not allow is an [`Error::BadReply`] of its element, and the others stand.
    #[must_use]
    pub fn element(&self, index: usize) -> Option<Result<ElementDone, MapError>> {
        Some(judge(*self.asked.get(index)?, self.elements.get(index)?))
    }

    /// What became of the finished elements, in their order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = Result<ElementDone, MapError>> + use<'b> {
        self.asked.iter().zip(self.elements).map(|(asked, element)| judge(*asked, element))
    }

    /// The first element that failed: its index and why.
    #[must_use]
    pub fn first_error(&self) -> Option<(usize, MapError)> {
        self.iter().enumerate().find_map(|(index, result)| Some((index, result.err()?)))
    }
}

impl fmt::Debug for BatchDone<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

fn judge(asked: Asked, element: &BatchElement) -> Result<ElementDone, MapError> {
    let outcome = Error::check(Subop::BATCH, i64::from(element.status));
    let may_be_fewer = match asked.op {
        BatchOp::UNMAP => asked.flags.contains(ElementFlags::SKIP_HOLES),
        BatchOp::FLUSH | BatchOp::LOOKUP => true,
        _ => false,
    };
    let pages = match outcome {
        Ok(()) if may_be_fewer && element.done <= asked.nr => element.done,
        outcome => counted(Subop::BATCH, asked.nr, element.done, outcome)?,
    };
    let found = if asked.op == BatchOp::LOOKUP { Some(looked_up(element)?) } else { None };
    Ok(ElementDone { pages, found })
}

fn looked_up(element: &BatchElement) -> Result<LookedUp, MapError> {
    let gfn = Gfn(element.page);
    let gfn = match gfn.address() {
        Some(_) => Some(gfn),
        None if gfn == Gfn::MAX => None,
        None => {
            let lie = BadReply::Field { subop: Subop::BATCH, field: "page", value: gfn.0 };
            return Err(MapError { done: 0, cause: Error::BadReply(lie) });
        }
    };
    let mut access = AccessFlags::empty();
    access.set(AccessFlags::READ, element.flags.contains(ElementFlags::READ));
    access.set(AccessFlags::WRITE, element.flags.contains(ElementFlags::WRITE));
    Ok(LookedUp { gfn, access })
}
