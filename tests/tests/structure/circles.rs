//! No circle of files inside a crate: a file uses another, and that one never leads back to it.
//!
//! What a file uses is read from its paths, in `use` and in the code, that begin with `crate`,
//! `super`, `self` or a child module. A name that a module only imports or re-exports leads to the
//! file that defines it, so a parent that re-exports its children is in no circle with them. Tests
//! inside of modules are left out.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use crate::{code, tree};

/// A module path inside a crate: `routes::diff` is `["routes", "diff"]`.
type Module = Vec<String>;

/// One module that is a file.
struct File {
    path: PathBuf,
    /// Names of its child modules, tests left out.
    children: BTreeSet<String>,
    /// What a name stands for that is imported or re-exported, as a path from this module.
    imports: BTreeMap<String, Vec<String>>,
    /// The paths that it uses, re-exports left out.
    uses: Vec<Vec<String>>,
}

/// The words of a text: names, and single other characters; `::` is one word.
fn words(text: &str) -> Vec<String> {
    let mut words: Vec<String> = vec![];
    let mut characters = text.chars().peekable();
    while let Some(first) = characters.next() {
        let is_name = |c: char| c.is_alphanumeric() || c == '_';
        let mut word = String::from(first);
        if is_name(first) {
            while let Some(next) = characters.next_if(|c| is_name(*c)) {
                word.push(next);
            }
        } else if first == ':' && characters.next_if_eq(&':').is_some() {
            word.push(':');
        }
        if !first.is_whitespace() {
            words.push(word);
        }
    }
    words
}

/// The words of a file without the items under `#[cfg(test)]`.
fn without_tests(words: &[String]) -> Vec<String> {
    let test = self::words("#[cfg(test)]");
    let mut kept = vec![];
    let mut at = 0;
    while at < words.len() {
        if !words[at..].starts_with(&test) {
            kept.push(words[at].clone());
            at += 1;
            continue;
        }
        // The item ends with its block, or where there is none with a semicolon.
        let mut depth = 0;
        for word in &words[at + test.len()..] {
            at += 1;
            match word.as_str() {
                "{" => depth += 1,
                "}" => depth -= 1,
                _ => {}
            }
            if depth == 0 && (word == ";" || word == "}") {
                break;
            }
        }
        at += test.len();
    }
    kept
}

/// The paths of a `use`, and the names that they bind, from the word after `use` to the `;`.
fn trees(
    words: &[String],
    at: &mut usize,
    prefix: &[String],
    found: &mut Vec<(Vec<String>, String)>,
) {
    let mut path = prefix.to_vec();
    while let Some(word) = words.get(*at) {
        *at += 1;
        match word.as_str() {
            "::" => {}
            "{" => {
                while words.get(*at).is_some_and(|word| word != "}") {
                    trees(words, at, &path, found);
                }
                *at += 1;
                if words.get(*at).is_some_and(|word| word == ",") {
                    *at += 1;
                }
                return;
            }
            "as" => {
                found.push((path, words[*at].clone()));
                *at += 1;
                if words.get(*at).is_some_and(|word| word == ",") {
                    *at += 1;
                }
                return;
            }
            "," => break,
            ";" | "}" => {
                *at -= 1;
                break;
            }
            // `a::{self}` is `a`.
            "self" if path.len() > prefix.len() || !prefix.is_empty() => {}
            name => path.push(name.to_owned()),
        }
    }
    if let Some(name) = path.last().cloned() {
        found.push((path, name));
    }
}

/// Reads one file.
fn read(path: &Path, text: &str) -> File {
    let words = without_tests(&words(&code(text)));
    let mut file = File {
        path: path.to_owned(),
        children: BTreeSet::new(),
        imports: BTreeMap::new(),
        uses: vec![],
    };
    for pair in words.windows(3).filter(|three| three[0] == "mod" && three[2] == ";") {
        file.children.insert(pair[1].clone());
    }
    let mut at = 0;
    while at < words.len() {
        // `use<…>` after a type says what that captures.
        if words[at] == "use" && words.get(at + 1).is_some_and(|next| next != "<") {
            // `pub use`, `pub(crate) use`
            let exported = at > 0 && (words[at - 1] == "pub" || words[at - 1] == ")");
            let mut found = vec![];
            at += 1;
            while words.get(at).is_some_and(|word| word != ";") {
                trees(&words, &mut at, &[], &mut found);
            }
            for (path, name) in found {
                if !exported {
                    file.uses.push(path.clone());
                }
                file.imports.insert(name, path);
            }
            continue;
        }
        let begins = at == 0 || words[at - 1] != "::";
        let leads = words.get(at + 1).is_some_and(|next| next == "::");
        if begins && leads {
            let path = words[at..].chunks(2).take_while(|two| two.len() == 2 && two[1] == "::");
            let mut path: Vec<String> = path.map(|two| two[0].clone()).collect();
            path.extend(words.get(at + 2 * path.len()).cloned());
            file.uses.push(path);
        }
        at += 1;
    }
    file
}

/// The modules of a crate by their paths, from its root file on.
fn modules(sources: &BTreeMap<PathBuf, String>, root: &Path) -> BTreeMap<Module, File> {
    let mut all = BTreeMap::new();
    let mut open = vec![(Module::new(), root.to_owned())];
    while let Some((module, path)) = open.pop() {
        let Some(text) = sources.get(&path) else { continue };
        let file = read(&path, text);
        for child in &file.children {
            let folder = root.parent().unwrap().join(module.iter().collect::<PathBuf>());
            let places = [folder.join(format!("{child}.rs")), folder.join(child).join("mod.rs")];
            let place = places.into_iter().find(|place| sources.contains_key(place));
            let name: Module = module.iter().chain([child]).cloned().collect();
            open.extend(place.map(|place| (name, place)));
        }
        all.insert(module, file);
    }
    all
}

/// The module whose file defines what a path in `from` leads to; `None` for other crates.
fn target(
    all: &BTreeMap<Module, File>,
    from: &Module,
    path: &[String],
    depth: u8,
) -> Option<Module> {
    let (first, mut rest) = path.split_first()?;
    let mut module = match first.as_str() {
        "crate" => Module::new(),
        "self" => from.clone(),
        "super" => from[..from.len().checked_sub(1)?].to_vec(),
        child if all[from].children.contains(child) => {
            rest = path;
            from.clone()
        }
        name => {
            // A module that this file has imported.
            let imported = all[from].imports.get(name).filter(|to| depth > 0 && **to != path)?;
            let whole: Vec<String> = imported.iter().chain(rest).cloned().collect();
            return target(all, from, &whole, depth - 1);
        }
    };
    for name in rest {
        let child: Module = module.iter().chain([name]).cloned().collect();
        if name == "super" {
            module.pop()?;
        } else if all.contains_key(&child) {
            module = child;
        } else {
            // What is imported there leads on.
            let imported = all[&module].imports.get(name).filter(|_| depth > 0);
            let onward = imported.and_then(|path| target(all, &module, path, depth - 1));
            return onward.or(Some(module));
        }
    }
    Some(module)
}

/// Every file that a file uses.
fn edges(all: &BTreeMap<Module, File>) -> BTreeMap<&Module, BTreeSet<Module>> {
    let edges = all.iter().map(|(module, file)| {
        let used = file.uses.iter().filter_map(|path| target(all, module, path, 8));
        (module, used.filter(|used| used != module && all.contains_key(used)).collect())
    });
    edges.collect()
}

/// Each circle of a crate, as lines `a.rs uses b.rs`.
fn circles(all: &BTreeMap<Module, File>) -> BTreeSet<BTreeSet<String>> {
    let edges = edges(all);
    let reached = |from: &Module| {
        let mut seen = BTreeSet::new();
        let mut open = vec![from];
        while let Some(module) = open.pop() {
            let next = edges[module].iter().filter(|used| seen.insert((*used).clone()));
            open.extend(next.collect::<Vec<_>>());
        }
        seen
    };
    let reached: BTreeMap<&Module, BTreeSet<Module>> =
        all.keys().map(|module| (module, reached(module))).collect();
    let path = |module: &Module| all[module].path.display();
    let circle = |module: &Module| -> BTreeSet<String> {
        let both = reached[module].iter().filter(|other| reached[*other].contains(module));
        let both: BTreeSet<&Module> = both.collect();
        let inner = both.iter().flat_map(|from| {
            let used = edges[*from].iter().filter(|used| both.contains(used));
            used.map(|used| format!("{} uses {}", path(from), path(used)))
        });
        inner.collect()
    };
    all.keys().map(circle).filter(|circle| !circle.is_empty()).collect()
}

#[test]
fn no_files_use_each_other_in_a_circle() {
    let sources = tree();
    let is_root = |path: &&PathBuf| path.ends_with("src/lib.rs") || path.ends_with("src/main.rs");
    let roots: Vec<_> = sources.keys().filter(is_root).collect();
    assert!(roots.len() > 15, "{roots:?}");
    let mut found = BTreeSet::new();
    let mut files = 0;
    for root in roots {
        let all = modules(&sources, root);
        files += all.len();
        found.extend(circles(&all));
    }
    assert!(files > 150, "only {files} files are read");
    assert!(found.is_empty(), "{found:#?}");
}

/// What the test above sees, and what is no circle.
#[test]
fn circles_are_seen_and_re_exports_are_none() {
    let found = |files: &[(&str, &str)]| {
        let sources = files.iter().map(|(path, text)| (PathBuf::from(path), (*text).to_owned()));
        circles(&modules(&sources.collect(), Path::new("src/lib.rs"))).len()
    };
    let root = ("src/lib.rs", "mod a;\nmod b;\npub use a::One;\npub use b::Two;");
    let tests = "#[cfg(test)]\nmod tests {\n    use crate::b::Two;\n}\n";
    let [one, two] = ["pub struct One;\n", "pub struct Two;\n"];
    for (a, b, circles) in [
        (one.to_owned(), two.to_owned(), 0),
        (format!("use crate::b::Two;\n{one}"), two.to_owned(), 0),
        (format!("use crate::Two;\n{one}"), two.to_owned(), 0),
        (format!("use crate::b::Two;\n{one}"), format!("use super::{{a::One}};\n{two}"), 1),
        (format!("use crate::Two;\n{one}"), format!("use crate::One;\n{two}"), 1),
        (format!("fn f() {{ crate::b::g(); }}\n{one}"), format!("use crate::a;\n{two}"), 1),
        (format!("{one}{tests}"), format!("use crate::a::One;\n{two}"), 0),
        (format!("// use crate::b::Two;\n{one}"), format!("use crate::a::One;\n{two}"), 0),
    ] {
        assert_eq!(found(&[root, ("src/a.rs", &a), ("src/b.rs", &b)]), circles, "{a} {b}");
    }
    let parent = ("src/lib.rs", "mod a;\nuse a::g;\npub struct One;\nfn f() { g(); }");
    let child = ("src/a.rs", "use super::One;\npub fn g() -> One { One }");
    assert_eq!(found(&[parent, child]), 1);
    let alone = ("src/lib.rs", "mod a;\npub struct One;");
    assert_eq!(found(&[alone, child]), 0);
    let called = ("src/lib.rs", "mod a;\npub struct One;\nfn f() { a::g(); }");
    assert_eq!(found(&[called, child]), 1);
}
