//! `aimass audit`: who did what; and whether the record of it is whole.

use std::fs::File;
use std::io::{BufReader, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use aimass_auth::SignedCheckpoint;
use aimass_platform::Folders;
use bytes::Bytes;
use clap::{Args, Subcommand};
use http::{Method, Request};
use serde_json::{Value, json};

use super::client::{Client, Connection, success};
use super::{Failure, Outcome, output};

/// Between two looks of `--follow`.
const POLL: Duration = Duration::from_secs(1);

/// Show who did what, and check that the record of it is whole.
#[derive(Args)]
#[command(
    args_conflicts_with_subcommands = true,
    after_help = "Examples:
  aimass audit --tenant acme --since 1d
  aimass audit --kind token_minted --follow
  aimass audit checkpoint > monday.json         keep it somewhere else
  aimass audit verify --checkpoint monday.json  shows an end that was cut off since
  aimass audit export audit.ndjson && aimass audit verify --file audit.ndjson"
)]
pub(super) struct Audit {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    filter: Filter,
}

#[derive(Args)]
struct Filter {
    /// What concerns this tenant (a tenant's token sees its own alone)
    #[arg(long)]
    tenant: Option<String>,
    /// What this token's subject did
    #[arg(long)]
    actor: Option<String>,
    /// Only this kind of event, as `version_created`
    #[arg(long)]
    kind: Option<String>,
    /// Not before: a time as 2026-01-31T12:00:00Z, or how long ago, as 2h
    #[arg(long, value_parser = point)]
    since: Option<u64>,
    /// Not after, likewise
    #[arg(long, value_parser = point)]
    until: Option<u64>,
    /// Go on with what comes, until interrupted; with --json a document a line
    #[arg(long)]
    follow: bool,
}

#[derive(Subcommand)]
enum Command {
    /// Check the chain of the records: the node's, a data folder's, or an export's
    Verify {
        /// A data folder of this machine, with its server stopped or running; without a server's help
        #[arg(long, value_name = "FOLDER", conflicts_with = "file")]
        data: Option<PathBuf>,
        /// An export
        #[arg(long, value_name = "FILE")]
        file: Option<PathBuf>,
        /// A checkpoint that was kept: its record must be there
        #[arg(long, value_name = "FILE")]
        checkpoint: Option<PathBuf>,
        /// The key that must have signed the checkpoint: an id of the node's JWKS
        #[arg(long, value_name = "KEY ID", requires = "checkpoint")]
        kid: Option<String>,
    },
    /// Print where the records end, signed by the node
    Checkpoint,
    /// Write all records with their hashes to a file, for others to check
    #[command(after_help = "A line is {\"seq\", \"previous\", \"hash\", \"body\"}, the hashes in hex. It is sound if

  hash(n)     = BLAKE3( the 32 bytes of previous(n), then the UTF-8 bytes of body(n) )
  previous(n) = hash(n - 1), and 32 zero bytes before the first
  seq(n)      = n = the field seq in body(n)

`aimass audit verify --file FILE` checks just that. What a request carried is in the body, settings and secrets sealed.")]
    Export {
        /// The new file, a JSON document a line
        file: PathBuf,
        /// From a data folder of this machine, instead of a node
        #[arg(long, value_name = "FOLDER")]
        data: Option<PathBuf>,
    },
}

impl Audit {
    pub(super) async fn run(self, connection: Connection, json: bool) -> Outcome {
        match self.command {
            None => show(&connection.open()?, &self.filter, json).await,
            Some(Command::Checkpoint) => {
                let signed = connection.open()?.json(Method::GET, "/api/v1/audit/checkpoint", None).await?;
                output::json(&signed);
                Ok(())
            }
            Some(Command::Export { file, data }) => {
                let records = match data {
                    Some(data) => export_folder(&data, &file)?,
                    None => export(&connection.open()?, &file).await?,
                };
                if json {
                    output::json(&json!({ "records": records, "file": file }));
                } else {
                    println!("{records} records in {}", file.display());
                }
                Ok(())
            }
            Some(Command::Verify { data, file, checkpoint, kid }) => {
                let noted = checkpoint.map(|path| noted(&path, kid.as_deref())).transpose()?;
                verify(connection, data, file, noted, json).await
            }
        }
    }
}

async fn show(client: &Client, filter: &Filter, json: bool) -> Outcome {
    let mut fixed = String::new();
    let parts = [("tenant", &filter.tenant), ("actor", &filter.actor), ("kind", &filter.kind)];
    for (name, value) in parts.into_iter().filter_map(|(name, value)| Some((name, value.as_deref()?))) {
        fixed.push_str(&format!("&{name}={}", encoded(value)));
    }
    for (name, at) in [("since_ms", filter.since), ("until_ms", filter.until)] {
        if let Some(at) = at {
            fixed.push_str(&format!("&{name}={at}"));
        }
    }
    let mut all = vec![];
    let mut after = 0;
    loop {
        let page = client.json(Method::GET, &format!("/api/v1/audit?after={after}{fixed}"), None).await?;
        let items = page["items"].as_array().cloned().unwrap_or_default();
        let next = page["next"].as_str().and_then(|next| next.parse().ok());
        let last = items.last().and_then(|item| item["seq"].as_u64());
        after = next.or(last).unwrap_or(after);
        if filter.follow {
            for item in &items {
                if json { println!("{item}") } else { println!("{}", row(item).join("  ")) }
            }
        } else {
            all.extend(items);
        }
        match (next, filter.follow) {
            (Some(_), _) => {}
            (None, true) => tokio::time::sleep(POLL).await,
            (None, false) => break,
        }
    }
    if json {
        output::json(&Value::Array(all));
    } else if all.is_empty() {
        println!("there are none");
    } else {
        let headings = ["RECORD", "TIME", "ACTOR", "KIND", "TENANT", "OBJECT"];
        println!("{}", output::table(&headings, all.iter().map(row)));
    }
    Ok(())
}

fn row(item: &Value) -> Vec<String> {
    let actor = match item["actor"]["tenant"].as_str() {
        Some(tenant) => format!("{} of {tenant}", output::cell(&item["actor"]["subject"])),
        None => output::cell(&item["actor"]["subject"]),
    };
    let cell = |field: &str| output::cell(&item[field]);
    vec![cell("seq"), output::time(&item["time_ms"]), actor, cell("kind"), cell("tenant"), cell("object")]
}

async fn verify(
    connection: Connection,
    data: Option<PathBuf>,
    file: Option<PathBuf>,
    noted: Option<(u64, [u8; 32])>,
    json: bool,
) -> Outcome {
    let report = match (data, file) {
        (Some(data), _) => {
            let store = Folders::inside(&data).store;
            serde_json::to_value(aimass_store::verify_journal_against(&store, noted)?)
        }
        (None, Some(file)) => {
            let opened = File::open(&file).map_err(|e| Failure::new(format!("{}: {e}", file.display())))?;
            serde_json::to_value(aimass_store::verify_export(BufReader::new(opened), noted)?)
        }
        (None, None) => {
            let query = noted.map(|(records, head)| format!("?records={records}&head={}", hex::encode(head)));
            let path = format!("/api/v1/audit/verify{}", query.unwrap_or_default());
            Ok(connection.open()?.json(Method::GET, &path, None).await?)
        }
    };
    let report = report.map_err(|e| Failure::new(e.to_string()))?;
    if json {
        output::json(&report);
    }
    let bad = &report["first_bad"];
    if !bad.is_null() {
        let reason = output::cell(&bad["reason"]);
        return Err(Failure::new(format!("record {} is the first that is not sound: {reason}", bad["seq"])));
    }
    if !json {
        println!("{} records are sound; the last has the hash {}", report["records"], output::cell(&report["head"]));
    }
    Ok(())
}

/// The number and the hash that a checkpoint notes, if its signature is good.
fn noted(path: &Path, kid: Option<&str>) -> Outcome<(u64, [u8; 32])> {
    let wrong = |what: String| Failure::new(format!("{}: {what}", path.display()));
    let text = std::fs::read(path).map_err(|e| wrong(e.to_string()))?;
    let signed: SignedCheckpoint = serde_json::from_slice(&text).map_err(|e| wrong(format!("no checkpoint: {e}")))?;
    let said = signed.verify()?;
    if let Some(kid) = kid.filter(|kid| *kid != signed.kid) {
        return Err(wrong(format!("the key {} signed it, not {kid}", signed.kid)));
    }
    let mut head = [0; 32];
    hex::decode_to_slice(&said.head, &mut head).map_err(|_| wrong("its hash is no hex".to_owned()))?;
    Ok((said.records, head))
}

async fn export(client: &Client, file: &Path) -> Outcome<u64> {
    let mut out = create(file)?;
    let mut after = 0;
    loop {
        let request = Request::builder().method(Method::GET);
        let answer = client.send(&format!("/api/v1/audit/export?after={after}"), request, Bytes::new()).await?;
        success(answer.status(), answer.body())?;
        let Some(last) = answer.body().trim_ascii_end().rsplit(|byte| *byte == b'\n').next().filter(|l| !l.is_empty())
        else {
            break;
        };
        let last: Value = serde_json::from_slice(last).map_err(|e| Failure::new(format!("the answer: {e}")))?;
        after = last["seq"].as_u64().filter(|seq| *seq > after).ok_or_else(|| Failure::new("the answer goes back"))?;
        out.write_all(answer.body())?;
    }
    out.flush()?;
    Ok(after)
}

fn export_folder(data: &Path, file: &Path) -> Outcome<u64> {
    let mut out = create(file)?;
    let (mut last, mut failed) = (0, None);
    aimass_store::export_journal(&Folders::inside(data).store, 0, &mut |seq, line| match writeln!(out, "{line}") {
        Ok(()) => {
            last = seq;
            std::ops::ControlFlow::Continue(())
        }
        Err(error) => {
            failed = Some(error);
            std::ops::ControlFlow::Break(())
        }
    })?;
    if let Some(error) = failed {
        return Err(error.into());
    }
    out.flush()?;
    Ok(last)
}

fn create(file: &Path) -> Outcome<BufWriter<File>> {
    let made = File::options().write(true).create_new(true).open(file);
    made.map(BufWriter::new).map_err(|e| Failure::new(format!("{}: {e}", file.display())))
}

/// A time, or how long ago: milliseconds since the epoch.
pub(super) fn point(text: &str) -> Result<u64, String> {
    let at = match (humantime::parse_rfc3339_weak(text), humantime::parse_duration(text)) {
        (Ok(at), _) => at,
        (_, Ok(ago)) => SystemTime::now().checked_sub(ago).ok_or("that is too long ago")?,
        _ => return Err("it is a time as 2026-01-31T12:00:00Z, or how long ago, as 2h".to_owned()),
    };
    let since = at.duration_since(SystemTime::UNIX_EPOCH).map_err(|_| "that is before 1970")?;
    u64::try_from(since.as_millis()).map_err(|e| e.to_string())
}

/// Percent-encoded, but for what RFC 3986 reserves nothing of.
pub(super) fn encoded(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    let one = |byte: u8| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") };
    text.bytes().map(one).collect()
}
