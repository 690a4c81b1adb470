//! One arrow: core <- store <- engine <- gateway <- program or benchmarks; the simulator stands alone beside
//! them.

use crate::Breach;

/// What each crate of ours may use of ours: in its code, and in its tests besides.
const ARROW: [(&str, &[&str], &[&str]); 7] = [
    ("deadletter-core", &[], &[]),
    ("deadletter-store", &["deadletter-core"], &[]),
    ("deadletter", &["deadletter-core", "deadletter-store"], &["deadletter-sim"]),
    ("deadletter-sim", &[], &[]),
    ("deadletter-gateway", &["deadletter"], &["deadletter-sim"]),
    (
        "deadletter-cli",
        &[
            "deadletter",
            "deadletter-core",
            "deadletter-gateway",
            "deadletter-store",
            "deadletter-sim",
        ],
        &[],
    ),
    (
        "deadletter-bench",
        &["deadletter", "deadletter-core", "deadletter-gateway", "deadletter-store"],
        &[],
    ),
];

pub(crate) fn breaches(path: &str, manifest: &str) -> Vec<Breach> {
    let table: toml::Table = manifest.parse().unwrap();
    let Some(name) = table.get("package").and_then(|it| it.get("name")).and_then(|n| n.as_str())
    else {
        return Vec::new();
    };
    let breach = |line, what| Breach {
        file: path.to_owned(),
        line,
        what,
        fix: "the arrow is core <- store <- deadletter <- gateway <- cli, and sim alone",
    };
    let Some((_, code, tests)) = ARROW.iter().find(|(known, ..)| *known == name) else {
        return vec![breach(1, format!("{name} has no place in the arrow"))];
    };
    let sections =
        [("dependencies", false), ("build-dependencies", false), ("dev-dependencies", true)];
    let mut breaches = Vec::new();
    for (section, in_tests) in sections {
        let used = table.get(section).and_then(|section| section.as_table());
        for used in used.into_iter().flat_map(|section| section.keys()) {
            let is_ours = used == "deadletter" || used.starts_with("deadletter-");
            let is_allowed =
                code.contains(&used.as_str()) || (in_tests && tests.contains(&used.as_str()));
            if is_ours && !is_allowed {
                let line = manifest.lines().position(|line| line.starts_with(used.as_str()));
                breaches.push(breach(line.map_or(1, |at| at + 1), format!("{name} uses {used}")));
            }
        }
    }
    breaches
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(manifest: &str) -> Vec<usize> {
        breaches("Cargo.toml", manifest).iter().map(|breach| breach.line).collect()
    }

    #[test]
    fn a_dependency_against_the_arrow_is_a_breach() {
        let store = "[package]\nname = \"deadletter-store\"\n[dependencies]\n";
        assert_eq!(lines(&format!("{store}deadletter-core.workspace = true\n")), [0; 0]);
        assert_eq!(lines(&format!("{store}serde = \"1\"\ndeadletter.workspace = true\n")), [5]);
        assert_eq!(lines(&format!("{store}[dev-dependencies]\ndeadletter-sim = \"1\"\n")), [5]);
        let engine = "[package]\nname = \"deadletter\"\n";
        assert_eq!(lines(&format!("{engine}[dev-dependencies]\ndeadletter-sim = \"1\"\n")), [0; 0]);
        assert_eq!(lines(&format!("{engine}[dependencies]\ndeadletter-sim = \"1\"\n")), [4]);
        assert_eq!(lines("[package]\nname = \"deadletter-extra\"\n"), [1]);
        assert_eq!(lines("[workspace]\n"), [0; 0]);
    }
}
