//! Many files out of a wheel: unpacked, and checked against the list of hashes that every wheel carries.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest, Sha256};
use zip::ZipArchive;

use super::LARGEST;

/// Unpacks those members for which `place` names a path inside `folder`. Each is checked against the wheel's `RECORD`
/// (PyPA's specification of wheels). Returns how many there were.
///
/// # Errors
/// No wheel, a member that `RECORD` does not have or that is not what it says, a path that leads out of the folder.
pub(super) fn unpack(wheel: &Path, folder: &Path, place: impl Fn(&str) -> Option<PathBuf>) -> Result<usize, String> {
    let file = File::open(wheel).map_err(|e| e.to_string())?;
    let mut archive = ZipArchive::new(file).map_err(|e| format!("the wheel is no archive: {e}"))?;
    let names = archive.file_names().map(|name| name.map(Cow::into_owned)).collect::<Result<Vec<String>, _>>();
    let names = names.map_err(|e| format!("the wheel's list of files: {e}"))?;
    let record = names.iter().find(|name| name.ends_with(".dist-info/RECORD") && name.matches('/').count() == 1);
    let record = read(&mut archive, record.ok_or("the wheel has no RECORD")?)?;
    let record = hashes(&String::from_utf8_lossy(&record));

    let mut count = 0;
    for name in names.iter().filter(|name| !name.ends_with('/')) {
        let Some(path) = place(name) else { continue };
        if !path.components().all(|part| matches!(part, std::path::Component::Normal(_))) {
            return Err(format!("{name} would leave the folder"));
        }
        let bytes = read(&mut archive, name)?;
        let found = URL_SAFE_NO_PAD.encode(Sha256::digest(&bytes));
        if record.get(name) != Some(&found) {
            return Err(format!("{name} is not the file that the wheel's RECORD lists"));
        }
        let path = folder.join(path);
        let parent = path.parent().unwrap_or(folder);
        fs::create_dir_all(parent).and_then(|()| fs::write(&path, bytes)).map_err(|e| format!("{name}: {e}"))?;
        count += 1;
    }
    Ok(count)
}

/// SHA-256 of a folder: of the sorted lines "hash, two spaces, path", as `sha256sum` prints them.
pub(super) fn tree(folder: &Path) -> std::io::Result<String> {
    let (mut lines, mut folders) = (Vec::new(), vec![folder.to_owned()]);
    while let Some(next) = folders.pop() {
        for entry in fs::read_dir(&next)? {
            let path = entry?.path();
            if path.is_dir() {
                folders.push(path);
            } else {
                let inside = path.strip_prefix(folder).unwrap_or(&path).to_string_lossy().into_owned();
                lines.push((inside, hex::encode(Sha256::digest(fs::read(&path)?))));
            }
        }
    }
    lines.sort();
    let mut hash = Sha256::new();
    for (path, file) in lines {
        hash.update(format!("{file}  {path}\n"));
    }
    Ok(hex::encode(hash.finalize()))
}

fn read(archive: &mut ZipArchive<File>, name: &str) -> Result<Vec<u8>, String> {
    let entry = archive.by_name(name).map_err(|e| format!("{name}: {e}"))?;
    let mut bytes = Vec::new();
    entry.take(LARGEST).read_to_end(&mut bytes).map_err(|e| format!("{name}: {e}"))?;
    Ok(bytes)
}

/// `RECORD`'s lines: path, `sha256=` and the hash in URL-safe base64 without padding, size.
fn hashes(record: &str) -> BTreeMap<String, String> {
    let line = |line: &str| {
        let mut fields = line.rsplitn(3, ',');
        let (_size, hash, path) = (fields.next()?, fields.next()?, fields.next()?);
        Some((path.trim_matches('"').to_owned(), hash.strip_prefix("sha256=")?.to_owned()))
    };
    record.lines().filter_map(line).collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use std::io::Write;
    use zip::write::SimpleFileOptions;

    fn wheel(folder: &Path, members: &[(&str, &str)]) -> PathBuf {
        let path = folder.join("a.whl");
        let mut archive = zip::ZipWriter::new(File::create(&path).unwrap());
        let mut put = |name: &str, text: &str| {
            archive.start_file(name, SimpleFileOptions::default()).unwrap();
            archive.write_all(text.as_bytes()).unwrap();
        };
        members.iter().for_each(|(name, text)| put(name, text));
        let hash = URL_SAFE_NO_PAD.encode(Sha256::digest(b"right"));
        let line = |(name, _): &(&str, &str)| format!("{name},sha256={hash},5\n");
        put("a-1.dist-info/RECORD", &members.iter().map(line).collect::<String>());
        archive.finish().unwrap();
        path
    }

    #[test]
    fn members_are_unpacked_when_they_are_what_record_lists() {
        let dir = tempfile::tempdir().unwrap();
        let from = |name: &str| name.strip_prefix("a/").map(PathBuf::from);
        let good = wheel(dir.path(), &[("a/b/c", "right"), ("d", "right")]);
        let out = dir.path().join("out");
        assert_eq!(unpack(&good, &out, from).unwrap(), 1);
        assert_eq!(fs::read_to_string(out.join("b/c")).unwrap(), "right");
        // What `cd out; sha256sum b/c | sha256sum` prints.
        let line = format!("{}  b/c\n", hex::encode(Sha256::digest(b"right")));
        assert_eq!(tree(&out).unwrap(), hex::encode(Sha256::digest(line)));

        let bad = wheel(dir.path(), &[("a/b", "wrong")]);
        assert!(unpack(&bad, &out, from).unwrap_err().contains("RECORD"));
        let climbing = wheel(dir.path(), &[("a/../../b", "right")]);
        assert!(unpack(&climbing, &out, from).unwrap_err().contains("leave"));
    }
}
