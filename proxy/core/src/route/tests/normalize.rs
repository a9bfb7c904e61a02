use std::borrow::Cow;

use super::*;

const BASE: PathNormalization = PathNormalization {
    normalize: true,
    merge_slashes: false,
    escaped_slashes: EscapedSlashes::Keep,
};
const MERGE: PathNormalization = PathNormalization {
    merge_slashes: true,
    ..BASE
};
const DECODE: PathNormalization = PathNormalization {
    escaped_slashes: EscapedSlashes::Unescape,
    ..MERGE
};
const NONE: PathNormalization = PathNormalization {
    normalize: false,
    ..BASE
};

#[test]
fn paths_get_one_form() {
    let cases = [
        (NONE, "/a/../b//c%2f", "/a/../b//c%2f"),
        (BASE, "/a/../b", "/b"),
        (BASE, "/a/./b", "/a/b"),
        (BASE, "/a/..", "/"),
        (BASE, "/a/b/..", "/a/"),
        (BASE, "/a/.", "/a/"),
        (BASE, "/../../etc/passwd", "/etc/passwd"),
        (BASE, "/a/%2e%2E/b", "/b"),
        (BASE, "/a/.../b", "/a/.../b"),
        (BASE, "/a/.b/..c", "/a/.b/..c"),
        (BASE, r"\a\b", "/a/b"),
        (BASE, "/%41%7e%2d", "/A~-"),
        (BASE, "/%2f%2F%3a", "/%2f%2F%3a"),
        (BASE, "/%", "/%"),
        (BASE, "/%zz%4", "/%zz%4"),
        (BASE, "/a//b", "/a//b"),
        (BASE, "/a//../b", "/a/b"),
        (BASE, "/ä", "/%C3%A4"),
        (BASE, "/a b\"<>{}`", "/a%20b%22%3C%3E%7B%7D%60"),
        (BASE, "*", "*"),
        (MERGE, "//a///b/", "/a/b/"),
        (MERGE, "/a/..//b", "/b"),
        (MERGE, "/a%2f%2fb", "/a%2f%2fb"),
        (DECODE, "/a%2F%2fb", "/a/b"),
        (DECODE, "/a%5c..%5Cb", "/b"),
        (DECODE, "/%252f", "/%252f"),
    ];
    for (how, before, after) in cases {
        assert_eq!(
            how.apply(before),
            Ok(Normalized::Forward(Cow::Borrowed(after))),
            "{before} by {how:?}"
        );
    }
}

#[test]
fn a_normal_path_is_not_copied() {
    for path in ["/", "/a/b.html", "/a.b/c-d_e~f/", "/a:b@c;d=e,f+g!$&'()*"] {
        assert!(
            matches!(DECODE.apply(path), Ok(Normalized::Forward(Cow::Borrowed(_)))),
            "{path}"
        );
    }
}

#[test]
fn escaped_slashes_are_refused_or_redirected() {
    let how = |escaped_slashes| PathNormalization {
        escaped_slashes,
        ..BASE
    };
    assert_eq!(
        how(EscapedSlashes::Reject).apply("/a%2fb"),
        Err(PathError::EscapedSlash)
    );
    assert_eq!(
        how(EscapedSlashes::Redirect).apply("/a%2fb"),
        Ok(Normalized::Redirect("/a/b".to_owned()))
    );
    assert_eq!(
        how(EscapedSlashes::Redirect).apply("/a%41"),
        Ok(Normalized::Forward(Cow::Borrowed("/aA")))
    );
    assert_eq!(BASE.apply("a/b"), Err(PathError::NotAbsolute));
}

#[test]
fn normalising_twice_changes_nothing() {
    let mut rng = fastrand::Rng::with_seed(3);
    let pieces = [
        "/", "/", ".", "..", "%2e", "%2F", "%5c", "\\", "a", "b%41", "%", "%c3%a4", "é", "//", "%25",
    ];
    for _ in 0..20_000 {
        let path: String = std::iter::once("/")
            .chain((0..rng.usize(0..9)).map(|_| *rng.choice(&pieces).unwrap()))
            .collect();
        for how in [BASE, MERGE] {
            let Ok(Normalized::Forward(once)) = how.apply(&path) else {
                panic!("{path}")
            };
            assert_eq!(
                how.apply(&once),
                Ok(Normalized::Forward(Cow::Borrowed(&once))),
                "{path} by {how:?}"
            );
            let climbs = once.split('/').any(|segment| segment == "..");
            assert!(once.starts_with('/') && !climbs, "{path} → {once}");
        }
    }
}
