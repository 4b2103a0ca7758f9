use super::*;
use crate::data::attributes::{ItemAttributes, TrainingData};
use crate::data::dataset::{Generation, Mode};
use crate::data::import::{ImportOptions, import};
use crate::data::source::MemorySource;
use crate::data::table::{TableLimits, Values, load_items};
use crate::interactions::Interactions;
use crate::progress::Silent;
use kindred_types::{item_query, schema};

/// The items of the language's examples, imported like any dataset.
fn examples() -> (Vec<String>, ItemAttributes) {
    let schema = schema::parse(
        r#"{"type":"record","name":"Items","fields":[
        {"name":"ITEM_ID","type":"string"},
        {"name":"GENRES","type":["null","string"],"categorical":true},
        {"name":"PRICE","type":["null","float"]},
        {"name":"YEAR","type":"int"},
        {"name":"BRAND","type":["null","string"],"categorical":true},
        {"name":"DESCRIPTION","type":["null","string"],"textual":true},
        {"name":"SALE","type":["null","boolean"]},
        {"name":"WEIGHT","type":["null","double"]},
        {"name":"EMPTY","type":["null","long"]},
        {"name":"CREATION_TIMESTAMP","type":"long"}]}"#,
        None,
    )
    .unwrap();
    let csv = "ITEM_ID,GENRES,PRICE,YEAR,BRAND,DESCRIPTION,SALE,WEIGHT,EMPTY,CREATION_TIMESTAMP\n\
        i1,Comedy|Action,10.0,1999,Acme,x,true,,,1\n\
        i2,Comedy,,2005,\"Tea \"\"Leaf\"\"\",x,,-0.0,,1\n\
        i3,Horror|Action|Action,10.0,1999,,x,,0.1,,1\n\
        i4,,5.5,2020,Acme,x,,,,1\n\
        i5,comedy,0.1,2005,,x,,,,1\n";
    let dir = tempfile::tempdir().unwrap();
    let generation = Generation {
        dir: dir.path().join("g"),
        vault: Default::default(),
        mode: Mode::Full,
    };
    let source = MemorySource::new("items.csv", csv.as_bytes().to_vec());
    let options = ImportOptions::default();
    import(&schema, "d", &[&source], &options, &generation.dir, &Silent).unwrap();
    let table = load_items(&[generation], &TableLimits::default(), &Silent).unwrap();
    let bare = Interactions {
        user_starts: vec![0],
        ..Interactions::default()
    };
    let joined = TrainingData::join(bare, &table, &Default::default());
    (joined.interactions.items, joined.attributes)
}

fn found(index: &AttributeIndex, ids: &[String], query: &str) -> Result<String, String> {
    let query = item_query::parse(query).map_err(|error| error.to_string())?;
    let values = index.resolve(&query).map_err(|error| error.to_string())?;
    let items = index.items_with_all(&values);
    let items: Vec<&str> = items
        .iter()
        .map(|&item| ids[item as usize].as_str())
        .collect();
    Ok(items.join(" "))
}

#[test]
fn the_examples_have_their_items() {
    let (ids, attributes) = examples();
    let index = AttributeIndex::new(&attributes).unwrap();
    for (query, items) in [
        (r#"ITEMS.GENRES = "Comedy""#, "i1 i2"),
        (r#"ITEMS.genres = "Comedy""#, "i1 i2"),
        (r#"ITEMS.GENRES="Comedy""#, "i1 i2"),
        (r#"items.GENRES = "comedy""#, "i5"),
        (
            r#"ITEMS.GENRES = "Comedy" AND ITEMS.GENRES = "Action""#,
            "i1",
        ),
        ("ITEMS.PRICE = 10", "i1 i3"),
        (r#"ITEMS.PRICE = "10.0""#, "i1 i3"),
        (r#"ITEMS.YEAR = 1999 AND ITEMS.GENRES = "Action""#, "i1 i3"),
        (r#"ITEMS.BRAND = "Tea \"Leaf\"""#, "i2"),
        (r#"ITEMS.BRAND = "Acme" AND ITEMS.YEAR = 2020"#, "i4"),
        (r#"ITEMS.GENRES = "Horror" AND ITEMS.YEAR = 2005"#, ""),
        // The nearest single of the literal is the one the column has, and a zero has no sign.
        ("ITEMS.PRICE = 0.1", "i5"),
        ("ITEMS.PRICE = 0.10000000149", "i5"),
        ("ITEMS.WEIGHT = 0.1", "i3"),
        ("ITEMS.WEIGHT = 0", "i2"),
        ("ITEMS.YEAR = \"1999\"", "i1 i3"),
        ("ITEMS.YEAR = 1999.0", "i1 i3"),
    ] {
        assert_eq!(found(&index, &ids, query).as_deref(), Ok(items), "{query}");
    }
    let nothing = Unanswerable::NoItem.to_string();
    for query in [
        r#"ITEMS.GENRES = "Drama""#,
        r#"ITEMS.GENRES = "Comedy|Action""#,
        r#"ITEMS.GENRES = """#,
        "ITEMS.YEAR = 1999.5",
        "ITEMS.YEAR = 99999999999999999999",
        r#"ITEMS.PRICE = "cheap""#,
        "ITEMS.WEIGHT = 0.10000000149",
        "ITEMS.EMPTY = 1",
    ] {
        assert_eq!(found(&index, &ids, query), Err(nothing.clone()), "{query}");
    }
    for column in [
        "DESCRIPTION",
        "CREATION_TIMESTAMP",
        "ITEM_ID",
        "SALE",
        "NOPE",
    ] {
        for query in [
            format!("ITEMS.{column} = 1"),
            format!("ITEMS.GENRES = \"Drama\" AND ITEMS.{column} = \"x\""),
        ] {
            let expected = format!("Column {column} cannot be used in itemAttributes");
            assert_eq!(found(&index, &ids, &query), Err(expected), "{query}");
        }
    }
}

#[test]
fn one_query_written_in_many_ways_has_the_same_values() {
    let (_, attributes) = examples();
    let index = AttributeIndex::new(&attributes).unwrap();
    let values = |query: &str| index.resolve(&item_query::parse(query).unwrap()).unwrap();
    let first = values(r#"ITEMS.YEAR = 1999 AND ITEMS.GENRES = "Action""#);
    assert_eq!(first.len(), 2);
    assert_eq!(
        first,
        values("items.genres=\"Action\" and ITEMS.Year = \"1999.0\" AND ITEMS.YEAR=1999")
    );
}

#[test]
fn names_that_differ_in_case_alone_are_told_apart_or_refused() {
    let (_, mut attributes) = examples();
    let mut twin = attributes.columns[0].clone();
    twin.field.name = "Genres".into();
    attributes.columns.push(twin);
    let index = AttributeIndex::new(&attributes).unwrap();
    let first = |name: &str| {
        let query = item_query::parse(&format!("ITEMS.{name} = \"Horror\"")).unwrap();
        index
            .resolve(&query)
            .map(|values| index.describe(values[0]).0.to_owned())
    };
    assert_eq!(first("GENRES").as_deref(), Ok("GENRES"));
    assert_eq!(first("Genres").as_deref(), Ok("Genres"));
    assert_eq!(first("genres"), Err(Unanswerable::Column("genres".into())));
}

#[test]
fn values_are_listed_and_numbers_with_too_many_are_not() {
    let (_, mut attributes) = examples();
    let index = AttributeIndex::new(&attributes).unwrap();
    let listed: Vec<String> = index
        .listed()
        .into_iter()
        .map(|value| {
            let (column, text) = index.describe(value);
            format!("{column}={text}:{}", index.items_with(value).len())
        })
        .collect();
    assert_eq!(
        listed.join(" "),
        "GENRES=Action:2 GENRES=Comedy:2 GENRES=Horror:1 GENRES=comedy:1 PRICE=0.1:1 PRICE=5.5:1 \
         PRICE=10:2 YEAR=1999:2 YEAR=2005:2 YEAR=2020:1 BRAND=Acme:2 BRAND=Tea \"Leaf\":1 \
         WEIGHT=0:1 WEIGHT=0.1:1"
    );
    let many = |count: i64| Values::Long((0..count).map(Some).collect());
    attributes.columns.truncate(3);
    attributes.columns.remove(1);
    attributes.columns[1].values = many(1001);
    let index = AttributeIndex::new(&attributes).unwrap();
    assert_eq!((index.len(), index.listed().len()), (1005, 4));
    attributes.columns[1].values = many(1000);
    let index = AttributeIndex::new(&attributes).unwrap();
    assert_eq!((index.len(), index.listed().len()), (1004, 1004));
}

#[test]
fn rows_rebuild_the_index_and_wrong_orders_are_refused() {
    let (_, attributes) = examples();
    let index = AttributeIndex::new(&attributes).unwrap();
    let columns: Vec<ColumnInfo> = index.columns().cloned().collect();
    let build = |rows: &[(usize, String, u32)]| {
        let mut builder = Builder::new(columns.clone());
        for (column, text, item) in rows {
            builder.add(*column, text, *item)?;
        }
        Ok::<_, String>(builder.finish())
    };
    let mut rows: Vec<_> = index.rows().collect();
    assert_eq!(build(&rows).as_ref(), Ok(&index));
    rows.swap(0, 1);
    assert!(build(&rows).unwrap_err().contains("out of order"));
    rows.swap(0, 1);
    rows.push((0, "Zombies".into(), 1));
    assert!(build(&rows).unwrap_err().contains("out of order"));
    assert!(
        build(&[(2, "red".into(), 0)])
            .unwrap_err()
            .contains("no value")
    );
}
