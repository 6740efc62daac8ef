//! Functions as `lspci -v`, `-vv` or `-vvv` prints them: words.

use super::line::{hex, ids};
use super::suspect;
use super::words;
use super::{Block, Read};
use crate::pci::capture::{Captured, Kind};
use crate::pci::config::{Virtual, has_wide_acs};
use crate::pci::error::{Fault, PciError, Place};

/// The function that `block` shows.
pub(super) fn function(file: &str, block: &Block<'_>) -> Result<Read, PciError> {
    let mut function = Captured::new(block.device.name);
    if let Some((vendor, device)) = block.device.ids {
        (function.vendor, function.device) = (vendor, device);
    }
    function.class = block.device.class.unwrap_or(function.class);
    let mut seen = Seen::default();
    for (number, line) in &block.lines {
        take(&mut function, &mut seen, line)
            .map_err(|fault| fault.at(file, Place::Line(*number)))?;
    }
    if !seen.details {
        let fault = Fault::new(
            format!("no details of {}", function.name),
            "lines below it, as lspci -vvv or -xxxx prints them",
        );
        return Err(fault.at(file, Place::Line(block.number)));
    }
    let is_bridge = matches!(function.class >> 8, 0x0604 | 0x0607 | 0x0609);
    if is_bridge && function.buses.is_none() {
        let fault = Fault::new(format!("no bus numbers of {}", function.name), "Bus: primary=...");
        return Err(fault.at(file, Place::Line(block.number)));
    }
    if function.buses.is_some() {
        function.header = if function.class >> 8 == 0x0607 { 2 } else { 1 };
    }
    // Without a list of capabilities, or with one that has no PCI Express in it.
    if function.kind.is_none() && !seen.denied && !seen.unknown_kind {
        function.kind = Some(Kind::Conventional);
    }
    function.acs_is_known = match function.kind {
        None => false,
        Some(Kind::Conventional) => true,
        Some(_) => seen.acs_capability.is_none() || seen.acs_control.is_some(),
    } && !(seen.has_acs && seen.acs_capability.is_none());
    // With -v alone nothing is said about what a capability holds.
    function.acs_is_known &= seen.words || function.kind == Some(Kind::Conventional);
    function.acs = seen.acs_capability.zip(seen.acs_control);
    if has_wide_acs(&function)
        && let Some((_, control)) = &mut function.acs
    {
        // Read from where it is not: nothing is known to be on.
        *control = 0;
    }
    if block.device.ids.is_none() {
        suspect::assume(&mut function, block.device.text);
    }
    Ok(Read { function, virtuals: seen.virtuals })
}

/// What was seen on the way through a block.
#[derive(Default)]
struct Seen {
    details: bool,
    /// Printed by -vv or more.
    words: bool,
    denied: bool,
    unknown_kind: bool,
    has_acs: bool,
    acs_capability: Option<u16>,
    acs_control: Option<u16>,
    vfs_enabled: bool,
    vfs: u16,
    virtuals: Option<Virtual>,
}

fn take(function: &mut Captured, seen: &mut Seen, line: &str) -> Result<(), Fault> {
    let text = line.trim();
    // What stands further in belongs to a capability. Copying makes spaces of tabs.
    let blank = line.chars().take_while(|c| c.is_whitespace());
    let is_top = blank.map(|c| if c == '\t' { 8 } else { 1 }).sum::<u32>() < 16;
    let (key, value) = text.split_once(':').unwrap_or((text, ""));
    let value = value.trim_start();
    match (is_top, key) {
        (true, "Flags") => seen.details = true,
        (true, "Control" | "Status") => (seen.details, seen.words) = (true, true),
        (true, "Subsystem") => function.subsystem = ids(value),
        (true, "Bus") => {
            let fault =
                || Fault::new(crate::source::quote(text), "primary=, secondary=, subordinate=");
            function.buses = Some(words::buses(value).ok_or_else(fault)?);
        }
        (true, "Memory behind bridge" | "Prefetchable memory behind bridge") => {
            function.windows.extend(words::window(value));
        }
        (true, "Capabilities") => capability(function, seen, value),
        (true, _) if text.contains("Memory at ") && !text.contains("[virtual]") => {
            function.regions.extend(words::region(text));
        }
        (false, "DevCap") => {
            let expected = "PhantFunc 0 to 3";
            let bits = words::number(value, "PhantFunc").unwrap_or(0);
            let fault = || Fault::new(format!("PhantFunc {bits}"), expected);
            function.phantom =
                u8::try_from(bits).ok().filter(|bits| *bits <= 3).ok_or_else(fault)?;
        }
        (false, "DevCtl2") => {
            function.ari_forwarding = words::flag(value, "ARIFwd").unwrap_or(false);
        }
        (false, "ACSCap") => seen.acs_capability = Some(acs(value)?),
        (false, "ACSCtl") => seen.acs_control = Some(acs(value)?),
        (false, "IOVCtl") => seen.vfs_enabled = words::flag(value, "Enable") == Some(true),
        (false, "Initial VFs") => seen.vfs = words::number(value, "Number of VFs:").unwrap_or(0),
        (false, "VF offset") => {
            let device = value.split_once("Device ID: ").and_then(|(_, id)| hex(id.get(..4)?));
            let virtuals = words::number(text, "VF offset:").zip(words::number(value, "stride:"));
            if let (true, Some((offset, stride))) = (seen.vfs_enabled, virtuals) {
                let device = device.map_or(0xffff, |id| id as u16);
                seen.virtuals = Some(Virtual { count: seen.vfs, offset, stride, device });
            }
        }
        _ => {}
    }
    Ok(())
}

/// `[40] Express (v2) Root Port (Slot+), MSI 00`
fn capability(function: &mut Captured, seen: &mut Seen, value: &str) {
    if value == "<access denied>" {
        seen.denied = true;
        return;
    }
    let (_, words) = value.split_once("] ").unwrap_or_default();
    if words.starts_with("Express ") {
        function.kind = words::kind(words);
        seen.unknown_kind = function.kind.is_none();
    }
    match words {
        "Access Control Services" => seen.has_acs = true,
        _ if words.starts_with("Alternative Routing-ID Interpretation") => function.ari = true,
        _ => {}
    }
}

fn acs(value: &str) -> Result<u16, Fault> {
    let expected = "SrcValid to DirectTrans, each with + or -";
    words::acs(value).ok_or_else(|| Fault::new(crate::source::quote(value), expected))
}

/// Says what the words of `blocks` do not show.
pub(super) fn unseen(blocks: &[Block<'_>], unseen: &mut Vec<String>) {
    unseen.push(
        "bit 7 of the header type, which says that a device has several functions".to_owned(),
    );
    if blocks.iter().any(|block| block.device.ids.is_none()) {
        unseen.push(
            "vendor and device ids (lspci -nn shows them): no vendor's statement counts, and who makes \
             devices that send with ids of others is taken to have made one"
                .to_owned(),
        );
    }
    let denied = |block: &&Block<'_>| {
        block.lines.iter().any(|(_, line)| line.trim() == "Capabilities: <access denied>")
    };
    match blocks.iter().filter(denied).count() {
        0 => {}
        count => unseen.push(format!("capabilities of {count} functions (lspci -vvv, as root)")),
    }
    let has = |wanted: &str| {
        blocks.iter().flat_map(|block| &block.lines).any(|(_, line)| line.contains(wanted))
    };
    if !has("Control: ") {
        unseen.push("what capabilities hold, ACS among them (lspci -vvv shows it)".to_owned());
    }
    let intel = |block: &&Block<'_>| {
        let (vendor, device) = block.device.ids.unwrap_or((0, 0));
        let port = Captured {
            vendor,
            device,
            kind: Some(Kind::RootPort),
            ..Captured::new(block.device.name)
        };
        has_wide_acs(&port)
    };
    match blocks.iter().filter(intel).count() {
        0 => {}
        count => unseen.push(format!(
            "what ACS has on at {count} Intel root ports, which have it at another place than \
             lspci reads: taken as off"
        )),
    }
    if blocks.iter().any(|block| block.device.ids.is_some_and(|(vendor, _)| vendor == 0x8086)) {
        unseen.push(
            "the byte of the LPC bridge that Intel's root ports without ACS depend on".to_owned(),
        );
    }
}
