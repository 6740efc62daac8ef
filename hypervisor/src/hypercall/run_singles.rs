//! Running elements of a batch that map or unmap one page each, alike: together, as far as that is usual.

use pviommu_abi::{BatchElement, Gfn};

use super::{
    batch::Batch,
    element::{self, Operation},
};
use crate::{
    context::{Alike, Editor, Singly},
    format::Format,
    machine::LIST_ROOM,
    platform::Platform,
    policy::Pages,
};

/// Elements that were run together.
pub(super) struct Together {
    pub(super) of: Singly,
    /// All that were tried are done.
    pub(super) all: bool,
}

impl Together {
    const NONE: Self = Self { of: Singly::NONE, all: true };
}

impl<P: Platform> Batch<'_, '_, P> {
    /// Runs the first of `elements`, none of which was begun, with those after it that are like it. It may be none
    /// of them; nothing was done of the others then.
    #[inline(never)]
    pub(super) fn run_singles<F: Format>(
        &self,
        editor: &mut Editor<'_, P, F>,
        elements: &mut [BatchElement],
        list: &mut [Gfn; LIST_ROOM],
    ) -> Together {
        self.try_singles(editor, elements, list).unwrap_or(Together::NONE)
    }

    fn try_singles<F: Format>(
        &self,
        editor: &mut Editor<'_, P, F>,
        elements: &mut [BatchElement],
        list: &mut [Gfn; LIST_ROOM],
    ) -> Option<Together> {
        let (first, second) = (elements.first()?, elements.get(1)?);
        if !element::is_single_like(first, first) || !element::is_single_like(first, second) {
            return None;
        }
        let operation = element::decode(first, self.request.owner, 0).ok()??;
        let area = self.session.area(self.request.context, Some(self.facts));
        let (epoch, around) = area.editable_around(first.bfn).ok()?;
        let most = elements.len().min(editor.singles_before_look());
        let mut alike = 0usize;
        for (other, gfn) in elements.iter().take(most).zip(list.iter_mut()) {
            if !element::is_single_like(first, other) || !around.contains(other.bfn) {
                break;
            }
            *gfn = Gfn(other.page);
            alike = alike.saturating_add(1);
        }
        let elements = elements.get_mut(..alike)?;
        let bfns = elements.iter().map(|element| element.bfn);
        let of = match operation {
            // Each map over what waits may have to be flushed before the next is begun.
            Operation::Map(_) if self.context.deferred.is_active() => return None,
            Operation::Map(Pages { how, owner, .. }) if self.may_map_pages_of_owner() => {
                let gfns = list.get(..alike)?;
                editor.map_singles(Alike { epoch, owner, how }, bfns, gfns)
            }
            Operation::Unmap { how, .. } if !how.later => {
                Singly { done: editor.unmap_singles(epoch, bfns), ..Singly::NONE }
            }
            _ => return None,
        };
        for element in elements.iter_mut().take(of.done) {
            element.done = 1;
            element.status = 0;
        }
        Some(Together { all: of.done == alike, of })
    }
}
