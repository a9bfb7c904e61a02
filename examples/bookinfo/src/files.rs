//! The YAML files of the demo, part of the program so that it also runs where there is no repository.

/// What the mesh consists of: services, pods, settings. A file's name and its text.
pub const PLATFORM: [(&str, &str); 3] = [
    ("mesh.yaml", include_str!("../platform/mesh.yaml")),
    ("pods.yaml", include_str!("../platform/pods.yaml")),
    ("services.yaml", include_str!("../platform/services.yaml")),
];

/// The rules that the reader may edit. Files whose names begin with the same word take each other's place.
pub const RULES: [(&str, &str); 7] = [
    ("details-breaker.yaml", include_str!("../rules/details-breaker.yaml")),
    ("gateway.yaml", include_str!("../rules/gateway.yaml")),
    ("ratings-outliers.yaml", include_str!("../rules/ratings-outliers.yaml")),
    ("reviews-50-50.yaml", include_str!("../rules/reviews-50-50.yaml")),
    ("reviews-jason.yaml", include_str!("../rules/reviews-jason.yaml")),
    ("reviews-v1.yaml", include_str!("../rules/reviews-v1.yaml")),
    ("subsets.yaml", include_str!("../rules/subsets.yaml")),
];
