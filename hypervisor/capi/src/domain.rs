//! Domains in memory that C lends.
#![expect(unsafe_code, reason = "symbols that C links to have names of their own")]

use core::{
    ffi::c_int,
    sync::atomic::{AtomicU64, Ordering},
};

use pviommu_abi::{DomId, Errno};
use pviommu_hypervisor::{Context, DomainIommu, GroupRule, Limits, OptIns, Role};

use crate::{
    config::{DomainConfig, DomainLimits, HARDWARE, TOGETHER_ONLY, background},
    lent::{Lent, room_for},
    pointers::{In, Object, Out, Shared},
    status::ended,
};

/// `struct pviommu_domain`: the state of a domain.
#[repr(C)]
#[derive(Debug)]
pub struct Domain {
    magic: AtomicU64,
    pub(crate) iommu: DomainIommu<'static>,
}

// SAFETY: `repr(C)`, and the word comes first.
unsafe impl Object for Domain {
    const MAGIC: u64 = u64::from_le_bytes(*b"pvdomain");
}

/// Flags of a domain that mean something.
const FLAGS: u16 = HARDWARE | TOGETHER_ONLY;

fn contexts(config: &DomainConfig) -> Result<usize, Errno> {
    if config.nr_contexts == 0 {
        return Err(Errno::EINVAL);
    }
    usize::try_from(config.nr_contexts).map_err(|_| Errno::EINVAL)
}

fn size(config: &DomainConfig) -> Result<usize, Errno> {
    let contexts = room_for::<Context>(contexts(config)?);
    let all = contexts.and_then(|it| it.checked_add(room_for::<Domain>(1)?));
    all.ok_or(Errno::EINVAL)
}

/// Stores the limits that the Linux driver can live with.
#[unsafe(no_mangle)]
pub extern "C" fn pviommu_limits_default(limits: Out<DomainLimits>) -> c_int {
    ended(|| limits.write(Limits::default().into()))
}

/// How many bytes [`pviommu_domain_init`] needs.
#[unsafe(no_mangle)]
pub extern "C" fn pviommu_domain_size(config: In<DomainConfig>, bytes: Out<usize>) -> c_int {
    ended(|| bytes.write(size(&config.read()?)?))
}

/// Makes a domain.
#[unsafe(no_mangle)]
pub extern "C" fn pviommu_domain_init(
    memory: Lent,
    bytes: usize,
    config: In<DomainConfig>,
    domain: Out<Shared<Domain>>,
) -> c_int {
    ended(|| {
        domain.check()?;
        let config = config.read()?;
        if config.flags & !FLAGS != 0 {
            return Err(Errno::EINVAL);
        }
        let role = if config.flags & HARDWARE != 0 { Role::Hardware } else { Role::Guest };
        let rule = match config.flags & TOGETHER_ONLY {
            0 => GroupRule::EachAlone,
            _ => GroupRule::TogetherOnly,
        };
        let background = background(config.background)?;
        let opt_ins = OptIns::from_bits(config.opt_ins).ok_or(Errno::EINVAL)?;
        let mut memory = memory.cut(bytes, size(&config)?)?;
        let contexts = memory.many(contexts(&config)?, |_| Ok(Context::new()))?;
        let iommu = DomainIommu::new(DomId(config.id), role, contexts, config.limits.into())
            .with_background(background)
            .with_opt_ins(opt_ins)
            .with_group_rule(rule);
        let made = memory.one(Domain { magic: AtomicU64::new(Domain::MAGIC), iommu })?;
        // SAFETY: it was made in memory that is the object's (promise of `Lent`).
        domain.write(unsafe { Shared::new(made) })
    })
}

/// Ends the use of the object, whose memory is the embedder's again.
#[unsafe(no_mangle)]
pub extern "C" fn pviommu_domain_fini(domain: Shared<Domain>) -> c_int {
    ended(|| {
        domain.open()?.magic.store(0, Ordering::Release);
        Ok(())
    })
}

/// Lets the log be told of the domain again.
#[unsafe(no_mangle)]
pub extern "C" fn pviommu_renew_log_lines(domain: Shared<Domain>) -> c_int {
    ended(|| {
        domain.open()?.iommu.renew_log_lines();
        Ok(())
    })
}

/// Lets the domain cause invalidations again.
#[unsafe(no_mangle)]
pub extern "C" fn pviommu_renew_invalidations(domain: Shared<Domain>) -> c_int {
    ended(|| {
        domain.open()?.iommu.renew_invalidations();
        Ok(())
    })
}
