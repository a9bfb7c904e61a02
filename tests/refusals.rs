//! What the command line does not take is one line under the name of the verb, with exit code 2.

use std::process::Command;

fn weft(line: &str) -> (Option<i32>, String, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_weft"))
        .args(line.split_whitespace())
        .output()
        .expect("the program starts");
    let text = |bytes| String::from_utf8(bytes).expect("it speaks UTF-8");
    (output.status.code(), text(output.stdout), text(output.stderr))
}

#[test]
fn every_verb_refuses_in_one_line() {
    for (line, wanted) in [
        ("", "weft: a verb is missing"),
        ("lod", "weft: \"lod\": there is no such verb: load is one"),
        ("--no-such-flag", "weft: \"--no-such-flag\": there is no such flag"),
        ("load", "weft load: <[WEIGHT:]URL>... is missing"),
        (
            "load http://127.0.0.1:1/ --output x",
            "weft load: --output \"x\": must be text, ",
        ),
        (
            "load serve --listen x",
            "weft load: --listen \"x\": must be ADDRESS:PORT",
        ),
        (
            "load http://127.0.0.1:1/ --timeout 2h",
            "weft load: --timeout \"2h\": must be at most an hour",
        ),
        ("simulate", "weft simulate: <FILE>... is missing"),
        ("demo --output x", "weft demo: --output \"x\": must be text or json"),
        ("proxy --no-such-flag", "weft proxy: \"--no-such-flag\""),
        ("control --no-such-flag", "weft control: \"--no-such-flag\""),
        (
            "standalone --concurrency x",
            "weft standalone: --concurrency \"x\": must be a whole number",
        ),
    ] {
        let (code, out, refusal) = weft(line);
        assert_eq!((code, out.as_str()), (Some(2), ""), "{line}: {refusal}");
        assert!(refusal.starts_with(wanted), "{line}: {refusal}");
        assert_eq!(refusal.lines().count(), 1, "{line}: {refusal}");
    }
    for line in ["--help", "--version", "load --help"] {
        let (code, out, err) = weft(line);
        assert_eq!((code, err.as_str()), (Some(0), ""), "{line}");
        assert!(out.contains("weft"), "{line}: {out}");
    }
}
