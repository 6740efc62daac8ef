//! Descriptors, taken apart: section 6.5.2.

use super::Config;

/// What a descriptor asks for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Asked {
    Contexts(Scope),
    Translations { pages: Pages, writes: bool, reads: bool },
    Interrupts,
    Wait { status: Option<(u64, u32)> },
}

/// Which context entries.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Scope {
    All,
    Domain(u16),
    Device { domain: u16, source: u16 },
}

/// Which translations.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Pages {
    All,
    Domain(u16),
    Block { domain: u16, first: u64, last: u64, leaves_only: bool },
}

/// Fields that a descriptor of each type has. All else is reserved.
const CONTEXT_FIELDS: u64 = 0x0003_ffff_ffff_003f;
const IOTLB_FIELDS: u64 = 0xffff_00ff;
const INTERRUPT_FIELDS: u64 = 0xffff_f800_001f;
const WAIT_FIELDS: u64 = 0xffff_ffff_0000_007f;

/// Takes it apart; `None` if it makes no sense to this unit.
pub(super) fn decode([low, high]: [u64; 2], config: &Config) -> Option<Asked> {
    let within = |fields: u64| (low & !fields == 0).then_some(());
    let granularity = low >> 4 & 3;
    let domain = (low >> 16) as u16;
    let known = |domain: u16| u64::from(domain) & !config.domain_mask() == 0;
    match low & 0xf {
        1 => {
            within(CONTEXT_FIELDS)?;
            let scope = match granularity {
                1 => Scope::All,
                2 => Scope::Domain(domain),
                // FM is not used.
                3 if low >> 48 == 0 => Scope::Device { domain, source: (low >> 32) as u16 },
                _ => return None,
            };
            (high == 0 && known(domain)).then_some(Asked::Contexts(scope))
        }
        2 => {
            within(IOTLB_FIELDS)?;
            let pages = match granularity {
                1 if high == 0 => Pages::All,
                2 if high == 0 => Pages::Domain(domain),
                3 => block(domain, high, config)?,
                _ => return None,
            };
            let (writes, reads) = (low & 1 << 6 != 0, low & 1 << 7 != 0);
            let can = config.drains();
            let drains = (can.0 || !writes) && (can.1 || !reads);
            (known(domain) && drains).then_some(Asked::Translations { pages, writes, reads })
        }
        4 => {
            within(INTERRUPT_FIELDS)?;
            let order = low >> 27 & 0x1f;
            let aligned = low >> 32 & ((1 << order) - 1) == 0;
            let fits = order <= config.ecap >> 20 & 0xf;
            (high == 0 && aligned && fits && config.remaps()).then_some(Asked::Interrupts)
        }
        5 => {
            within(WAIT_FIELDS)?;
            let status = (low & 1 << 5 != 0).then_some((high, (low >> 32) as u32));
            (high & 3 == 0 && low & 0x30 != 0).then_some(Asked::Wait { status })
        }
        _ => None,
    }
}

fn block(domain: u16, high: u64, config: &Config) -> Option<Pages> {
    let order = high & 0x3f;
    let first = high >> 12;
    let beyond = first >> (config.width() - 12) != 0;
    if high & 0xf80 != 0 || order > config.pages()? || beyond {
        return None;
    }
    // Bits that the mask covers do not count.
    let inside = (1 << order) - 1;
    let (first, last) = (first & !inside, first | inside);
    Some(Pages::Block { domain, first, last, leaves_only: high & 1 << 6 != 0 })
}
