//! `aimass backup`, `restore` and `rebuild`: over the files of a data folder.

use std::path::{Path, PathBuf};

use aimass_platform::Folders;
use aimass_store::{BackupSummary, Extra, Progress};
use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::json;

use super::{Failure, Outcome, output};
use crate::config::Raw;

/// Back a data folder up to a new folder, while its server runs or not.
#[derive(Args)]
#[command(after_help = "The backup holds what was acknowledged before it began, is read back before it gets its
name, and is called FOLDER.partial until then. What tenants brought is sealed in it, and the key file is never in it:
keep a copy of that elsewhere (`serve --key-file`), and copy it again behind `aimass keys rotate` and `aimass tenants
erase`. A node that is restored without --with-keys makes a new signing key, so that every token has to be made anew, and
the operator's first.

Examples:
  aimass backup /backups/monday
  aimass backup --data /var/lib/aimass --with-keys /backups/monday
  aimass backup --base /backups/monday /backups/tuesday")]
pub(super) struct Backup {
    /// The new folder
    folder: PathBuf,
    /// The data folder [default: as for `serve`]
    #[arg(long, value_name = "FOLDER")]
    data: Option<PathBuf>,
    /// Copy the keys that sign tokens as well, sealed like all else: tokens stay valid after a restore, and whoever has
    /// the backup and the key file can make tokens
    #[arg(long)]
    with_keys: bool,
    /// An earlier backup on the same disk: bytes that it has take no room once more
    #[arg(long, value_name = "BACKUP")]
    base: Option<PathBuf>,
}

/// Make a data folder of a backup, if every file in it is what was written.
#[derive(Args)]
#[command(after_help = "Examples:
  aimass restore /backups/monday --check
  aimass restore /backups/monday --data /var/lib/aimass
  aimass serve --data /var/lib/aimass --key-file /etc/aimass/key    the key file of the node that was backed up")]
pub(super) struct Restore {
    /// The backup
    backup: PathBuf,
    /// The data folder, empty or not there [default: as for `serve`]
    #[arg(long, value_name = "FOLDER", conflicts_with = "check")]
    data: Option<PathBuf>,
    /// Only check the backup
    #[arg(long)]
    check: bool,
}

/// Build the index anew from the journal, with the server stopped.
#[derive(Args)]
#[command(after_help = "A server does this by itself where the index is missing or damaged.

Examples:
  aimass rebuild --data /var/lib/aimass")]
pub(super) struct Rebuild {
    /// The data folder [default: as for `serve`]
    #[arg(long, value_name = "FOLDER")]
    data: Option<PathBuf>,
}

impl Backup {
    pub(super) fn run(self, json: bool) -> Outcome {
        let folders = Folders::inside(&data(self.data)?);
        let keys = if self.with_keys { keys(&folders.keys)? } else { vec![] };
        let bar = bar();
        let taken =
            aimass_store::backup(&folders.store, &self.folder, &keys, self.base.as_deref(), &mut |at| show(&bar, at));
        bar.finish_and_clear();
        report("backed up to", &self.folder, &taken?, json)
    }
}

impl Restore {
    pub(super) fn run(self, json: bool) -> Outcome {
        let bar = bar();
        if self.check {
            let found = aimass_store::verify_backup(&self.backup, &mut |at| show(&bar, at));
            bar.finish_and_clear();
            return report("sound:", &self.backup, &found?, json);
        }
        let data = data(self.data)?;
        let restored = aimass_store::restore(&self.backup, &data, &mut |at| show(&bar, at));
        bar.finish_and_clear();
        report("restored to", &data, &restored?, json)
    }
}

impl Rebuild {
    pub(super) fn run(self, json: bool) -> Outcome {
        let records = aimass_store::rebuild_index(&Folders::inside(&data(self.data)?).store)?;
        if json {
            output::json(&json!({ "records": records }));
        } else {
            println!("built the index from {records} records");
        }
        Ok(())
    }
}

fn data(named: Option<PathBuf>) -> Outcome<PathBuf> {
    named
        .or_else(Raw::data_folder)
        .ok_or_else(|| Failure::new("no home folder is known: name a data folder with --data"))
}

/// What signs tokens. The key of the compiled code is not among them: without it everything is compiled once more.
fn keys(folder: &Path) -> Outcome<Vec<Extra>> {
    let named = |e: std::io::Error| Failure::new(format!("{}: {e}", folder.display()));
    let mut found = vec![];
    for entry in std::fs::read_dir(folder).map_err(named)? {
        let from = entry.map_err(named)?.path();
        let name = from.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if name == "keys.json" || name.ends_with(".pk8") {
            found.push(Extra { from, to: format!("keys/{name}") });
        }
    }
    Ok(found)
}

fn bar() -> ProgressBar {
    let bar = ProgressBar::no_length();
    if let Ok(style) = ProgressStyle::with_template("{msg} {wide_bar} {pos}/{len} files") {
        bar.set_style(style);
    }
    bar
}

fn show(bar: &ProgressBar, at: Progress) {
    bar.set_message(at.doing);
    bar.set_length(at.of);
    bar.set_position(at.done);
}

fn report(done: &str, folder: &Path, summary: &BackupSummary, json: bool) -> Outcome {
    let mut document = serde_json::to_value(summary).map_err(|e| Failure::new(e.to_string()))?;
    document["folder"] = json!(folder);
    if json {
        output::json(&document);
    } else {
        let BackupSummary { records, blobs, files, keys, .. } = summary;
        let size = output::bytes(&document["bytes"]);
        let keys = if *keys { "with" } else { "without" };
        println!(
            "{done} {}: {records} records, {blobs} blobs, {files} files, {size}, {keys} the signing keys",
            folder.display()
        );
    }
    Ok(())
}
