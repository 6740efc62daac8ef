//! The JSON form.

use pviommu_testbed::pci::{self, Capture, Captured, Kind};
use serde_json::Value;

use crate::data::{FILES, load, path, refusal};

#[test]
fn every_file_is_read_whole() {
    for (file, topologies) in FILES {
        let captures = load(file);
        assert_eq!(captures.len(), topologies, "{file}");
        for capture in &captures {
            assert!(!capture.linux_groups.is_empty(), "{file}: {}", capture.name);
            assert!(!capture.root_buses.is_empty(), "{file}: {}", capture.name);
            // Where there is all of configuration space, nothing is unseen.
            assert_eq!(capture.unseen.is_empty(), file == "qemu.json.gz", "{:?}", capture.unseen);
        }
    }
    assert_eq!(load("real-partial.json.gz")[8].segment, 0x1_0000);
}

#[test]
fn fields_are_taken_as_they_stand() {
    let captures = load("handmade.json");
    let find = |topology: &str, name: &str| -> Captured {
        let capture = captures.iter().find(|capture| capture.name == topology).unwrap();
        let name = name.parse().unwrap();
        capture.functions.iter().find(|function| function.name == name).unwrap().clone()
    };
    let port = find("switch-acs-both", "00:01.0");
    assert_eq!((port.kind, port.header), (Some(Kind::RootPort), 1));
    assert!(port.buses.is_some() && port.acs.is_some() && port.acs_is_known);
    let bridge = find("pch-quirk", "00:1f.0");
    assert_eq!((bridge.byte(0xf0), bridge.byte(0x10)), (Some(1), None));
    assert_eq!(bridge.kind, Some(Kind::Conventional));
    let lone = find("phantom", "01:00.0");
    assert_eq!((lone.phantom, lone.acs, lone.acs_is_known), (1, None, true));
}

/// The file with only what `keep` keeps of each function.
fn stripped(file: &str, keep: &[&str]) -> Vec<Capture> {
    let mut text = Vec::new();
    let bytes = std::fs::read(path(file)).unwrap();
    std::io::Read::read_to_end(&mut flate2::read::GzDecoder::new(&bytes[..]), &mut text).unwrap();
    let mut value: Value = serde_json::from_slice(&text).unwrap();
    for topology in value["topologies"].as_array_mut().unwrap() {
        for function in topology["functions"].as_array_mut().unwrap() {
            function.as_object_mut().unwrap().retain(|key, _| keep.contains(&key.as_str()));
        }
    }
    pci::read(file, value.to_string().as_bytes()).unwrap()
}

#[test]
fn configuration_space_says_what_the_fields_beside_it_say() {
    let decoded = stripped("qemu.json.gz", &["bdf", "config", "config_len"]);
    let told = load("qemu.json.gz");
    let mut compared = 0;
    for (decoded, told) in decoded.iter().zip(&told) {
        assert_eq!(decoded.functions.len(), told.functions.len());
        for (decoded, told) in decoded.functions.iter().zip(&told.functions) {
            assert_eq!(decoded, told);
            compared += 1;
        }
    }
    assert_eq!(compared, 339);
    let virtuals = decoded.iter().flat_map(|capture| &capture.functions);
    let virtuals: Vec<&Captured> = virtuals.filter(|function| function.virtual_function).collect();
    assert_eq!(virtuals.len(), 16);
    assert!(virtuals.iter().all(|function| function.physical.is_some()));
}

/// One topology with one function, of these fields.
fn one(fields: &str) -> String {
    format!(
        "{{\"format\": \"pviommu-pci-1\", \"topologies\": [{{\"name\": \"t\",\n\"functions\": [{fields}]}}]}}"
    )
}

/// A function that is well-formed.
const GOOD: &str = r#"{"bdf": "00:01.0", "vendor": "8086", "device": "1234", "class": "020000",
    "header": 0, "multifunction": false, "pcie": null, "ignored": [1, 2]}"#;

#[test]
fn what_is_wrong_is_said_with_its_place() {
    pci::read("file", one(GOOD).as_bytes()).unwrap();
    let but = |from: &str, to: &str| {
        assert!(GOOD.contains(from), "{from}");
        one(&GOOD.replace(from, to))
    };
    let bridge = |rest: &str| but("\"header\": 0", &format!("\"header\": 1, {rest}"));
    let cases = [
        ("{".to_owned(), "file:1:1: EOF while parsing an object, expected the form pviommu-pci-1"),
        (
            "{\"format\": \"other\"}".to_owned(),
            "file:1:18: invalid value: string \"other\", expected \"pviommu-pci-1\"",
        ),
        ("[]".to_owned(), "file:1:2: invalid length 0, expected struct File with 2 elements"),
        (
            "{\"format\": \"pviommu-pci-1\"}".to_owned(),
            "file:1:27: missing field `topologies`, expected the form pviommu-pci-1",
        ),
        (
            but("00:01.0", "00:21.0"),
            "file:2:31: invalid value: string \"00:21.0\", expected a function as bb:dd.f",
        ),
        (but("\"8086\"", "32902"), "expected a hexadecimal number of at most 16 bits"),
        (but("8086", "18086"), "expected a hexadecimal number of at most 16 bits"),
        (
            but("null", "\"port\""),
            "invalid value: string \"port\", expected null, endpoint, legacy-endpoint",
        ),
        (
            but("\"header\": 0", "\"header\": 9"),
            "file: topology \"t\", function 00:01.0: found header 9, expected 0, 1 or 2",
        ),
        (but("\"header\": 0", "\"header\": 300"), "expected u8"),
        (but("false", "0"), "invalid type: integer `0`, expected a boolean"),
        (
            but("\"vendor\"", "\"wendor\""),
            "function 00:01.0: found no vendor, expected vendor, or config",
        ),
        (but("null", "null, \"acs_cap\": 1"), "found acs_cap alone, expected acs_ctl with it"),
        (but("null", "null, \"phantom\": 4"), "found phantom 4, expected 0 to 3"),
        (but("null", "null, \"config\": \"861\""), "expected pairs of hexadecimal digits"),
        (
            but("null", "null, \"config\": \"86\", \"config_len\": 5000"),
            "found config_len 5000, expected 64 to 4096",
        ),
        (
            but("null", "null, \"config_bytes\": {\"f0\": 1}"),
            "expected an offset as 0xf0, below 0x1000",
        ),
        (bridge("").replace(", ,", ","), "found a bridge without bus, expected primary, secondary"),
        (
            but("null", "null, \"bus\": {\"primary\": 0, \"secondary\": 1, \"subordinate\": 1}"),
            "found bus numbers with header 0",
        ),
        (one(&format!("{GOOD}, {GOOD}")), "file: topology \"t\", function 00:01.0: found it twice"),
        (one(""), "file: topology \"t\": found no functions, expected at least one"),
        (
            one(GOOD).replace("}]}]}", "}], \"linux_groups\": [[\"00:01.0\"], [\"00:02.0\"]]}]}"),
            "function 00:02.0: found it in linux_groups only, expected each of them in functions",
        ),
        (
            one(GOOD).replace("}]}]}", "}], \"linux_groups\": [[\"00:01.0\", \"00:01.0\"]]}]}"),
            "function 00:01.0: found it twice in linux_groups",
        ),
    ];
    for (text, expected) in cases {
        let message = refusal(&text);
        assert!(message.contains(expected), "{message}\nexpected: {expected}");
        assert_eq!(message.lines().count(), 1, "{message}");
    }
}

#[test]
fn what_is_not_said_is_not_known() {
    let text = one(GOOD).replace(", \"multifunction\": false, \"pcie\": null", "");
    let text = text.replace("\n    \"header\": 0", " \"header\": 0");
    let captures = pci::read("file", text.as_bytes()).unwrap();
    let function = &captures[0].functions[0];
    assert_eq!((function.multifunction, function.kind, function.acs_is_known), (None, None, false));
}
