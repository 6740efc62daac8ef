//! Who may have which devices of a group (INV-46).

use pviommu_abi::{DomId, Errno};

use crate::{
    domain::{GroupRule, OptIns, Role},
    machine::Risks,
};

/// Who asks for a device, and what is known of the request.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Taker {
    pub(crate) domain: DomId,
    pub(crate) role: Role,
    pub(crate) opt_ins: OptIns,
    pub(crate) rule: GroupRule,
    /// It is to get the device without the rest of the group.
    pub(crate) alone: bool,
}

/// One device of the group, the one that was asked for or another.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Member {
    pub(crate) asked: bool,
    pub(crate) owner: Option<DomId>,
    /// It may be given by this request: of what goes from one domain to another only what that had.
    pub(crate) eligible: bool,
    /// Its owner has it without the rest of the group.
    pub(crate) alone: bool,
    /// It is in the default context of its owner.
    pub(crate) in_default: bool,
    /// It is broken, or was stopped.
    pub(crate) unfit: bool,
    /// Its group changed while somebody had of it, and nobody has approved that.
    pub(crate) tainted: bool,
    /// Something else is being done with it.
    pub(crate) held: bool,
    /// It can raise no interrupts but its own.
    pub(crate) isolated: bool,
    /// A function of the group is behind no unit.
    pub(crate) untranslated: bool,
    pub(crate) risks: Risks,
}

/// What becomes of a member.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Part {
    /// It is given with the others.
    Given,
    /// It stays where it is.
    Stays,
}

/// Checks what a member of the group has to say against the request, and what becomes of it.
///
/// # Errors
/// `-EBADF`: it would be given, and is not fit; or the group is tainted. `-EBUSY`: the device asked for
/// has an owner, or this one has another, and they may not be apart. `-EAGAIN`: something else is being done with
/// it. `-EPERM`: its interrupts are not isolated, or a function beside it is behind no unit, and nobody has taken that risk.
pub(crate) fn part_of(taker: &Taker, member: &Member) -> Result<Part, Errno> {
    let free = member.owner.is_none() && member.eligible;
    let given = free && (member.asked || !taker.alone);
    if member.tainted || member.unfit && (given || member.asked) {
        return Err(Errno::EBADF);
    }
    let apart = match member.owner {
        Some(_) if member.asked => return Err(Errno::EBUSY),
        Some(owner) if owner == taker.domain => {
            taker.rule == GroupRule::TogetherOnly && !member.in_default
        }
        Some(_) => !(taker.alone && member.alone),
        None => false,
    };
    if apart {
        return Err(Errno::EBUSY);
    }
    if member.held {
        return Err(Errno::EAGAIN);
    }
    let accepted = |opt_in, risk| taker.opt_ins.contains(opt_in) || member.risks.contains(risk);
    let unsafe_interrupts =
        !member.isolated && !accepted(OptIns::UNSAFE_INTERRUPTS, Risks::UNSAFE_INTERRUPTS);
    let exposed = member.untranslated
        && !accepted(OptIns::UNTRANSLATED_NEIGHBOURS, Risks::UNTRANSLATED_NEIGHBOUR);
    if taker.role == Role::Guest && (unsafe_interrupts || exposed) {
        return Err(Errno::EPERM);
    }
    Ok(if given { Part::Given } else { Part::Stays })
}

#[cfg(test)]
mod tests {
    use super::*;

    const TAKER: DomId = DomId(1);

    fn taker(alone: bool) -> Taker {
        let (opt_ins, rule) = (OptIns::empty(), GroupRule::default());
        Taker { domain: TAKER, role: Role::Guest, opt_ins, rule, alone }
    }

    fn member(owner: Option<DomId>, eligible: bool, asked: bool) -> Member {
        Member {
            asked,
            owner,
            eligible,
            alone: false,
            in_default: true,
            unfit: false,
            tainted: false,
            held: false,
            isolated: true,
            untranslated: false,
            risks: Risks::empty(),
        }
    }

    #[test]
    fn what_has_an_owner_or_is_for_another_request_is_not_given() {
        for (owner, eligible, part) in [
            (None, true, Part::Given),
            (None, false, Part::Stays),
            (Some(TAKER), true, Part::Stays),
            (Some(TAKER), false, Part::Stays),
        ] {
            let member = member(owner, eligible, false);
            assert_eq!(part_of(&taker(false), &member), Ok(part), "{member:?}");
        }
        assert_eq!(part_of(&taker(false), &member(Some(DomId(2)), true, false)), Err(Errno::EBUSY));
        assert_eq!(part_of(&taker(false), &member(Some(TAKER), true, true)), Err(Errno::EBUSY));
    }

    #[test]
    fn one_device_alone_is_given_without_the_others() {
        assert_eq!(part_of(&taker(true), &member(None, true, true)), Ok(Part::Given));
        assert_eq!(part_of(&taker(true), &member(None, true, false)), Ok(Part::Stays));
    }

    #[test]
    fn what_is_unfit_is_refused_unless_it_stays() {
        for (alone, asked, eligible, refused) in [
            (false, false, true, true),
            (false, false, false, false),
            (true, false, true, false),
            (true, true, true, true),
            (false, true, false, true),
        ] {
            let member = Member { unfit: true, ..member(None, eligible, asked) };
            let part = part_of(&taker(alone), &member);
            assert_eq!(part == Err(Errno::EBADF), refused, "{alone} {member:?}");
        }
    }
}
