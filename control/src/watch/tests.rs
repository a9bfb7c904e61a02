//! Real files, real notices: what a directory tells as it changes. Waiting is for the thing itself, with a deadline.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tempfile::TempDir;
use weft_policies::Finding;

use super::{Event, FileSource, Manifest, OpenError};

const DEADLINE: Duration = Duration::from_secs(10);

/// A directory, its source, and everything that the source has told.
struct Desk {
    dir: TempDir,
    source: FileSource,
    objects: BTreeMap<String, Arc<Manifest>>,
    findings: BTreeMap<String, Vec<Finding>>,
    /// Objects that were taken away at any time.
    deleted: Vec<String>,
}

impl Desk {
    fn open(files: &[(&str, &str)]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        for (name, text) in files {
            fs::write(dir.path().join(name), text).unwrap();
        }
        let (source, first) = FileSource::open(dir.path().to_owned()).unwrap();
        let mut desk = Self {
            dir,
            source,
            objects: BTreeMap::new(),
            findings: BTreeMap::new(),
            deleted: Vec::new(),
        };
        desk.take(first);
        desk
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Writes as `cat > name` does: the file is emptied, filled and closed.
    fn cat(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).unwrap();
    }

    /// Puts a complete file in place by renaming it.
    fn rename_into(&self, name: &str, text: &str) {
        let hidden = self.path(&format!(".{name}.tmp"));
        fs::write(&hidden, text).unwrap();
        fs::rename(hidden, self.path(name)).unwrap();
    }

    fn take(&mut self, events: Vec<Event>) {
        for event in events {
            match event {
                Event::Apply(manifest) => _ = self.objects.insert(manifest.key.to_string(), manifest),
                Event::Delete(key) => {
                    self.objects.remove(&key.to_string());
                    self.deleted.push(key.to_string());
                }
                Event::Reset(all) => {
                    self.objects = all
                        .into_iter()
                        .map(|manifest| (manifest.key.to_string(), manifest))
                        .collect();
                }
                Event::File { file, findings } if findings.is_empty() => _ = self.findings.remove(&*file),
                Event::File { file, findings } => _ = self.findings.insert(file.to_string(), findings),
            }
        }
    }

    async fn until(&mut self, what: &str, reached: impl Fn(&Self) -> bool) {
        let waited = tokio::time::timeout(DEADLINE, async {
            while !reached(self) {
                let events = self.source.next().await;
                self.take(events);
            }
        });
        waited.await.unwrap_or_else(|_| panic!("never: {what}"));
    }

    /// The `spec.clusterIP` of a Service, as last told.
    fn ip(&self, name: &str) -> Option<String> {
        let manifest = self.objects.get(&format!("Service/default/{name}"))?;
        match manifest.body.as_ref()? {
            super::Body::Service(service) => service.spec.clone()?.cluster_ip,
            _ => None,
        }
    }

    fn problems(&self) -> String {
        self.findings
            .values()
            .flatten()
            .map(|finding| format!("{finding}\n"))
            .collect()
    }
}

fn service(name: &str, ip: &str) -> String {
    format!(
        "apiVersion: v1\nkind: Service\nmetadata: {{name: {name}}}\nspec: {{clusterIP: {ip}, ports: [{{port: 80}}]}}\n"
    )
}

fn two(a: &str, b: &str) -> String {
    format!("{}---\n{}", service("a", a), service("b", b))
}

fn ips(desk: &Desk) -> (Option<String>, Option<String>) {
    (desk.ip("a"), desk.ip("b"))
}

fn some(a: &str, b: &str) -> (Option<String>, Option<String>) {
    (Some(a.to_owned()), Some(b.to_owned()))
}

#[tokio::test]
async fn a_file_that_is_rewritten_in_place_counts_when_it_is_closed() {
    let mut desk = Desk::open(&[("rules.yaml", &two("10.0.0.1", "10.0.0.2"))]);
    assert_eq!(ips(&desk), some("10.0.0.1", "10.0.0.2"));
    for round in 3..13 {
        let ip = format!("10.0.0.{round}");
        desk.cat("rules.yaml", &two(&ip, "10.0.0.2"));
        desk.until("the new address", |desk| desk.ip("a").as_deref() == Some(&ip))
            .await;
    }
    assert_eq!(
        desk.deleted, [""; 0],
        "emptying a file on the way to its next content removes nothing"
    );
}

#[tokio::test]
async fn a_file_that_is_replaced_by_a_rename_counts_at_once() {
    let mut desk = Desk::open(&[("rules.yaml", &two("10.0.0.1", "10.0.0.2"))]);
    desk.rename_into("rules.yaml", &two("10.0.0.8", "10.0.0.9"));
    desk.until("both new addresses", |desk| ips(desk) == some("10.0.0.8", "10.0.0.9"))
        .await;
    // As editors do it: the old file is moved away, a new one is written.
    fs::rename(desk.path("rules.yaml"), desk.path("rules.yaml~")).unwrap();
    desk.cat("rules.yaml", &two("10.0.0.6", "10.0.0.7"));
    desk.until("the edited addresses", |desk| ips(desk) == some("10.0.0.6", "10.0.0.7"))
        .await;
    assert_eq!(desk.deleted, [""; 0]);
}

#[tokio::test]
async fn an_unfinished_write_is_not_read() {
    let mut desk = Desk::open(&[("a.yaml", &service("a", "10.0.0.1"))]);
    let mut file = fs::File::create(desk.path("a.yaml")).unwrap();
    file.write_all(b"apiVersion: v1\nkind: Service\nmetadata: {name: a}\nspec: {clusterIP: 10.0.0.1")
        .unwrap();
    // Another file is complete: its notice is no reason to read the first one.
    desk.cat("b.yaml", &service("b", "10.0.0.2"));
    desk.until("b", |desk| desk.ip("b").is_some()).await;
    assert_eq!(desk.ip("a").as_deref(), Some("10.0.0.1"));
    assert_eq!(desk.problems(), "");
    file.write_all(b"1, ports: [{port: 80}]}\n").unwrap();
    drop(file);
    desk.until("the whole address", |desk| desk.ip("a").as_deref() == Some("10.0.0.11"))
        .await;
}

#[tokio::test]
async fn a_file_that_stays_empty_is_believed_and_one_that_fills_again_loses_nothing() {
    let mut desk = Desk::open(&[("rules.yaml", &two("10.0.0.1", "10.0.0.2"))]);
    desk.cat("rules.yaml", "");
    desk.cat("other.yaml", &service("c", "10.0.0.3"));
    desk.until("the other file", |desk| desk.ip("c").is_some()).await;
    // A generator that takes its time: other files come and go meanwhile, and a second notice proves nothing.
    desk.cat("rules.yaml", "");
    fs::remove_file(desk.path("other.yaml")).unwrap();
    desk.until("the other file gone", |desk| desk.ip("c").is_none()).await;
    assert_eq!(desk.deleted, ["Service/default/c"]);
    desk.deleted.clear();
    desk.cat("rules.yaml", &two("10.0.0.4", "10.0.0.2"));
    desk.until("the new content", |desk| desk.ip("a").as_deref() == Some("10.0.0.4"))
        .await;
    assert_eq!(desk.deleted, [""; 0]);
    desk.cat("rules.yaml", "");
    desk.until("both gone", |desk| ips(desk) == (None, None)).await;
}

#[tokio::test]
async fn a_broken_document_keeps_its_object_and_costs_no_other() {
    let mut desk = Desk::open(&[("rules.yaml", &two("10.0.0.1", "10.0.0.2"))]);
    let broken = service("a", "10.0.0.5").replace("spec: {", "spec: {{{");
    desk.cat("rules.yaml", &format!("{broken}---\n{}", service("b", "10.0.0.9")));
    desk.until("the good neighbour", |desk| desk.ip("b").as_deref() == Some("10.0.0.9"))
        .await;
    assert_eq!(
        desk.ip("a").as_deref(),
        Some("10.0.0.1"),
        "the broken one keeps its last good value"
    );
    assert!(desk.problems().contains("rules.yaml:"), "{}", desk.problems());
    desk.cat("rules.yaml", &two("10.0.0.7", "10.0.0.9"));
    desk.until("the mended one", |desk| desk.ip("a").as_deref() == Some("10.0.0.7"))
        .await;
    assert_eq!(desk.problems(), "");
    assert_eq!(desk.deleted, [""; 0]);
}

#[tokio::test]
async fn a_file_that_is_being_written_at_the_start_is_read_again_before_it_counts() {
    for unfinished in ["", "apiVersion: v1\nkind: Service\nmetadata: {name: a"] {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("rules.yaml");
        fs::write(&path, unfinished).unwrap();
        let (mut source, first) = FileSource::open(dir.path().to_owned()).unwrap();
        fs::write(&path, two("10.0.0.1", "10.0.0.2")).unwrap();
        let first = source.confirm(first).await;
        let mut desk = Desk {
            dir,
            source,
            objects: Default::default(),
            deleted: Vec::new(),
            findings: Default::default(),
        };
        desk.take(first);
        assert_eq!(ips(&desk), some("10.0.0.1", "10.0.0.2"), "{unfinished:?}");
        assert_eq!(desk.problems(), "");
    }
}

#[tokio::test]
async fn an_object_whose_kind_is_misspelt_or_unstated_keeps_its_last_good_value() {
    let rule = "apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {name: v, namespace: n1}\n\
                spec: {hosts: [v.test], http: [{directResponse: {status: 200}}]}\n";
    for (from, to) in [
        ("VirtualService", "VirtualServcie"),
        ("apiVersion: networking.istio.io/v1\n", ""),
    ] {
        let mut desk = Desk::open(&[("v.yaml", rule)]);
        desk.cat("v.yaml", &rule.replace(from, to));
        desk.until("the finding", |desk| desk.problems().contains("error"))
            .await;
        desk.cat("a.yaml", &service("a", "10.0.0.1"));
        desk.until("another change", |desk| desk.ip("a").is_some()).await;
        // What is taken away later than the rule was changed is believed later.
        fs::remove_file(desk.path("a.yaml")).unwrap();
        desk.until("what is gone for good", |desk| desk.ip("a").is_none()).await;
        assert!(desk.objects.contains_key("VirtualService/n1/v"), "{to}");
        assert_eq!(desk.deleted, ["Service/default/a"], "{to}");
    }
}

#[tokio::test]
async fn an_object_that_does_not_decode_is_refused_by_name() {
    let mut desk = Desk::open(&[("a.yaml", &service("a", "10.0.0.1"))]);
    desk.cat("a.yaml", &service("a", "10.0.0.1").replace("port: 80", "port: eighty"));
    let refused = |desk: &Desk| {
        desk.objects
            .get("Service/default/a")
            .is_some_and(|manifest| manifest.body.is_none())
    };
    desk.until("the refusal", refused).await;
    let finding = desk.objects["Service/default/a"].findings[0].to_string();
    assert!(
        finding.contains("Service") && finding.contains("a.yaml:1") && finding.contains("eighty"),
        "{finding}"
    );
}

#[tokio::test]
async fn objects_go_when_their_document_or_file_does() {
    let mut desk = Desk::open(&[
        ("rules.yaml", &two("10.0.0.1", "10.0.0.2")),
        ("c.yml", &service("c", "10.0.0.3")),
    ]);
    desk.cat("rules.yaml", &service("b", "10.0.0.2"));
    desk.until("a gone", |desk| ips(desk) == (None, Some("10.0.0.2".to_owned())))
        .await;
    fs::remove_file(desk.path("c.yml")).unwrap();
    desk.until("c gone", |desk| desk.ip("c").is_none()).await;
    assert_eq!(desk.deleted, ["Service/default/a", "Service/default/c"]);
}

#[tokio::test]
async fn an_object_in_two_files_is_an_error_that_names_both_and_the_first_path_wins() {
    let mut desk = Desk::open(&[
        ("m.yaml", &service("a", "10.0.0.1")),
        ("z.yaml", &service("a", "10.0.0.9")),
    ]);
    assert_eq!(desk.ip("a").as_deref(), Some("10.0.0.1"));
    let problems = desk.problems();
    assert!(
        problems.contains("m.yaml:1") && problems.contains("z.yaml:1"),
        "{problems}"
    );
    // A third one that comes first in order takes over; when it goes, the second is in force again.
    desk.cat("b.yaml", &service("a", "10.0.0.5"));
    desk.until("the first path", |desk| desk.ip("a").as_deref() == Some("10.0.0.5"))
        .await;
    fs::remove_file(desk.path("b.yaml")).unwrap();
    desk.until("the second path", |desk| desk.ip("a").as_deref() == Some("10.0.0.1"))
        .await;
    fs::remove_file(desk.path("z.yaml")).unwrap();
    desk.until("no complaint", |desk| desk.findings.is_empty()).await;
    assert_eq!(desk.deleted, [""; 0]);
}

#[tokio::test]
async fn a_file_that_gets_another_name_is_no_duplicate_and_loses_nothing() {
    let mut desk = Desk::open(&[("m.yaml", &service("a", "10.0.0.1"))]);
    fs::rename(desk.path("m.yaml"), desk.path("z.yaml")).unwrap();
    let moved = |desk: &Desk| desk.objects["Service/default/a"].origin.file.ends_with("z.yaml");
    desk.until("the new place", moved).await;
    assert_eq!(desk.problems(), "");
    desk.cat("c.yaml", &service("c", "10.0.0.3"));
    desk.until("the next change", |desk| desk.ip("c").is_some()).await;
    assert_eq!(desk.deleted, [""; 0]);
}

#[tokio::test]
async fn a_mounted_config_map_is_followed_through_its_links() {
    let dir = tempfile::tempdir().unwrap();
    let version = |name: &str, ip: &str| {
        fs::create_dir(dir.path().join(name)).unwrap();
        fs::write(dir.path().join(name).join("rules.yaml"), service("a", ip)).unwrap();
    };
    let link = |to: &str, at: &str| std::os::unix::fs::symlink(to, dir.path().join(at)).unwrap();
    version("..1", "10.0.0.1");
    link("..1", "..data");
    link("..data/rules.yaml", "rules.yaml");
    let (source, first) = FileSource::open(dir.path().to_owned()).unwrap();
    let mut desk = Desk {
        dir,
        source,
        objects: BTreeMap::new(),
        findings: BTreeMap::new(),
        deleted: Vec::new(),
    };
    desk.take(first);
    assert_eq!(desk.ip("a").as_deref(), Some("10.0.0.1"));
    assert_eq!(desk.objects.len(), 1);
    fs::create_dir(desk.path("..2")).unwrap();
    fs::write(desk.path("..2/rules.yaml"), service("a", "10.0.0.2")).unwrap();
    std::os::unix::fs::symlink("..2", desk.path("..data_tmp")).unwrap();
    fs::rename(desk.path("..data_tmp"), desk.path("..data")).unwrap();
    fs::remove_dir_all(desk.path("..1")).unwrap();
    desk.until("the swapped content", |desk| {
        desk.ip("a").as_deref() == Some("10.0.0.2")
    })
    .await;
    assert_eq!(desk.deleted, [""; 0]);
}

#[tokio::test]
async fn a_change_that_no_notice_tells_of_is_found_by_the_survey() {
    // A link to a file elsewhere: the kernel tells about the file's own folder only.
    let elsewhere = tempfile::tempdir().unwrap();
    let target = elsewhere.path().join("target");
    fs::write(&target, service("a", "10.0.0.1")).unwrap();
    let mut desk = Desk::open(&[]);
    std::os::unix::fs::symlink(&target, desk.path("a.yaml")).unwrap();
    desk.until("the linked file", |desk| desk.ip("a").is_some()).await;
    fs::write(&target, service("a", "10.0.0.22")).unwrap();
    desk.until("its new content", |desk| desk.ip("a").as_deref() == Some("10.0.0.22"))
        .await;
}

#[tokio::test]
async fn folders_that_come_later_are_read_and_hidden_things_are_not() {
    let mut desk = Desk::open(&[
        (".hidden.yaml", &service("h", "10.0.0.1")),
        ("notes.txt", &service("t", "10.0.0.1")),
    ]);
    assert_eq!(desk.objects.len(), 0);
    fs::create_dir_all(desk.path("more/deep")).unwrap();
    fs::create_dir(desk.path(".git")).unwrap();
    desk.cat(".git/x.yaml", &service("g", "10.0.0.1"));
    desk.cat("more/deep/a.yaml", &service("a", "10.0.0.1"));
    desk.until("the deep file", |desk| desk.ip("a").is_some()).await;
    assert_eq!(desk.objects.len(), 1);
}

#[tokio::test]
async fn unknown_kinds_get_one_note_and_harm_nothing() {
    let deployment = "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: x}\n---\n";
    let text = format!("{deployment}{deployment}{}", service("a", "10.0.0.1"));
    let desk = Desk::open(&[("a.yaml", &text)]);
    assert_eq!(desk.ip("a").as_deref(), Some("10.0.0.1"));
    let notes: Vec<_> = desk.findings.values().flatten().collect();
    assert_eq!(notes.len(), 1, "{notes:?}");
    assert!(
        !notes[0].is_error() && notes[0].to_string().contains("Deployment"),
        "{}",
        notes[0]
    );
}

#[test]
fn a_directory_that_is_none_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let missing = dir.path().join("nowhere");
    let Err(error) = FileSource::open(missing.clone()) else {
        panic!("opened nothing")
    };
    assert!(
        matches!(&error, OpenError::Missing(path) if *path == missing),
        "{error}"
    );
    assert!(error.to_string().contains("nowhere"), "{error}");
    let file = dir.path().join("file");
    fs::write(&file, "").unwrap();
    assert!(matches!(FileSource::open(file), Err(OpenError::NoDirectory(_))));
}
