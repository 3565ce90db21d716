//! The source `file`: TOML with a `[[node]]` for each node.

use super::nodes::NodeSet;
use super::reading::Reading;
use daemon::background;
use daemon::config::line;
use daemon::watch::Watch;
use node::files;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::sync::mpsc::Sender;

/// More than any cluster needs, in bytes.
const LIMIT: u64 = 64 << 20;
/// Between two readings of a file that cannot be watched.
const UNWATCHED: Duration = Duration::from_secs(10);

/// Sends what the file holds until the receiver is dropped.
pub(super) async fn run(path: PathBuf, readings: Sender<Reading>) {
    tokio::select! {
        () = follow(&path, &readings) => {}
        () = readings.closed() => {}
    }
}

async fn follow(path: &Path, readings: &Sender<Reading>) {
    let mut last = None;
    let mut watch = Watch::new(path);
    loop {
        if let Some((now, reading)) = look(path, last.clone()).await {
            last = Some(now);
            if readings.send(reading).await.is_err() {
                return;
            }
        }
        watch = wait(path, watch).await;
    }
}

/// What was read last: a text, by its hash, since the set of thousands of nodes would be held twice;
/// or why it was no set.
type Last = Result<u64, String>;

/// Reads the file in the background, since 10 MB of nodes take a second to parse; `None` where it
/// holds what was read last.
async fn look(path: &Path, last: Option<Last>) -> Option<(Last, Reading)> {
    let file = path.to_owned();
    let before = last.clone();
    let read = background::run(move || read(&file, before.as_ref())).await;
    let failed = |error| Err(format!("{}: {error}", path.display()));
    match read.unwrap_or_else(failed) {
        Ok(read) => read.map(|(hash, set)| (Ok(hash), Reading::Set(set))),
        Err(why) if last == Some(Err(why.clone())) => None,
        Err(why) => Some((Err(why.clone()), Reading::Failed(why))),
    }
}

/// Waits for a change; the file is watched when it returns.
async fn wait(path: &Path, watch: std::io::Result<Watch>) -> std::io::Result<Watch> {
    let changed = match watch {
        Ok(mut watch) => watch.changed().await.map(|()| watch),
        Err(error) => Err(error),
    };
    let Err(error) = changed else { return changed };
    let pause = UNWATCHED.as_secs();
    tracing::warn!("cannot watch {}: {error}; looking again in {pause} s", path.display());
    tokio::time::sleep(UNWATCHED).await;
    Watch::new(path)
}

fn read(path: &Path, last: Option<&Last>) -> Result<Option<(u64, NodeSet)>, String> {
    let failed = |error: std::io::Error| format!("{}: {error}", path.display());
    let text = files::text(path, LIMIT).map_err(failed)?;
    let mut hasher = DefaultHasher::new();
    text.hash(&mut hasher);
    let hash = hasher.finish();
    if last == Some(&Ok(hash)) {
        return Ok(None);
    }
    let set = parse(&text).map_err(|why| format!("{}: {why}", path.display()))?;
    Ok(Some((hash, set)))
}

fn parse(text: &str) -> Result<NodeSet, String> {
    let set = piecewise(text).map_or_else(|| whole(text), Ok)?;
    if set.nodes.is_empty() {
        // A file whose writer has just begun looks so. Without nodes every route would be removed.
        return Err("there is no [[node]]; write one for each node, this one among them".into());
    }
    Ok(set)
}

/// As [`whole`], node by node: the tree of the whole file takes 16 MB at 5,000 nodes. `None` where
/// the file is not in that form or has an error.
fn piecewise(text: &str) -> Option<NodeSet> {
    const HEAD: &str = "[[node]]";
    let heads = text.match_indices(HEAD).map(|(at, _)| at);
    let heads = heads.filter(|at| text.get(..*at).is_some_and(|before| before.ends_with('\n')));
    let mut nodes = Vec::new();
    let mut from = 0;
    for to in heads.chain([text.len()]) {
        let piece = text.get(from..to)?;
        let mut set: NodeSet = toml::from_str(piece).ok()?;
        if !piece.starts_with(HEAD) && !set.nodes.is_empty() {
            return None;
        }
        nodes.append(&mut set.nodes);
        from = to;
    }
    nodes.shrink_to_fit();
    Some(NodeSet { nodes, ..NodeSet::default() })
}

fn whole(text: &str) -> Result<NodeSet, String> {
    toml::from_str(text).map_err(|error: toml::de::Error| {
        let message = error.message().replace('\n', ", ");
        let span = error.span().unwrap_or(text.len()..text.len());
        let value = text.get(span.clone()).unwrap_or_default();
        let at = line(text, span.start);
        match (1..=80).contains(&value.len()) && !value.contains('\n') {
            true => format!("line {at}: {message} at {value}"),
            false => format!("line {at}: {message}"),
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::nodes::Node;
    use proptest::prelude::*;
    use std::fs;
    use std::os::unix::fs::symlink;
    use tokio::sync::mpsc::{self, Receiver};

    fn text(name: &str) -> String {
        format!("[[node]]\nname = \"{name}\"\naddresses = [\"192.0.2.1\"]\n")
    }

    fn set(name: &str) -> NodeSet {
        let addresses = vec!["192.0.2.1".parse().unwrap()];
        let nodes = vec![Node { name: name.to_owned(), addresses, pod_cidrs: vec![] }];
        NodeSet { nodes, ..NodeSet::default() }
    }

    fn start(dir: &Path) -> Receiver<Reading> {
        let (sender, receiver) = mpsc::channel(1);
        tokio::spawn(run(dir.join("nodes.toml"), sender));
        receiver
    }

    async fn next(updates: &mut Receiver<Reading>) -> Reading {
        let next = tokio::time::timeout(Duration::from_secs(20), updates.recv()).await;
        next.expect("nothing was sent").unwrap()
    }

    async fn failed(updates: &mut Receiver<Reading>) -> String {
        match next(updates).await {
            Reading::Failed(why) => why,
            set @ Reading::Set(_) => panic!("{set:?}"),
        }
    }

    fn fresh(name: &str) -> Reading {
        Reading::Set(set(name))
    }

    #[tokio::test]
    async fn a_file_comes_breaks_goes_and_comes_back() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("nodes.toml");
        let mut updates = start(dir.path());
        assert!(failed(&mut updates).await.contains("No such file"));
        fs::write(&file, text("one")).unwrap();
        assert_eq!(next(&mut updates).await, fresh("one"));
        fs::write(&file, text("one") + "pod-cidrs = [\"10.0.0.0/33\"]\n").unwrap();
        let why = failed(&mut updates).await;
        assert!(why.contains("nodes.toml: line 4: ") && why.contains("10.0.0.0/33"), "{why}");
        fs::write(&file, text("one")).unwrap();
        assert_eq!(next(&mut updates).await, fresh("one"));
        fs::write(&file, "").unwrap();
        assert!(failed(&mut updates).await.contains("no [[node]]"));
        fs::remove_file(&file).unwrap();
        assert!(failed(&mut updates).await.contains("No such file"));
        fs::write(dir.path().join("new"), text("two")).unwrap();
        fs::rename(dir.path().join("new"), &file).unwrap();
        assert_eq!(next(&mut updates).await, fresh("two"));
    }

    #[tokio::test]
    async fn a_config_map_is_followed_through_100_swaps() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        let put = |stamp: usize| {
            let stamp = format!("..{stamp}");
            fs::create_dir(at(&stamp)).unwrap();
            fs::write(at(&stamp).join("nodes.toml"), text(&stamp)).unwrap();
            symlink(&stamp, at("..data_tmp")).unwrap();
            fs::rename(at("..data_tmp"), at("..data")).unwrap();
        };
        put(0);
        symlink("..data/nodes.toml", at("nodes.toml")).unwrap();
        let mut updates = start(dir.path());
        assert_eq!(next(&mut updates).await, fresh("..0"));
        for stamp in 1..=100 {
            put(stamp);
            fs::remove_dir_all(at(&format!("..{}", stamp - 1))).unwrap();
            assert_eq!(next(&mut updates).await, fresh(&format!("..{stamp}")));
        }
    }

    #[test]
    fn the_one_in_conf_is_a_node_set() {
        let text = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../conf/nodes.toml"));
        assert_eq!(parse(&text.unwrap()).unwrap().nodes.len(), 2);
    }

    /// Every form of a node set, and much that is none.
    const PIECES: &str = "(\\[\\[node\\]\\]\n|\\[\\[ node \\]\\]\n|\\[node\\]\n|\\[other\\]\n|node = \\[\\{name = 'x'\\}\\]\n|name = 'a'\n|name = \"\"\"\n|\"\"\"\n|addresses = \\[\n?'192.0.2.1'\\]\n|pod-cidrs = \\['10.0.0.0/24'\\]\n|#|\n| |\r\n){0,12}";

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]
        #[test]
        fn piecewise_is_as_whole(text in PIECES) {
            if let Some(set) = piecewise(&text) {
                prop_assert_eq!(Ok(set), whole(&text));
            }
        }

        #[test]
        fn the_usual_form_is_parsed_piecewise(names in prop::collection::vec("[a-z]{1,5}", 1..5)) {
            let text: String = names.iter().map(|name| text(name)).collect();
            prop_assert_eq!(piecewise(&text), whole(&text).ok());
        }

        #[test]
        fn no_text_panics(text in "(\\[\\[node\\]\\]|name = |addresses = |pod-cidrs = |[\"\\[\\],=\n./0-9a-fé]){0,40}") {
            let _ = parse(&text);
        }
    }
}
