//! Other networks in the folder: the runtime takes the first file by name.

use super::template::{LIMIT, kind, list, plugins};
use crate::config::cni::Cni;
use node::files;
use serde_json::Value;
use std::io;
use std::path::Path;

/// Names that runtimes read (libcni `ConfFiles`), hidden ones too.
const ENDINGS: [&str; 3] = ["conf", "conflist", "json"];

/// What other files in the folder mean for this network.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Others {
    /// The file that the runtime uses instead of ours, and what to do.
    pub problem: Option<String>,
    /// What may surprise nobody, and is good to know.
    pub remark: Option<String>,
}

/// Looks at the folder.
///
/// # Errors
/// It cannot be read.
pub fn look(cni: &Cni) -> io::Result<Others> {
    let mut names = vec![];
    match cni.conf_dir.read_dir() {
        Ok(entries) => {
            for entry in entries {
                let entry = entry?;
                // A link counts as what it leads to.
                let is_file = entry.path().metadata().is_ok_and(|meta| !meta.is_dir());
                names.extend(entry.file_name().into_string().ok().filter(|_| is_file));
            }
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    let (before, behind) = sorted(names, &cni.conf_name);
    Ok(found(cni, &before, &behind))
}

/// The networks that sort before ours, and those behind it.
fn sorted(mut names: Vec<String>, ours: &str) -> (Vec<String>, Vec<String>) {
    let is_network = |name: &String| {
        Path::new(name).extension().is_some_and(|end| ENDINGS.iter().any(|known| end == *known))
    };
    names.retain(|name| name != ours && is_network(name));
    names.sort();
    names.into_iter().partition(|name| name.as_str() < ours)
}

fn found(cni: &Cni, before: &[String], behind: &[String]) -> Others {
    let (folder, ours) = (cni.conf_dir.display(), &cni.conf_name);
    let mut others = Others::default();
    if let Some(first) = before.first() {
        if is_multus(&cni.conf_dir.join(first)) {
            others.remark = Some(format!(
                "the runtime uses {folder}/{first}, which is Multus: its default network should be \
                 {ours}"
            ));
        } else {
            let all = before.join(", ");
            others.problem = Some(format!(
                "the runtime uses {folder}/{first} instead: it sorts before {ours}; remove {all}, \
                 or set conf-name to a name that sorts first"
            ));
        }
    } else if !behind.is_empty() {
        let all = behind.join(", ");
        others.remark =
            Some(format!("{folder} also has {all}, which runtimes that take the first file skip"));
    }
    others
}

/// Multus has our network as one of its own.
fn is_multus(path: &Path) -> bool {
    let Some(list) = files::text(path, LIMIT).ok().and_then(|text| list(&text).ok()) else {
        return false;
    };
    let kind = plugins(&list).first().map_or_else(
        || list.get("type").and_then(Value::as_str).unwrap_or_default(),
        |plugin| kind(plugin),
    );
    kind.starts_with("multus")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cni(folder: &Path) -> Cni {
        Cni {
            template: "/t".into(),
            conf_dir: folder.to_owned(),
            conf_name: "10-ferrule.conflist".to_owned(),
            bin_dir: "/opt/cni/bin".into(),
            executables: None,
        }
    }

    #[test]
    fn the_first_by_name_is_what_the_runtime_uses() {
        let dir = tempfile::tempdir().unwrap();
        let cni = cni(&dir.path().join("net.d"));
        assert_eq!(look(&cni).unwrap(), Others::default());
        std::fs::create_dir(&cni.conf_dir).unwrap();
        let write = |name: &str, text: &str| {
            std::fs::write(cni.conf_dir.join(name), text).unwrap();
            look(&cni).unwrap()
        };
        assert_eq!(write("10-ferrule.conflist", "{}"), Others::default());
        assert_eq!(write("05-old.conflist.bak", "{}"), Others::default());
        assert_eq!(write(".10-ferrule.conflist.new", "{}"), Others::default());
        std::fs::create_dir(cni.conf_dir.join("00-x.conf")).unwrap();
        let others = write("99-loopback.conf", "{}");
        assert!(others.problem.is_none() && others.remark.unwrap().contains("99-loopback.conf"));
        let others = write("10-calico.conflist", "{}");
        let problem = others.problem.unwrap();
        assert!(problem.contains("/10-calico.conflist instead: it sorts before"), "{problem}");
        let others = write("00-multus.conf", r#"{"type": "multus", "name": "m"}"#);
        assert!(others.problem.is_none() && others.remark.unwrap().contains("is Multus"));
    }
}
