//! The rules of this repository: which crate may use which, what no tree may hold, and that documents name what is
//! there.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a failed expectation is a failed test"
)]

mod circles;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use ferrule_tests::bins::workspace;
use ferrule_tests::tool;
use serde_json::Value;

/// What a crate in a folder may use of ours, by crate name.
fn allowed(folder: &str, name: &str) -> BTreeSet<&'static str> {
    let list: &[&str] = match (folder, name) {
        ("crates", "net" | "nft") => &["netlink"],
        ("crates", "attach") => &["cni", "net", "nft"],
        ("crates", "daemon") => &["node"],
        ("crates", _) => &[],
        ("plugins", "vxlan") => &["cni", "attach", "node", "bridge"],
        ("ipam", "dhcp") => &["cni", "attach", "node", "net", "daemon"],
        ("plugins" | "ipam", _) => &["cni", "attach", "node"],
        ("ferrule", _) => &["cni", "attach", "net", "nft", "node"],
        ("route-sync", _) => &["net", "nft", "node", "daemon", "bgp-speaker", "kube-source"],
        ("policy-sync", _) => &["net", "nft", "node", "daemon", "kube-source"],
        _ => panic!("{folder}/{name} is in no room of the house"),
    };
    list.iter().copied().collect()
}

/// Our crates: name, folder, and what of ours each uses in its build (tests may use more).
fn crates() -> Vec<(String, String, BTreeSet<String>)> {
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(["metadata", "--format-version", "1", "--no-deps", "--offline"]);
    cargo.current_dir(workspace());
    let metadata: Value = serde_json::from_str(&tool::succeed(&mut cargo)).unwrap();
    let packages = metadata["packages"].as_array().unwrap();
    let names: BTreeSet<&str> = packages.iter().map(|p| p["name"].as_str().unwrap()).collect();
    let describe = |package: &Value| {
        let manifest = PathBuf::from(package["manifest_path"].as_str().unwrap());
        let inside = manifest.parent().unwrap().strip_prefix(workspace()).unwrap().to_path_buf();
        let folder = inside.components().next().unwrap().as_os_str().to_string_lossy().into_owned();
        let all = package["dependencies"].as_array().unwrap().iter();
        let built = all.filter(|dependency| dependency["kind"].is_null());
        let ours = built.filter_map(|d| d["name"].as_str()).filter(|name| names.contains(name));
        let name = package["name"].as_str().unwrap().to_owned();
        (name, folder, ours.map(str::to_owned).collect())
    };
    packages.iter().map(describe).collect()
}

#[test]
fn dependencies_point_one_way() {
    let mut wrong = vec![];
    // What is tested by bytes from outside is every crate; the suites have a test of their own.
    let held = |folder: &String| !["tests", "fuzz"].contains(&folder.as_str());
    for (name, folder, uses) in crates().into_iter().filter(|(_, folder, _)| held(folder)) {
        let may = allowed(&folder, &name);
        let more: Vec<&String> = uses.iter().filter(|used| !may.contains(used.as_str())).collect();
        if !more.is_empty() {
            wrong.push(format!("{folder}/{name} uses {more:?}"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn the_suites_stay_outside_of_the_box() {
    let all = crates();
    let (_, _, uses) = all.iter().find(|(_, folder, _)| folder == "tests").unwrap();
    assert!(uses.is_empty(), "the black-box suites use {uses:?}");
}

#[test]
fn every_executable_has_a_readme() {
    for room in ["plugins", "ipam"] {
        for entry in fs::read_dir(workspace().join(room)).unwrap().flatten() {
            let readme = entry.path().join("README.md");
            assert!(readme.is_file(), "{} is missing", readme.display());
        }
    }
}

/// Every file that git has or would take.
fn tree() -> BTreeMap<PathBuf, String> {
    let mut git = Command::new("git");
    git.args(["ls-files", "--cached", "--others", "--exclude-standard"]);
    let listed = tool::succeed(git.current_dir(workspace()));
    let read = |path: &Path| fs::read_to_string(workspace().join(path)).ok();
    let texts = listed.lines().filter_map(|line| {
        let path = PathBuf::from(line);
        read(&path).map(|text| (path, text))
    });
    let tree: BTreeMap<_, _> = texts.collect();
    assert!(tree.len() > 20, "git lists only {} files", tree.len());
    tree
}

#[test]
fn scripts_are_executable() {
    for (path, text) in tree() {
        if text.starts_with("#!/") {
            let mode = fs::metadata(workspace().join(&path)).unwrap().permissions().mode();
            assert!(mode & 0o111 == 0o111, "{} is not executable", path.display());
        }
    }
}

/// No file speaks of the machine that it was written on.
#[test]
fn no_path_of_a_machine_is_in_the_tree() {
    let places = [["/wo", "rk/"].concat(), ["/ho", "me/"].concat(), ["/ro", "ot/"].concat()];
    let mut found = vec![];
    for (path, text) in tree() {
        for (number, line) in text.lines().enumerate() {
            if places.iter().any(|place| line.contains(place)) {
                found.push(format!("{}:{}: {line}", path.display(), number + 1));
            }
        }
    }
    assert!(found.is_empty(), "{found:#?}");
}

/// The one crate that may be unsafe is `net`.
#[test]
fn unsafe_code_is_in_one_room() {
    let mut found = vec![];
    let keyword = ["un", "safe"].concat();
    for (path, text) in tree() {
        let rust = path.extension().is_some_and(|end| end == "rs");
        if !rust || path.starts_with("crates/net") {
            continue;
        }
        let used = [
            format!("{keyword} {{"),
            format!("{keyword} fn"),
            format!("{keyword} impl"),
            format!("allow({keyword}_code"),
            format!("{keyword} extern"),
        ];
        for (number, line) in text.lines().enumerate() {
            let code = line.split("//").next().unwrap_or(line);
            if used.iter().any(|form| code.contains(form)) {
                found.push(format!("{}:{}: {line}", path.display(), number + 1));
            }
        }
    }
    assert!(found.is_empty(), "{found:#?}");
}

/// A file is read in one sitting, or it is two files.
#[test]
fn sources_are_short() {
    let long: Vec<String> = tree()
        .into_iter()
        .filter(|(path, _)| path.extension().is_some_and(|end| end == "rs"))
        .filter(|(_, text)| text.lines().count() > 500)
        .map(|(path, text)| format!("{}: {} lines", path.display(), text.lines().count()))
        .collect();
    assert!(long.is_empty(), "{long:#?}");
}

/// The first line of the match that a line is an arm of: the next line above that is indented less.
fn match_of<'a>(lines: &[&'a str], arm: usize) -> (usize, &'a str) {
    let depth = |line: &str| line.len() - line.trim_start().len();
    let above = (0..arm)
        .rev()
        .find(|at| !lines[*at].trim().is_empty() && depth(lines[*at]) < depth(lines[arm]));
    above.map_or((0, ""), |at| (at, lines[at]))
}

/// A kind of thing that attachments own cannot be forgotten: the compiler asks for it at every match.
#[test]
fn no_match_over_what_is_owned_has_a_default() {
    let (mut found, mut matches) = (vec![], BTreeSet::new());
    for (path, text) in tree() {
        let rust = path.extension().is_some_and(|end| end == "rs");
        let room = ["crates/attach/src", "plugins"].iter().any(|room| path.starts_with(room));
        if !rust || !room {
            continue;
        }
        let lines: Vec<&str> = text.lines().collect();
        let owned = |line: &str| {
            let arm = line.trim_start().trim_start_matches("| ");
            arm.starts_with("Owned::") || arm.starts_with("Rule::")
        };
        let arms = (0..lines.len()).filter(|at| owned(lines[*at]) && lines[*at].contains("=>"));
        let over: BTreeSet<usize> = arms.map(|arm| match_of(&lines, arm).0).collect();
        // What an item is owned as, is decided in one place.
        let item = (0..lines.len()).find(|at| lines[*at].contains("fn owned(&self)"));
        let over: BTreeSet<usize> = over.into_iter().chain(item.map(|at| at + 1)).collect();
        for at in 0..lines.len() {
            let default = lines[at].trim_start().starts_with("_ =>");
            if default && over.contains(&match_of(&lines, at).0) {
                found.push(format!("{}:{}: {}", path.display(), at + 1, lines[at]));
            }
        }
        matches.extend(over.into_iter().map(|at| (path.clone(), at)));
    }
    assert!(matches.len() > 6, "only {} matches were seen", matches.len());
    assert!(found.is_empty(), "{found:#?}");
}

/// A source without comments and strings.
fn code(text: &str) -> String {
    let (mut code, mut rest) = (String::new(), text.replace("'\"'", "''"));
    while let Some(at) = rest.find("//").into_iter().chain(rest.find('"')).min() {
        code.push_str(&rest[..at]);
        let end = if rest[at..].starts_with("//") {
            rest[at..].find('\n')
        } else {
            let inside = rest[at + 1..].replace("\\\\", "__").replace("\\\"", "__");
            inside.find('"').map(|end| end + 2)
        };
        rest = end.map_or_else(String::new, |end| rest[at + end..].to_owned());
    }
    code + &rest
}

/// The sources that name an item of nf_tables, apart from tests, from the fields that version 0.1.0
/// reads in a record, and from the rules of containernetworking/plugins.
fn sources_that_name(sources: &[(PathBuf, String)], names: impl Fn(&str) -> bool) -> Vec<PathBuf> {
    let apart = ["crates/attach/src/record/contents.rs", "crates/nft/src/rules/reference.rs"];
    let is_word = |c: char| c.is_alphanumeric() || c == '_';
    let named = sources.iter().filter(|(path, code)| {
        !apart.iter().any(|file| path == Path::new(file))
            && code
                .split(|c| !is_word(c))
                .any(|word| !word.starts_with("reference_") && names(word))
    });
    named.map(|(path, _)| path.clone()).collect()
}

/// The kinds of items that attachments own in nf_tables.
fn kinds(sources: &[(PathBuf, String)]) -> Vec<String> {
    let owned = sources.iter().find(|(path, _)| path == Path::new("crates/attach/src/owned.rs"));
    let (_, rest) = owned.unwrap().1.split_once("pub enum Rule {").unwrap();
    let (variants, _) = rest.split_once("\n}").unwrap();
    let names = variants.lines().filter_map(|line| line.trim().split_once('('));
    names.map(|(name, _)| name.to_owned()).collect()
}

#[test]
fn a_kind_of_nftables_item_takes_at_most_five_files() {
    let source = |path: &Path| {
        let part = |name: &str| path.iter().any(|part| part == name);
        let rust = path.extension().is_some_and(|end| end == "rs");
        rust && (part("src") || part("examples")) && !part("tests") && !path.ends_with("tests.rs")
    };
    let before_tests = |text: &str| code(text.split("#[cfg(test)]").next().unwrap_or_default());
    let sources = tree().into_iter().filter(|(path, _)| source(path));
    let sources: Vec<_> = sources.map(|(path, text)| (path, before_tests(&text))).collect();
    let (plugins, rest): (Vec<_>, Vec<_>) =
        sources.into_iter().partition(|(path, _)| path.starts_with("plugins"));
    // docs/adding-a-plugin.md lists them.
    let sample = sources_that_name(&rest, |word| word.to_lowercase().contains("macspoof"));
    assert_eq!(sample.len(), 5, "{sample:#?}");
    let kinds = kinds(&rest);
    assert!(kinds.len() >= 3, "{kinds:?}");
    for kind in kinds {
        let mut named = sources_that_name(&rest, |word| word == kind);
        named.retain(|path| !path.starts_with("crates/attach/examples"));
        // One is left for the plan of the plugin that owns it, and one for crates/nft's tables.rs.
        assert!((2..=4).contains(&named.len()), "{kind} is named by {named:#?}");
        let planned = sources_that_name(&plugins, |word| word == kind);
        assert!(planned.iter().all(|path| path.ends_with("plan.rs")), "{kind}: {planned:#?}");
    }
}

/// Workspace lints reach every crate.
#[test]
fn every_crate_takes_the_workspaces_lints() {
    for (path, text) in tree() {
        let member = path.ends_with("Cargo.toml") && path.components().count() > 1;
        // cargo-fuzz's workspace is another.
        if member && text.contains("[package]") && path != Path::new("fuzz/Cargo.toml") {
            assert!(text.contains("[lints]\nworkspace = true"), "{}", path.display());
        }
    }
}

/// The Markdown files, each line with its number.
fn documents() -> Vec<(PathBuf, usize, String)> {
    let pages = tree().into_iter().filter(|(path, _)| path.extension().is_some_and(|e| e == "md"));
    let lines = pages.flat_map(|(path, text)| {
        let numbered = text.lines().map(str::to_owned).zip(1..).collect::<Vec<_>>();
        numbered.into_iter().map(move |(line, number)| (path.clone(), number, line))
    });
    lines.collect()
}

/// What stands between backquotes.
fn quoted(line: &str) -> impl Iterator<Item = &str> {
    line.split('`').skip(1).step_by(2)
}

/// `suite module::test`, `module::test` or `module::{test, test}`: the suite if it is named, the
/// modules, the tests. Functions that are no tests may be named alike.
fn test_names(span: &str) -> Option<(Option<&str>, Vec<&str>, Vec<&str>)> {
    let (start, _) = span.split_once("::")?;
    let suite = start.split_once(' ').map(|(suite, _)| suite);
    let path = &span[suite.map_or(0, |suite| suite.len() + 1)..];
    let (modules, tests) = path.rsplit_once("::")?;
    let tests = tests.trim_matches(['{', '}']).split(", ").collect::<Vec<_>>();
    let modules = modules.split("::").collect::<Vec<_>>();
    let name = |part: &&str| {
        let word = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
        part.starts_with(|c: char| c.is_ascii_lowercase()) && part.chars().all(word)
    };
    let all = modules.iter().chain(&tests).all(name);
    all.then_some((suite, modules, tests))
}

/// Whether a file is of these modules (`crates/bgp/tests/interop/bird.rs` is of `interop::bird`).
fn is_of<'a>(path: &Path, modules: impl IntoIterator<Item = &'a str>) -> bool {
    let stem = path.with_extension("");
    let parts: Vec<_> = stem.iter().filter_map(|part| part.to_str()).collect();
    modules.into_iter().all(|module| parts.contains(&module))
}

/// Whether a source has such a function, written out or by a macro (`name: …`).
fn has_function(source: &str, name: &str) -> bool {
    let written = [format!("fn {name}("), format!("fn {name}<")];
    written.iter().any(|form| source.contains(form))
        || source.lines().any(|line| line.trim_start().starts_with(&format!("{name}: ")))
        || source.lines().any(|line| line.trim() == format!("{name}:"))
}

/// A test that a document names is there.
#[test]
fn the_tests_that_documents_name_are_there() {
    let sources: Vec<_> = tree()
        .into_iter()
        .filter(|(path, _)| path.extension().is_some_and(|e| e == "rs"))
        .collect();
    let there = |suite: Option<&str>, modules: &[&str], name: &str| {
        let place = || suite.into_iter().chain(modules.iter().copied());
        sources.iter().any(|(path, text)| {
            is_of(path, place()) && has_function(text, name) || is_of(path, place().chain([name]))
        })
    };
    let (mut lost, mut found) = (vec![], 0);
    for (path, number, line) in documents() {
        let mut of_line = None;
        for span in quoted(&line) {
            let Some((suite, modules, tests)) = test_names(span) else { continue };
            // Where the form itself is explained.
            if suite == Some("suite") {
                continue;
            }
            of_line = suite.or(of_line);
            found += tests.len();
            let missing = tests.iter().filter(|name| !there(of_line, &modules, name));
            lost.extend(missing.map(|name| format!("{}:{number}: {name}", path.display())));
        }
    }
    assert!(found > 60, "only {found} tests are named");
    assert!(lost.is_empty(), "named in a document, and not there: {lost:#?}");
}

/// A file or folder of this tree that a document names or links to is there.
#[test]
fn the_files_that_documents_name_are_there() {
    const ROOMS: [&str; 10] = [
        "crates/",
        "plugins/",
        "ipam/",
        "route-sync/",
        "policy-sync/",
        "tests/",
        "docs/",
        "conf/",
        "scripts/",
        "fuzz/",
    ];
    let mut lost = vec![];
    for (path, number, line) in documents() {
        let folder = path.parent().unwrap();
        let named = quoted(&line).flat_map(|span| span.split([' ', '=']));
        let named = named.filter(|word| ROOMS.iter().any(|room| word.starts_with(room)));
        // A word in capitals stands for a name.
        let plain =
            |word: &&str| !word.contains(|c: char| c.is_ascii_uppercase() || "*<…".contains(c));
        let links = line.split("](").skip(1).filter_map(|rest| rest.split([')', '#']).next());
        let links = links.filter(|link| !link.is_empty() && !link.contains("://"));
        for word in named.filter(plain).chain(links) {
            let places = [workspace().join(word), workspace().join(folder).join(word)];
            if !places.iter().any(|place| place.exists()) {
                lost.push(format!("{}:{number}: {word}", path.display()));
            }
        }
    }
    assert!(lost.is_empty(), "named in a document, and not there: {lost:#?}");
}

#[test]
fn every_suite_has_a_row_in_the_readme() {
    let readme = fs::read_to_string(workspace().join("tests/README.md")).unwrap();
    for entry in fs::read_dir(workspace().join("tests/tests")).unwrap().flatten() {
        let suite = entry.path().file_stem().unwrap().to_string_lossy().into_owned();
        assert!(readme.contains(&format!("\n| `{suite}` | ")), "tests/README.md has no {suite}");
    }
}

#[test]
fn the_network_to_copy_is_that_of_conf() {
    let read = |path: &str| fs::read_to_string(workspace().join(path)).unwrap();
    assert!(read("README.md").contains(&read("conf/10-bridge.conflist")));
}

/// The README's rows of times, by case and call, and the rows of docs/bench.md that they are.
const TIMES: &[(&str, &str, &str)] = &[
    ("IPv4", "ADD", "ADD, plain, ms"),
    ("IPv4", "DEL", "DEL, plain, ms"),
    ("IPv4, masquerade, no other pod", "ADD", "ADD, ipMasq, no other pod, ms"),
    ("IPv4, masquerade, no other pod", "DEL", "DEL, ipMasq, no other pod, ms"),
    ("IPv4, masquerade, 1 other pod", "ADD", "ADD, ipMasq, 1 other pod, ms"),
    ("IPv4, masquerade, 1 other pod", "DEL", "DEL, ipMasq, 1 other pod, ms"),
    ("IPv4, masquerade, 500 other pods", "ADD", "ADD, ipMasq, 500 other pods, ms"),
    ("IPv4, masquerade, 500 other pods", "DEL", "DEL, ipMasq, 500 other pods, ms"),
    ("dual stack, masquerade", "ADD", "ADD, dual stack, ipMasq, ms"),
    ("dual stack, masquerade", "DEL", "DEL, dual stack, ipMasq, ms"),
    ("IPv4, masquerade", "CHECK", "CHECK, ipMasq, ms"),
    ("portmap, 1 port", "ADD", "ADD, portmap, 1 port, backend iptables, ms"),
    ("portmap, 1 port", "DEL", "DEL, portmap, 1 port, backend iptables, ms"),
    ("portmap, 100 ports", "ADD", "ADD, portmap, 100 ports, backend iptables, ms"),
    ("portmap, 100 ports", "CHECK", "CHECK, portmap, 100 ports, backend iptables, ms"),
    (
        "bridge, portmap, bandwidth, firewall, tuning",
        "ADD",
        "ADD, bridge, portmap, bandwidth, firewall, tuning, ms",
    ),
    (
        "bridge, portmap, bandwidth, firewall, tuning",
        "DEL",
        "DEL, bridge, portmap, bandwidth, firewall, tuning, ms",
    ),
];

/// The rows of the table that begins with a header row, as cells.
fn table<'a>(document: &'a str, header: &str) -> Vec<Vec<&'a str>> {
    let lines = document.lines().skip_while(|line| !line.starts_with(header)).skip(2);
    let rows = lines.take_while(|line| line.starts_with('|'));
    rows.map(|row| row.trim_matches('|').split('|').map(str::trim).collect()).collect()
}

/// The README's times are those of the run that it links to: ours, the reference's, the ratio.
#[test]
fn the_times_of_the_readme_are_those_of_the_bench() {
    let read = |path: &str| fs::read_to_string(workspace().join(path)).unwrap();
    let (readme, bench) = (read("README.md"), read("docs/bench.md"));
    let measured = table(&bench, "| Measure | Ferrule | reference | ratio |");
    let figures = |label: &str| {
        let row = measured.iter().find(|row| row[0] == label);
        row.unwrap_or_else(|| panic!("docs/bench.md has no {label:?}"))[1..4].to_vec()
    };
    let expected = TIMES.iter().map(|(case, call, label)| [vec![*case, *call], figures(label)]);
    let expected: Vec<Vec<&str>> = expected.map(|row| row.concat()).collect();
    let in_readme =
        table(&readme, "| Case | | Ferrule, ms | reference, ms | reference / Ferrule |");
    let of_readme: Vec<_> = in_readme.iter().filter(|row| !expected.contains(row)).collect();
    let of_bench: Vec<_> = expected.iter().filter(|row| !in_readme.contains(row)).collect();
    assert!(
        of_readme.is_empty() && of_bench.is_empty(),
        "README.md alone has {of_readme:#?}, docs/bench.md alone has {of_bench:#?} (labels: TIMES)"
    );
}
