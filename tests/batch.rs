//! Batch inference over files: what it computes, what it costs, and what is left of it when the node is killed.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::{Client, Server, aimass_with, eventually, guests, onnx, python};

/// A job's end; fails if that does not come in time.
fn ended(client: &Client, job: &Value) -> Value {
    let path = format!("/api/v1/jobs/{}", job["id"].as_str().unwrap());
    let mut last = Value::Null;
    eventually("the job ends", Duration::from_secs(600), || {
        last = client.get(&path).expect(200).json();
        !matches!(last["state"].as_str(), Some("queued" | "running"))
    });
    last
}

/// Runs a job to its end.
fn run(client: &Client, wish: &Value) -> Value {
    ended(client, &client.post("/api/v1/jobs", wish).expect(202).json())
}

fn with_table_net(server: &Server) -> Client {
    let acme = server.tenant("acme");
    acme.put("/api/v1/models/table", &onnx::table_net()).expect(201);
    acme
}

/// What the model says of some rows, asked for as anybody would.
fn asked(client: &Client, rows: &[[f32; 8]]) -> Vec<Vec<f32>> {
    let data: Vec<f32> = rows.iter().flatten().copied().collect();
    let input = json!({ "name": "x", "datatype": "FP32", "shape": [rows.len(), 8], "data": data });
    let answer = client.post("/v2/models/table/infer", &json!({ "inputs": [input] })).expect(200).json();
    let y: Vec<f32> = serde_json::from_value(answer["outputs"][0]["data"].clone()).unwrap();
    y.chunks(4).map(<[f32]>::to_vec).collect()
}

const EIGHT: [&str; 8] = ["a", "b", "c", "d", "e", "f", "g", "h"];

/// Rows of eight numbers behind a key, as CSV.
fn table(rows: usize) -> (String, Vec<[f32; 8]>) {
    let mut text = format!("id,{}\n", EIGHT.join(","));
    let values: Vec<[f32; 8]> =
        (0..rows).map(|row| std::array::from_fn(|i| ((row * 8 + i) % 97) as f32 / 8.0 - 6.0)).collect();
    for (row, numbers) in values.iter().enumerate() {
        let numbers: Vec<_> = numbers.iter().map(|n| n.to_string()).collect();
        text.push_str(&format!("\"row, {row}\",{}\n", numbers.join(",")));
    }
    (text, values)
}

#[test]
fn rows_go_through_a_model_as_calls_would_whatever_the_formats() {
    let server = Server::start();
    let acme = with_table_net(&server);
    let (text, values) = table(1_000);
    acme.put("/api/v1/files/rows.csv", text.as_bytes()).expect(201);
    let expected = asked(&acme, &values);
    let mut input = "rows.csv".to_owned();
    for output in ["one.ndjson", "two.parquet", "three.ndjson"] {
        let wish = json!({
            "kind": "batch", "target": "table", "input": input, "output": output, "columns": { "x": EIGHT },
            "keep": if output == "three.ndjson" { json!(["id"]) } else { json!(["id", "a", "b", "c", "d", "e", "f", "g", "h"]) },
            "batch_size": 64,
        });
        let job = run(&acme, &wish);
        assert_eq!(
            (&job["state"], &job["rows"], &job["total_rows"]),
            (&"done".into(), &1_000.into(), &1_000.into()),
            "{job}"
        );
        assert_eq!((&job["version"], &job["row_errors"]["count"]), (&1.into(), &0.into()));
        // The next one reads what this one wrote, without the outputs.
        if output.ends_with("ndjson") {
            let text = acme.get(&format!("/api/v1/files/{output}")).expect(200).text();
            let rows: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
            assert_eq!(rows.len(), 1_000);
            for (number, (row, expected)) in rows.iter().zip(&expected).enumerate() {
                assert_eq!(row["id"], format!("row, {number}"));
                let y: Vec<f32> = serde_json::from_value(row["y"].clone()).unwrap();
                let close = y.iter().zip(expected).all(|(a, b)| (a - b).abs() <= 1e-5 * b.abs().max(1.0));
                assert!(y.len() == 4 && close, "row {number}: {y:?}, and {expected:?}");
            }
            if output == "one.ndjson" {
                let plain: String = rows
                    .iter()
                    .map(|row| {
                        let mut row = row.as_object().unwrap().clone();
                        row.remove("y");
                        format!("{}\n", Value::Object(row))
                    })
                    .collect();
                acme.put("/api/v1/files/plain.ndjson", plain.as_bytes()).expect(201);
                input = "plain.ndjson".to_owned();
            }
        } else {
            let listed = acme.get("/api/v1/files").expect(200).json();
            let file = listed["items"].as_array().unwrap().iter().find(|f| f["name"] == output).unwrap().clone();
            assert_eq!((&file["job"], &file["digest"]), (&job["id"], &job["output_digest"]));
            // Its column `y` would be in the way.
            let wish = json!({ "kind": "batch", "target": "table", "input": output, "output": "x.csv", "columns": { "x": EIGHT } });
            let job = run(&acme, &wish);
            assert_eq!((&job["state"], &job["problem"]["code"]), (&"failed".into(), &"invalid_data".into()), "{job}");
            input = output.to_owned();
        }
    }
    let jobs = acme.get("/api/v1/jobs").expect(200).json();
    assert_eq!(jobs["items"].as_array().unwrap().len(), 4);
    let kinds = acme.get("/api/v1/audit?kind=job_created").expect(200).json();
    assert_eq!(kinds["items"].as_array().unwrap().len(), 4);
}

#[test]
fn rows_that_are_not_valid_end_the_job_are_left_out_or_have_nulls() {
    let server = Server::start();
    let acme = with_table_net(&server);
    let (text, _) = table(500);
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    lines[101] = "too,few".to_owned();
    lines[200] = format!("bad,{}", ["1"; 7].join(",") + ",secret");
    lines[300] = format!("empty,{}", ["1"; 7].join(",") + ",");
    acme.put("/api/v1/files/rows.csv", (lines.join("\n") + "\n").as_bytes()).expect(201);
    let wish = |on_error: &str| {
        json!({
            "kind": "batch", "target": "table", "input": "rows.csv", "output": "out.csv", "columns": { "x": EIGHT },
            "keep": ["id"], "on_error": on_error,
        })
    };
    let failed = run(&acme, &wish("fail"));
    assert_eq!((&failed["state"], &failed["problem"]["code"]), (&"failed".into(), &"invalid_data".into()), "{failed}");
    assert!(failed["problem"]["detail"].as_str().unwrap().starts_with("row 101: "), "{failed}");
    acme.get("/api/v1/files/out.csv").problem(404, "not_found");

    let skipped = run(&acme, &wish("skip"));
    assert_eq!(
        (&skipped["state"], &skipped["rows"], &skipped["row_errors"]["count"]),
        (&"done".into(), &500.into(), &3.into())
    );
    let first = skipped["row_errors"]["first"].as_array().unwrap();
    let rows: Vec<_> = first.iter().map(|e| e["row"].as_u64().unwrap()).collect();
    assert_eq!(rows, [101, 200, 300]);
    assert_eq!(first[1]["detail"], "column `h` is not a number");
    assert_eq!(first[2]["detail"], "column `h` is empty");
    let out = acme.get("/api/v1/files/out.csv").expect(200).text();
    assert_eq!(out.lines().count(), 1 + 497);
    assert!(!out.contains("bad") && out.starts_with("id,y\n\"row, 0\",\"["), "{out:.100}");

    let nulls = run(&acme, &wish("null"));
    assert_eq!((&nulls["state"], &nulls["row_errors"]["count"]), (&"done".into(), &3.into()));
    let out = acme.get("/api/v1/files/out.csv").expect(200).text();
    let lines: Vec<&str> = out.lines().collect();
    assert_eq!((lines.len(), lines[101], lines[200]), (501, ",", "bad,"));
    // What a row held is nowhere but in the row.
    let journal = acme.get("/api/v1/audit").expect(200).text();
    assert!(
        !journal.contains("secret")
            && !failed.to_string().contains("secret")
            && !skipped.to_string().contains("secret")
    );
}

#[test]
fn a_plugin_is_called_the_same_way() {
    let server = Server::start();
    let acme = server.tenant("acme");
    acme.put("/api/v1/plugins/text", guests::text()).expect(201);
    let rows: String = (0..300).map(|i| format!("{}\n", json!({ "n": i, "pair": [format!("a{i}"), "é"] }))).collect();
    acme.put("/api/v1/files/rows.ndjson", rows.as_bytes()).expect(201);
    let wish = json!({
        "kind": "batch", "target": "text@1", "input": "rows.ndjson", "output": "out.ndjson",
        "columns": { "BYTES": ["pair"] }, "keep": ["n"], "batch_size": 50,
    });
    let job = run(&acme, &wish);
    assert_eq!(job["state"], "done", "{job}");
    let out = acme.get("/api/v1/files/out.ndjson").expect(200).text();
    for (i, line) in out.lines().enumerate() {
        assert_eq!(serde_json::from_str::<Value>(line).unwrap(), json!({ "n": i, "BYTES": [format!("a{i}"), "é"] }));
    }
    assert_eq!(out.lines().count(), 300);
}

#[test]
fn a_trigger_begins_batches() {
    let server = Server::start();
    let acme = with_table_net(&server);
    let (text, _) = table(10);
    let set = |name: &str, on: &Value, batch: &Value| {
        acme.put_json(&format!("/api/v1/triggers/{name}"), &json!({ "on": on, "run": { "batch": batch } }))
    };
    // Whatever is stored under such a name.
    let stored = json!({ "event": { "kinds": ["file.stored"], "if": "event.data.name.startsWith('in-')" } });
    let each = json!({ "target": "table", "output": "{run}.csv", "columns": { "x": EIGHT }, "keep": ["id"] });
    set("each", &stored, &each).expect(201);
    for name in ["other.csv", "in-1.csv"] {
        acme.put(&format!("/api/v1/files/{name}"), text.as_bytes()).expect(201);
    }
    let path = "/api/v1/triggers/each/runs";
    let runs = || acme.get(path).expect(200).json()["items"].as_array().unwrap().clone();
    let began = |number: usize| {
        eventually("the runs have begun their jobs", Duration::from_secs(30), || {
            runs().iter().filter(|run| run["state"] == "done").count() == number
        });
        runs().remove(0)
    };
    // The job has the run's id.
    let first = began(1);
    let job = ended(&acme, &first);
    assert_eq!((&job["state"], &job["input"], &job["rows"]), (&"done".into(), &"in-1.csv".into(), &10.into()), "{job}");
    let id = first["id"].as_str().unwrap();
    let result = acme.get(&format!("/api/v1/files/{id}.csv")).expect(200).text();
    assert_eq!(result.lines().count(), 11);
    acme.post(&format!("{path}/{id}/replay"), &json!({})).expect(202);
    let again = ended(&acme, &began(2));
    assert_eq!(again["output_digest"], job["output_digest"]);
    acme.post("/api/v1/triggers/each/fire", &json!({})).problem(409, "conflict");

    // By the clock, of a file that is named.
    let clock = json!({ "cron": { "schedule": "* * * * * *" } });
    let mut daily =
        json!({ "target": "table@1", "input": "in-1.csv", "output": "of-{date}.ndjson", "columns": { "x": EIGHT } });
    set("daily", &clock, &daily).expect(201);
    eventually("the day's result is there", Duration::from_secs(30), || {
        let files = acme.get("/api/v1/files").expect(200).json();
        files["items"].as_array().unwrap().iter().any(|file| file["name"].as_str().unwrap().starts_with("of-20"))
    });
    set("no-input", &clock, &each).problem(400, "invalid_request");
    for (field, wrong) in [("output", json!("out")), ("input", json!("rows")), ("target", json!("nobody"))] {
        let right = std::mem::replace(&mut daily[field], wrong);
        set("wrong", &clock, &daily).problem(400, "invalid_request");
        daily[field] = right;
    }
    let weak = server.token("acme", &["triggers:write", "models:invoke", "jobs:write"]);
    let wish = json!({ "on": clock, "run": { "batch": daily } });
    weak.put_json("/api/v1/triggers/weak", &wish).problem(403, "insufficient_scope");
}

#[test]
fn what_is_wrong_with_a_wish_is_said_at_once() {
    let server = Server::start();
    let acme = with_table_net(&server);
    acme.put("/api/v1/files/rows.csv", b"a,b\n1,2\n").expect(201);
    let good = json!({ "kind": "batch", "target": "table", "input": "rows.csv", "output": "out.csv" });
    let with = |field: &str, value: Value| {
        let mut wish = good.clone();
        wish[field] = value;
        wish
    };
    let refused = |wish: &Value, status: u16, code: &str| {
        acme.post("/api/v1/jobs", wish).problem(status, code).json()["detail"].as_str().unwrap().to_owned()
    };
    refused(&with("kind", json!("train")), 400, "invalid_request");
    refused(&with("tenant", json!("other")), 400, "invalid_request");
    refused(&with("target", json!("nobody")), 404, "not_found");
    refused(&with("target", json!("table@2")), 404, "not_found");
    refused(&with("input", json!("nothing.csv")), 404, "not_found");
    refused(&with("input", json!("../x")), 400, "invalid_request");
    refused(&with("output", json!("rows.csv")), 400, "invalid_request");
    assert!(refused(&with("output", json!("out")), 400, "invalid_request").contains("`format`"));
    assert!(refused(&with("columns", json!({ "z": ["a"] })), 400, "invalid_request").contains("[\"x\"]"));
    refused(&with("columns", json!({ "x": [] })), 400, "invalid_request");
    refused(&with("batch_size", json!(0)), 400, "invalid_request");
    refused(&with("checkpoint_rows", json!(1)), 400, "invalid_request");
    // These take a look at the file.
    let failed = |wish: &Value| {
        let job = run(&acme, wish);
        assert_eq!((&job["state"], &job["problem"]["code"]), (&"failed".into(), &"invalid_data".into()), "{job}");
        job["problem"]["detail"].as_str().unwrap().to_owned()
    };
    assert!(failed(&good).contains("no column `x` for the input `x`"));
    assert!(failed(&with("columns", json!({ "x": ["a", "q"] }))).contains("it has a"), "columns are listed");
    assert!(failed(&with("keep", json!(["q"]))).contains("no column"));
    // A token that may not call the model may not let a job call it either.
    let weak = server.token("acme", &["jobs:write", "data:read", "data:write"]);
    weak.post("/api/v1/jobs", &good).problem(403, "insufficient_scope");
    let blind = server.token("acme", &["jobs:write", "data:write", "models:invoke"]);
    blind.post("/api/v1/jobs", &good).problem(403, "insufficient_scope");
}

#[test]
fn a_job_is_followed_and_cancelled() {
    let server = Server::start();
    let acme = with_table_net(&server);
    let other = server.tenant("other");
    let (text, _) = table(200_000);
    acme.put("/api/v1/files/rows.csv", text.as_bytes()).expect(201);
    let wish = json!({
        "kind": "batch", "target": "table", "input": "rows.csv", "output": "out.csv", "columns": { "x": EIGHT },
        "batch_size": 4,
    });
    let job = acme.post("/api/v1/jobs", &wish).expect(202);
    let (path, job) = (job.header("location").to_owned(), job.json());
    // One of a tenant's jobs runs at a time; this one waits.
    let second = acme.post("/api/v1/jobs", &wish).expect(202).json();
    eventually("it runs", Duration::from_secs(60), || acme.get(&path).expect(200).json()["rows"].as_u64().unwrap() > 0);
    let shown = acme.get(&path).expect(200).json();
    assert_eq!(shown["state"], "running", "{shown}");
    let done = shown["done"].as_f64().unwrap();
    assert!(done > 0.0 && done < 1.0 && shown["seconds_left"].as_f64().unwrap() > 0.0, "{shown}");
    assert_eq!(
        acme.get(&format!("/api/v1/jobs/{}", second["id"].as_str().unwrap())).expect(200).json()["state"],
        "queued"
    );
    for method in ["GET", "DELETE"] {
        other.send(method, &path, &[], b"").problem(404, "not_found");
    }
    other.get(&format!("{path}/events")).problem(404, "not_found");

    let followed = {
        let (acme, path) = (acme.clone(), format!("{path}/events"));
        std::thread::spawn(move || acme.get(&path).expect(200))
    };
    std::thread::sleep(Duration::from_millis(900));
    assert_eq!(acme.delete(&path).expect(200).json()["state"], "cancelled");
    let events = followed.join().unwrap();
    assert_eq!(events.header("content-type"), "text/event-stream");
    let events = events.text();
    assert!(events.matches("event: progress\ndata: {").count() >= 2, "{events}");
    let (_, end) = events.split_once("event: end\ndata: ").unwrap();
    assert_eq!(serde_json::from_str::<Value>(end.trim()).unwrap()["state"], "cancelled");

    acme.delete(&format!("/api/v1/jobs/{}", second["id"].as_str().unwrap())).expect(200);
    assert_eq!(acme.delete(&path).expect(200).json()["id"], job["id"], "cancelled twice is cancelled");
    acme.get("/api/v1/files/out.csv").problem(404, "not_found");
    let left = std::fs::read_dir(server.data.join("store/jobs/acme")).map_or(0, Iterator::count);
    assert_eq!(left, 0, "pieces of a job that was cancelled");
}

#[test]
fn the_command_line_runs_a_batch() {
    let server = Server::start();
    let acme = with_table_net(&server);
    let folder = tempfile::tempdir().unwrap();
    let (text, _) = table(2_000);
    let (input, output) = (folder.path().join("rows.csv"), folder.path().join("scores.parquet"));
    std::fs::write(&input, text).unwrap();
    let run = |arguments: &[&str]| {
        let connection = ["--url", &server.url, "--token", &acme.token];
        aimass_with(&[&connection[..], arguments].concat(), &[])
    };
    let columns = format!("x={}", EIGHT.join(","));
    let (from, to) = (input.to_str().unwrap(), output.to_str().unwrap());
    let said = run(&["batch", "table", "--input", from, "--output", to, "--column", &columns, "--keep", "id"]);
    assert!(said.contains("2000 rows to"), "{said}");
    assert!(std::fs::read(&output).unwrap().starts_with(b"PAR1"));
    let jobs: Value = serde_json::from_str(&run(&["--json", "jobs", "list"])).unwrap();
    let id = jobs[0]["id"].as_str().unwrap();
    assert!(run(&["jobs", "show", id]).contains("done"));
    assert!(run(&["jobs", "logs", id, "--follow"]).contains("done: 2,000/2,000 rows"));
}

/// Rows of the short form; `AIMASS_BATCH_ROWS=1000000` is the long one.
fn rows() -> u64 {
    std::env::var("AIMASS_BATCH_ROWS").ok().and_then(|text| text.parse().ok()).unwrap_or(50_000)
}

/// The greatest memory of a process so far, MiB.
fn peak(pid: u32) -> u64 {
    crate::support::figure(pid, "VmHWM") >> 10
}

#[test]
fn f42_a_batch_killed_half_way_ends_with_the_same_bytes_in_little_memory() {
    let rows = rows();
    let folder = tempfile::tempdir().unwrap();
    let (source, model) = (folder.path().join("rows.parquet"), folder.path().join("table.onnx"));
    python::data("batch_rows.py", &["make", source.to_str().unwrap(), &rows.to_string()]);
    std::fs::write(&model, onnx::table_net()).unwrap();

    let data = folder.path().join("data");
    let mut server = Server::on(&data, &[]);
    let acme = with_table_net(&server);
    let token = acme.token.clone();
    acme.put("/api/v1/files/rows.parquet", &std::fs::read(&source).unwrap()).expect(201);
    let wish = |output: &str| {
        json!({
            "kind": "batch", "target": "table", "input": "rows.parquet", "output": output,
            "columns": { "x": ["f0", "f1", "f2", "f3", "f4", "f5", "f6", "f7"] }, "keep": ["id", "text"],
            "batch_size": if rows > 100_000 { 256 } else { 16 }, "checkpoint_rows": (rows / 12).clamp(1_000, 65_536),
        })
    };
    let started = Instant::now();
    let whole = run(&acme, &wish("whole.parquet"));
    assert_eq!((&whole["state"], &whole["rows"]), (&"done".into(), &rows.into()), "{whole}");
    let took = started.elapsed();

    let job = acme.post("/api/v1/jobs", &wish("killed.parquet")).expect(202).json();
    let path = format!("/api/v1/jobs/{}", job["id"].as_str().unwrap());
    let mut memory = vec![];
    for part in 1..=3 {
        // Somewhere behind a quarter, the half, three quarters.
        let mut shown = Value::Null;
        eventually("it is so far", Duration::from_secs(600), || {
            shown = server.with(&token).get(&path).expect(200).json();
            shown["durable_rows"].as_u64().unwrap() >= rows * part / 4
        });
        assert_eq!(shown["state"], "running", "it must be killed before it ends: {shown}");
        memory.push((peak(server.child.id()), peak(server.engine().unwrap())));
        server.kill();
        server = Server::on(&data, &[]);
        let resumed = server.with(&token).get(&path).expect(200).json();
        assert!(resumed["durable_rows"].as_u64() >= shown["durable_rows"].as_u64(), "{shown} became {resumed}");
    }
    let acme = server.with(&token);
    let killed = ended(&acme, &job);
    assert_eq!((&killed["state"], &killed["rows"]), (&"done".into(), &rows.into()), "{killed}");
    memory.push((peak(server.child.id()), peak(server.engine().unwrap())));
    assert_eq!(killed["output_digest"], whole["output_digest"], "killed and resumed, it is another file");

    let result = folder.path().join("killed.parquet");
    std::fs::write(&result, acme.get("/api/v1/files/killed.parquet").expect(200).body).unwrap();
    let said = python::data(
        "batch_rows.py",
        &["compare", source.to_str().unwrap(), result.to_str().unwrap(), model.to_str().unwrap()],
    );
    assert_eq!(said.trim(), rows.to_string());
    let most = memory.iter().map(|(server, engine)| server + engine).max().unwrap();
    assert!(most < 300, "MiB of server and engine: {memory:?}");
    eprintln!("{rows} rows in {took:?}, three kills; MiB of server and engine at most: {memory:?}");
    let left = std::fs::read_dir(data.join("store/jobs/acme")).map_or(0, Iterator::count);
    assert_eq!(left, 0, "pieces of jobs that have ended");
}

#[test]
fn f40_a_job_of_a_backup_begins_again() {
    let server = Server::start();
    let acme = with_table_net(&server);
    let (text, _) = table(50_000);
    acme.put("/api/v1/files/rows.csv", text.as_bytes()).expect(201);
    let wish = json!({
        "kind": "batch", "target": "table", "input": "rows.csv", "output": "out.csv", "columns": { "x": EIGHT },
        "batch_size": 8, "checkpoint_rows": 1_000,
    });
    let job = acme.post("/api/v1/jobs", &wish).expect(202).json();
    let path = format!("/api/v1/jobs/{}", job["id"].as_str().unwrap());
    eventually("a piece is there", Duration::from_secs(60), || {
        acme.get(&path).expect(200).json()["durable_rows"].as_u64().unwrap() >= 2_000
    });
    let token = acme.token.clone();
    let folder = server.kill().unwrap();
    // As after a restore: the journal knows of pieces, and there are none.
    std::fs::remove_dir_all(folder.path().join("store/jobs")).unwrap();
    let server = Server::on(folder.path(), &[]);
    let acme = server.with(&token);
    let done = ended(&acme, &job);
    assert_eq!((&done["state"], &done["rows"]), (&"done".into(), &50_000.into()), "{done}");
    assert_eq!(acme.get("/api/v1/files/out.csv").expect(200).text().lines().count(), 50_001);
}

#[test]
fn f06_a_file_that_is_a_bomb_or_no_data_costs_its_own_job_alone() {
    let server = Server::start();
    let acme = with_table_net(&server);
    let folder = tempfile::tempdir().unwrap();
    let lists = folder.path().join("lists.parquet");
    python::data("batch_rows.py", &["lists", lists.to_str().unwrap()]);
    let lists = std::fs::read(lists).unwrap();
    assert!(lists.len() < 10_000, "{} bytes that become gigabytes", lists.len());
    let cut = &lists[..lists.len() - 20];
    let line = [b"x,b\n".to_vec(), vec![b'1'; 20 << 20]].concat();
    for (name, bytes, says) in [
        ("lists.parquet", lists.as_slice(), "takes more than 768 MiB of memory"),
        ("cut.parquet", cut, "the Parquet file is not valid"),
        ("empty.parquet", b"".as_slice(), "too short"),
        ("words.parquet", b"these are words and no Parquet".as_slice(), "the Parquet file"),
        ("line.csv", line.as_slice(), "row 1 of the CSV file is longer than 16 MiB"),
        ("empty.csv", b"".as_slice(), "the CSV file is empty"),
        ("twice.csv", b"a,a\n1,2\n".as_slice(), "two columns of the CSV file have one name"),
        ("empty.ndjson", b"".as_slice(), "no column `x`"),
    ] {
        acme.put(&format!("/api/v1/files/{name}"), bytes).expect(201);
        let wish = json!({ "kind": "batch", "target": "table", "input": name, "output": "out.csv" });
        let job = run(&acme, &wish);
        assert_eq!(
            (&job["state"], &job["problem"]["code"]),
            (&"failed".into(), &"invalid_data".into()),
            "{name}: {job}"
        );
        let detail = job["problem"]["detail"].as_str().unwrap();
        assert!(detail.contains(says), "{name}: {detail}");
        assert_eq!(server.anonymous().get("/healthz").expect(200).status, 200);
    }
    // The rows' own faults: they are named, one by one.
    acme.put("/api/v1/files/words.csv", b"x\n1\nwords\n").expect(201);
    let wish =
        json!({ "kind": "batch", "target": "table", "input": "words.csv", "output": "out.csv", "on_error": "null" });
    let job = run(&acme, &wish);
    assert_eq!((&job["state"], &job["row_errors"]["count"]), (&"done".into(), &2.into()), "{job}");
    assert!(crate::support::figure(server.child.id(), "VmHWM") >> 10 < 300, "the server's own memory");
}
