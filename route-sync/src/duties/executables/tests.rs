use super::*;
use std::path::PathBuf;
use tempfile::TempDir;

/// Two folders of programs that print versions.
struct Scene {
    dir: TempDir,
    cni: Cni,
    known: Executables,
}

fn scene() -> Scene {
    let dir = tempfile::tempdir().unwrap();
    let (from, to) = (dir.path().join("cni"), dir.path().join("bin"));
    [&from, &to].iter().for_each(|folder| fs::create_dir(folder).unwrap());
    let cni = Cni {
        template: "/t".into(),
        conf_dir: "/c".into(),
        conf_name: "10-ferrule.conflist".to_owned(),
        bin_dir: to,
        executables: Some(from),
    };
    Scene { dir, cni, known: Executables::default() }
}

fn ours(version: &str) -> String {
    format!("#!/bin/sh\necho 'Ferrule bridge v{version}: x' >&2\n")
}

fn program(path: &Path, text: &str) {
    fs::write(path, text).unwrap();
    fs::set_permissions(path, Permissions::from_mode(MODE)).unwrap();
}

impl Scene {
    fn offer(&self, text: &str) {
        program(&self.dir.path().join("cni/bridge"), text);
    }

    fn there(&self) -> PathBuf {
        self.cni.bin_dir.join("bridge")
    }

    /// Looks until nothing is busy: a child of another test may hold a program for writing.
    fn install(&mut self) -> Installed {
        loop {
            let installed = self.known.install(&self.cni);
            if !installed.problems.iter().any(|problem| problem.contains("busy")) {
                return installed;
            }
        }
    }

    fn text(&self) -> String {
        fs::read_to_string(self.there()).unwrap()
    }
}

#[test]
fn newer_goes_over_older_and_never_older_over_newer() {
    let mut scene = scene();
    scene.offer(&ours("0.2.0"));
    assert_eq!(scene.install(), Installed::default());
    assert_eq!(scene.text(), ours("0.2.0"));
    let ino = fs::metadata(scene.there()).unwrap().ino();
    assert_eq!(scene.install(), Installed::default());
    scene.known = Executables::default();
    assert_eq!(scene.install(), Installed::default());
    assert_eq!(fs::metadata(scene.there()).unwrap().ino(), ino, "equal ones stay");
    scene.offer(&ours("0.10.0"));
    scene.install();
    assert_eq!(scene.text(), ours("0.10.0"));
    scene.offer(&ours("0.3.0"));
    let newer = scene.install();
    assert_eq!((scene.text(), newer.problems.len()), (ours("0.10.0"), 0));
    assert!(newer.remarks[0].ends_with("is v0.10.0, newer than this release's v0.3.0: it stays"));
    assert_eq!(scene.install(), newer);
    let names: Vec<_> = scene.cni.bin_dir.read_dir().unwrap().flatten().collect();
    assert_eq!(names.len(), 3, "the executable, the list, the lock: {names:?}");
}

#[test]
fn another_programs_is_kept_and_comes_back() {
    let mut scene = scene();
    let reference = "#!/bin/sh\necho 'CNI bridge plugin v9.9.9' >&2\n";
    program(&scene.there(), reference);
    scene.offer(&ours("0.1.0"));
    scene.install();
    let saved = scene.cni.bin_dir.join(".ferrule-saved/bridge");
    assert_eq!(
        (scene.text(), fs::read_to_string(&saved).unwrap()),
        (ours("0.1.0"), reference.into())
    );
    // Another program puts its own there again, and a newer one.
    program(&scene.there(), reference);
    scene.install();
    let newer = reference.replace("9.9.9", "9.9.10");
    program(&scene.there(), &newer);
    scene.install();
    assert_eq!(scene.text(), ours("0.1.0"));
    let older = scene.cni.bin_dir.join(".ferrule-saved/bridge.~1~");
    assert_eq!(fs::read_to_string(older).unwrap(), reference);
    let removed = uninstall(&scene.cni).unwrap();
    assert!(removed.removed[0].ends_with("the one from before is back"), "{removed:?}");
    assert_eq!(scene.text(), newer);
    assert_eq!(uninstall(&scene.cni).unwrap(), Removed::default());
}

#[test]
fn uninstall_removes_what_is_as_it_was_installed() {
    let mut scene = scene();
    scene.offer(&ours("0.1.0"));
    let more = scene.dir.path().join("cni/vxlan");
    program(&more, &ours("0.1.0"));
    scene.install();
    program(&scene.cni.bin_dir.join("vxlan"), "changed since");
    program(&scene.cni.bin_dir.join("calico"), "another's");
    let removed = uninstall(&scene.cni).unwrap();
    assert_eq!((removed.removed.len(), removed.stays.len()), (1, 1));
    assert!(removed.stays[0].ends_with("vxlan is not as it was installed: it stays"));
    let mut left: Vec<_> =
        scene.cni.bin_dir.read_dir().unwrap().map(|it| it.unwrap().file_name()).collect();
    left.sort();
    assert_eq!(left, ["calico", "vxlan"]);
}

#[test]
fn what_cannot_be_installed_is_named_and_tried_again() {
    let mut scene = scene();
    scene.offer(&ours("0.1.0"));
    fs::create_dir(scene.there()).unwrap();
    let failed = scene.install();
    assert!(failed.problems[0].contains("bin/bridge: "), "{failed:?}");
    assert!(failed.problems[0].contains("move the folder away"), "{failed:?}");
    fs::remove_dir(scene.there()).unwrap();
    assert_eq!(scene.install(), Installed::default());
    scene.cni.executables = Some("/nonexistent".into());
    let failed = scene.install();
    assert!(failed.problems[0].starts_with("cannot read /nonexistent: "), "{failed:?}");
}

#[test]
fn another_installation_is_waited_for() {
    let mut scene = scene();
    scene.offer(&ours("0.1.0"));
    let held = Manifest::take(&scene.cni.bin_dir).unwrap().unwrap();
    let waits = scene.install();
    assert!(waits.problems[0].contains("another program installs into it"), "{waits:?}");
    assert!(waits.missing.contains("bridge"));
    assert!(uninstall(&scene.cni).is_ok(), "there is no list yet");
    drop(held);
    assert_eq!(scene.install(), Installed::default());
}

#[test]
fn a_symbolic_link_is_kept_as_it_is() {
    let mut scene = scene();
    scene.offer(&ours("0.1.0"));
    std::os::unix::fs::symlink("/nonexistent/bridge", scene.there()).unwrap();
    scene.install();
    assert_eq!(scene.text(), ours("0.1.0"));
    uninstall(&scene.cni).unwrap();
    assert_eq!(fs::read_link(scene.there()).unwrap(), PathBuf::from("/nonexistent/bridge"));
}
