use super::*;
use crate::data::dataset::{Dataset, Generation, Mode};
use crate::data::source::MemorySource;
use crate::data::table::{TableLimits, Values, load_items};
use crate::progress::Silent;
use kindred_types::schema;

fn parse(name: &str, fields: &str) -> DatasetSchema {
    schema::parse(
        &format!(r#"{{"type":"record","name":"{name}","fields":[{fields}]}}"#),
        None,
    )
    .unwrap()
}

fn events() -> DatasetSchema {
    parse(
        "Interactions",
        r#"{"name":"USER_ID","type":"string"},{"name":"ITEM_ID","type":"string"},
           {"name":"TIMESTAMP","type":"long"},{"name":"EVENT_VALUE","type":["null","float"]},
           {"name":"PLACE","type":["null","string"],"categorical":true},
           {"name":"COUNT","type":["null","int"]},{"name":"NEW","type":["null","boolean"]}"#,
    )
}

fn items() -> DatasetSchema {
    parse(
        "Items",
        r#"{"name":"ITEM_ID","type":"string"},
           {"name":"GENRES","type":["null","string"],"categorical":true},
           {"name":"TEXT","type":["null","string"],"textual":true},
           {"name":"N","type":"int"}"#,
    )
}

const HEADER: &str = "USER_ID,ITEM_ID,TIMESTAMP,EVENT_VALUE,PLACE,COUNT,NEW\n";
const PREFIX: &str = "Failed to create a data import job for Interactions dataset clicks. ";

fn try_import(
    schema: &DatasetSchema,
    files: &[(&str, &[u8])],
    max_invalid_rows: u64,
    dir: &Path,
) -> Result<ImportReport, Error> {
    let sources: Vec<MemorySource> = files
        .iter()
        .map(|(name, bytes)| MemorySource::new(*name, bytes.to_vec()))
        .collect();
    let sources: Vec<&dyn Source> = sources.iter().map(|source| source as &dyn Source).collect();
    let options = ImportOptions {
        max_invalid_rows,
        location: "s3://b/in/".into(),
        ..ImportOptions::default()
    };
    import(schema, "clicks", &sources, &options, dir, &Silent)
}

#[test]
fn malformed_files_fail_with_their_reason_and_leave_nothing() {
    let ok = "u,i,5,,,,\n";
    let long = format!("u,i,5,,{},,\n", "x".repeat(1001));
    let wide = format!("{}\n", vec!["c"; COLUMNS_MAX + 1].join(","));
    let endless = format!("{HEADER}{ok}\"u{}", "x".repeat(3 * csv::RECORD_BYTES_MAX));
    let user = "Invalid value for column USER_ID in f.csv line 2: expected string of 1 to 256 characters in UTF-8";
    let table: &[(&[u8], &str)] = &[
        (
            b"",
            "Input CSV is missing the following columns: [USER_ID, ITEM_ID, TIMESTAMP, EVENT_VALUE, PLACE, COUNT, NEW]",
        ),
        (
            b"\xef\xbb\xbf\n\n",
            "Input CSV is missing the following columns: [USER_ID, ITEM_ID, TIMESTAMP, EVENT_VALUE, PLACE, COUNT, NEW]",
        ),
        (
            b"USER_ID,ITEM_ID,TIMESTAMP,COUNT,NEW\nu,i,5,,\n",
            "Input CSV is missing the following columns: [EVENT_VALUE, PLACE]",
        ),
        (
            b"USER_ID;ITEM_ID\nu;i\n",
            "Input CSV is missing the following columns: [USER_ID, ITEM_ID, TIMESTAMP, EVENT_VALUE, PLACE, COUNT, NEW]",
        ),
        (
            b"USER_ID,USER_ID,ITEM_ID,TIMESTAMP,EVENT_VALUE,PLACE,COUNT,NEW\n",
            "Input CSV f.csv has more than one column USER_ID",
        ),
        (
            b"User_Id,user_id,ITEM_ID,TIMESTAMP,EVENT_VALUE,PLACE,COUNT,NEW\n",
            "Input CSV is missing the following columns: [USER_ID]",
        ),
        (
            b"\"USER_ID\"x,ITEM_ID\n",
            "Input CSV f.csv has text after a closing quote in its header",
        ),
        (
            wide.as_bytes(),
            "Input CSV f.csv has more than 1000 columns",
        ),
        (HEADER.as_bytes(), "No data found at s3://b/in/"),
        (
            b"+u,i,5,,,\n",
            "Invalid row in f.csv line 2: expected 7 columns, found 6",
        ),
        (
            b"+u,i,5,,,,,\n",
            "Invalid row in f.csv line 2: expected 7 columns, found 8",
        ),
        (
            b"+\"u\"x,i,5,,,,\n",
            "Invalid row in f.csv line 2: text after a closing quote",
        ),
        (
            b"+\"u,i,5,,,,\nu,i,5,,,,\n",
            "Invalid row in f.csv line 2: a quoted value is not closed",
        ),
        (
            b"+\"u\\\",i,5,,,,\n",
            "Invalid row in f.csv line 2: a quoted value is not closed",
        ),
        (
            endless.as_bytes(),
            "Invalid row in f.csv line 3: the record is longer than 1048576 bytes, perhaps a quote is not closed",
        ),
        (b"+,i,5,,,,\n", &format!("{user}, the value is missing")),
        (b"+\"\",i,5,,,,\n", &format!("{user}, the value is missing")),
        (b"+\xffu,i,5,,,,\n", user),
        (
            b"+u,i,,,,,\n",
            "Invalid value for column TIMESTAMP in f.csv line 2: expected long in Unix epoch seconds, the value is missing",
        ),
        (
            b"+u,i,2020-01-01,,,,\n",
            "Invalid value for column TIMESTAMP in f.csv line 2: expected long in Unix epoch seconds",
        ),
        (
            b"+u,i,1.5,,,,\n",
            "Invalid value for column TIMESTAMP in f.csv line 2: expected long in Unix epoch seconds",
        ),
        (
            b"+u,i,5,cheap,,,\n",
            "Invalid value for column EVENT_VALUE in f.csv line 2: expected float",
        ),
        (
            b"+u,i,5,inf,,,\n",
            "Invalid value for column EVENT_VALUE in f.csv line 2: expected float",
        ),
        (
            b"+u,i,5,,,2147483648,\n",
            "Invalid value for column COUNT in f.csv line 2: expected int",
        ),
        (
            b"+u,i,5,,,,yes\n",
            "Invalid value for column NEW in f.csv line 2: expected boolean",
        ),
        (
            b"+u,i,5,,\xe4,,\n",
            "Invalid value for column PLACE in f.csv line 2: expected string in UTF-8",
        ),
        (
            &[b"+", long.as_bytes()].concat(),
            "Length cannot be more than 1000 characters for PLACE in f.csv line 2",
        ),
        (
            b"+u,i,5,,\"a\nb\",,\nu,i,x,,,,\nu,i,5,,,,\nu,i,y,,,,\n",
            "Invalid value for column TIMESTAMP in f.csv line 4: expected long in Unix epoch seconds; Invalid value for column TIMESTAMP in f.csv line 6: expected long in Unix epoch seconds; 2 invalid rows in total",
        ),
    ];
    for (text, expected) in table {
        let dir = tempfile::tempdir().unwrap();
        let bytes = match text.strip_prefix(b"+") {
            Some(rows) => [HEADER.as_bytes(), rows].concat(),
            None => text.to_vec(),
        };
        let error = try_import(&events(), &[("f.csv", &bytes)], 0, dir.path()).unwrap_err();
        assert!(matches!(error, Error::Input(_)), "{error:?}");
        assert_eq!(error.to_string(), format!("{PREFIX}{expected}"));
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
    }
    let dir = tempfile::tempdir().unwrap();
    let error = try_import(&events(), &[], 0, dir.path()).unwrap_err();
    assert_eq!(
        error.to_string(),
        format!("{PREFIX}No data found at s3://b/in/")
    );
    let bad = &b"not gzip"[..];
    let error = try_import(&events(), &[("f.csv.gz", bad)], 0, dir.path()).unwrap_err();
    assert!(
        error.to_string().contains("f.csv.gz cannot be unpacked"),
        "{error}"
    );
}

#[test]
fn only_five_bad_rows_are_described_and_all_are_counted() {
    let mut text = HEADER.to_owned();
    for row in 0..40_000 {
        text.push_str(if row % 2 == 0 {
            "u,i,5,,,,\n"
        } else {
            "u,i,x,,,,\n"
        });
    }
    let dir = tempfile::tempdir().unwrap();
    let files = [("f.csv", text.as_bytes())];
    let reason = try_import(&events(), &files, 7, dir.path())
        .unwrap_err()
        .to_string();
    assert!(
        reason
            .ends_with("line 11: expected long in Unix epoch seconds; 20000 invalid rows in total"),
        "{reason}"
    );
    assert_eq!(reason.matches("Invalid value").count(), 5);
    let report = try_import(&events(), &files, 20_000, dir.path()).unwrap();
    assert_eq!((report.rows, report.skipped), (20_000, 20_000));
    assert!(report.warnings[0].starts_with("20000 invalid rows were skipped: Invalid value"));
    assert_eq!(open(dir.path(), DatasetType::Interactions).rows(), 20_000);
}

#[test]
fn every_file_has_its_own_header_and_order() {
    let dir = tempfile::tempdir().unwrap();
    let one = format!("{HEADER}u,i,5,1.5,,,\n");
    let two = "new,extra,\"timestamp\",ITEM_ID,USER_ID,COUNT,PLACE,EVENT_VALUE\r\ntrue,?,1586731606123,j,v,-3,\"a,|b\",NaN";
    let files = [("1.csv", one.as_bytes()), ("2.csv", two.as_bytes())];
    let report = try_import(&events(), &files, 0, dir.path()).unwrap();
    assert_eq!(report.rows, 2);
    assert_eq!(
        report.warnings,
        ["1 time stamps were taken as milliseconds and divided by 1000"]
    );
    let mut rows = Vec::new();
    open(dir.path(), DatasetType::Interactions)
        .read(&Silent, |batch| {
            rows.push(format!("{:?}", batch.columns()));
            Ok(())
        })
        .unwrap();
    let text = rows.concat();
    for part in ["1586731606,", "-3,", "\"a,|b\"", "true,", "1.5,"] {
        assert!(text.contains(part), "{part} is not in {text}");
    }
    let error = try_import(
        &events(),
        &[files[0], ("3.csv", b"USER_ID\n")],
        0,
        dir.path(),
    );
    assert!(
        error
            .unwrap_err()
            .to_string()
            .ends_with("PLACE, COUNT, NEW] in 3.csv")
    );
}

#[test]
fn quoting_lists_nulls_and_long_texts_arrive_as_meant() {
    let dir = tempfile::tempdir().unwrap();
    let text = format!(
        "\u{feff}N,ITEM_ID,GENRES,TEXT\r\n-1,a,\"x|y,z\",\"say \"\"hi\"\"\\\\ \\\"\"\r\n2.0,b,,{}\r\n\r\n3,c,\"\",null\r\n",
        "é".repeat(20_001)
    );
    let report = try_import(&items(), &[("i.csv", text.as_bytes())], 0, dir.path()).unwrap();
    assert_eq!(report.warnings, ["1 texts were cut at 20000 characters"]);
    let generation = Generation {
        dir: dir.path().to_owned(),
        vault: Default::default(),
        mode: Mode::Full,
    };
    let table = load_items(&[generation], &TableLimits::default(), &Silent).unwrap();
    assert_eq!(table.text(0, "GENRES"), Some("x|y,z"));
    assert_eq!(table.text(0, "TEXT"), Some("say \"hi\"\\ \""));
    assert_eq!(table.text(1, "TEXT").unwrap().chars().count(), 20_000);
    assert_eq!(
        (table.text(1, "GENRES"), table.text(2, "GENRES")),
        (None, None)
    );
    assert_eq!(table.text(2, "TEXT"), Some("null"));
    assert_eq!(
        table.column("N").unwrap().values,
        Values::Long(vec![Some(-1), Some(2), Some(3)])
    );
}

#[test]
fn damage_is_found_and_names_the_file() {
    let dir = tempfile::tempdir().unwrap();
    let text = format!("{HEADER}u,i,5,1.5,,,\n");
    let report = try_import(&events(), &[("f.csv", text.as_bytes())], 0, dir.path()).unwrap();
    assert_eq!(report.files.len(), 2);
    for path in &report.files {
        let whole = std::fs::read(path).unwrap();
        let name = path.file_name().unwrap().to_str().unwrap();
        // A flipped digit in the manifest is still JSON, a flipped bit in a part still Parquet.
        let at = match name {
            "generation.json" => {
                let text = String::from_utf8(whole.clone()).unwrap();
                text.find("\"rows\": 1").unwrap() + 8
            }
            _ => whole.len() / 2,
        };
        let mut flipped = whole.clone();
        flipped[at] ^= 1;
        for bad in [flipped, whole[..whole.len() - 1].to_vec()] {
            std::fs::write(path, bad).unwrap();
            let generation = Generation {
                dir: dir.path().to_owned(),
                vault: Default::default(),
                mode: Mode::Full,
            };
            let read = Dataset::open(DatasetType::Interactions, &[generation])
                .and_then(|dataset| dataset.read(&Silent, |_| Ok(())));
            let error = read.unwrap_err();
            assert!(matches!(error, Error::Damaged { .. }), "{error:?}");
            assert!(error.to_string().contains(name), "{error}");
        }
        std::fs::write(path, whole).unwrap();
    }
    open(dir.path(), DatasetType::Interactions)
        .read(&Silent, |_| Ok(()))
        .unwrap();
}

#[test]
fn a_failing_store_is_not_the_users_fault_and_a_stop_stops() {
    struct Refused;
    impl Source for Refused {
        fn name(&self) -> &str {
            "s3://b/k"
        }
        fn size(&self) -> u64 {
            1
        }
        fn open(&self) -> io::Result<Box<dyn Read + Send>> {
            Err(io::ErrorKind::PermissionDenied.into())
        }
    }
    struct Stopping;
    impl Progress for Stopping {
        fn report(&self, _: &str, _: u64, _: u64, _: &str) {}
        fn stopped(&self) -> bool {
            true
        }
    }
    let dir = tempfile::tempdir().unwrap();
    let options = ImportOptions::default();
    let error = import(&events(), "d", &[&Refused], &options, dir.path(), &Silent).unwrap_err();
    match error {
        Error::Source { name, source } => assert_eq!(
            (name.as_str(), source.kind()),
            ("s3://b/k", io::ErrorKind::PermissionDenied)
        ),
        other => panic!("{other:?}"),
    }
    let text = format!("{HEADER}{}", "u,i,5,,,,\n".repeat(PROGRESS_ROWS as usize));
    let source = MemorySource::new("f.csv", text.into_bytes());
    let error = import(&events(), "d", &[&source], &options, dir.path(), &Stopping).unwrap_err();
    assert!(matches!(error, Error::Stopped));
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
}

#[test]
fn a_new_try_overwrites_what_an_unfinished_one_left() {
    let dir = tempfile::tempdir().unwrap();
    for number in 0..3 {
        std::fs::write(dir.path().join(dataset::part_name(number)), "half").unwrap();
    }
    let text = format!("{HEADER}u,i,5,1.5,,,\n");
    try_import(&events(), &[("f.csv", text.as_bytes())], 0, dir.path()).unwrap();
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 2);
    assert_eq!(open(dir.path(), DatasetType::Interactions).rows(), 1);
}

fn open(dir: &Path, kind: DatasetType) -> Dataset {
    let generation = Generation {
        dir: dir.to_owned(),
        vault: Default::default(),
        mode: Mode::Full,
    };
    Dataset::open(kind, &[generation]).unwrap()
}
