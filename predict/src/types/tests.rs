//! Names of types by table: what is written, and what it means or why it means nothing.

use super::*;

#[test]
fn every_name_means_its_type_in_any_case_and_spacing() {
    for (data_type, names) in SCALARS {
        for name in names {
            assert_eq!(parse_returns(name), Ok(data_type.clone()));
            assert_eq!(
                parse_returns(&format!(" {} ", name.to_lowercase())),
                Ok(data_type.clone())
            );
        }
        assert_eq!(
            parse_returns(&returns_name(&data_type).unwrap()),
            Ok(data_type)
        );
    }
    for text in [
        "varchar(10)",
        "VarChar ( 10 )",
        "nvarchar(max)",
        "character varying(3)",
    ] {
        assert_eq!(parse_returns(text), Ok(DataType::Utf8), "{text}");
    }
    assert_eq!(parse_returns("double  precision"), Ok(DataType::Float64));
    assert_eq!(parse_returns("decimal"), Ok(DataType::Decimal128(10, 0)));
    assert_eq!(
        parse_returns("Numeric( 12 ,4 )"),
        Ok(DataType::Decimal128(12, 4))
    );
}

#[test]
fn nested_types_are_read_and_their_names_read_back() {
    let probabilities = || list_of(DataType::Float32);
    let label_and_p = struct_of([("label", DataType::Int64), ("p", probabilities())]);
    let cases = [
        ("array<float>", probabilities(), "ARRAY<FLOAT>"),
        ("Array < Float >", probabilities(), "ARRAY<FLOAT>"),
        ("float[]", probabilities(), "ARRAY<FLOAT>"),
        ("float[][]", list_of(probabilities()), "ARRAY<ARRAY<FLOAT>>"),
        (
            "map<string,double>",
            map_of(DataType::Utf8, DataType::Float64),
            "MAP<STRING, DOUBLE>",
        ),
        (
            "struct<label:bigint,p:array<float>>",
            label_and_p.clone(),
            "STRUCT<label: BIGINT, p: ARRAY<FLOAT>>",
        ),
        (
            "STRUCT<label BIGINT, `p`: array<float>>",
            label_and_p,
            "STRUCT<label: BIGINT, p: ARRAY<FLOAT>>",
        ),
        (
            "struct<`iris setosa`:float, `a``b`: decimal(5,2), 0: bigint unsigned>",
            struct_of([
                ("iris setosa", DataType::Float32),
                ("a`b", DataType::Decimal128(5, 2)),
                ("0", DataType::UInt64),
            ]),
            "STRUCT<`iris setosa`: FLOAT, `a``b`: DECIMAL(5,2), 0: BIGINT UNSIGNED>",
        ),
        (
            "(score real, label bigint)",
            struct_of([("score", DataType::Float32), ("label", DataType::Int64)]),
            "STRUCT<score: FLOAT, label: BIGINT>",
        ),
        (
            "( [the score] float NOT NULL, n tinyint null, t nvarchar(10) not null, f float(24), flag bit )",
            struct_of([
                ("the score", DataType::Float64),
                ("n", DataType::UInt8),
                ("t", DataType::Utf8),
                ("f", DataType::Float32),
                ("flag", DataType::Boolean),
            ]),
            "STRUCT<`the score`: DOUBLE, n: TINYINT UNSIGNED, t: STRING, f: FLOAT, flag: BOOLEAN>",
        ),
    ];
    for (text, meant, name) in cases {
        assert_eq!(parse_returns(text), Ok(meant.clone()), "{text}");
        assert_eq!(returns_name(&meant).unwrap(), name);
        assert_eq!(parse_returns(name), Ok(meant), "{name}");
    }
}

#[test]
fn what_is_not_a_type_is_refused_with_its_place_and_a_way_on() {
    let refused = [
        ("flaot", "'flaot' is not a type; did you mean FLOAT?"),
        ("DOUBEL", "'DOUBEL' is not a type; did you mean DOUBLE?"),
        ("", "'' is not a type; write one of BOOLEAN"),
        ("blob", "'blob' is not a type; write one of BOOLEAN"),
        (
            "varchar(x)",
            "'varchar(x)' is not a type: at letter 9, 'x' stands where a length is expected; types look like",
        ),
        ("float(3)", "'float(3)' is not a type; did you mean FLOAT?"),
        (
            "array<flaot>",
            "'array<flaot>' is not a type: at letter 7, 'flaot' is not a type; did you mean FLOAT?",
        ),
        (
            "array<float",
            "'array<float' is not a type: at letter 12, the end stands where '>' is expected; types look like",
        ),
        (
            "array",
            "'array' is not a type: at letter 6, ARRAY does not say of what; write ARRAY<FLOAT>",
        ),
        (
            "map<string>",
            "at letter 11, '>' stands where ',' is expected",
        ),
        (
            "struct<a:int,A:float>",
            "at letter 14, two fields are named 'a'; give every field its own name",
        ),
        (
            "struct<>",
            "at letter 8, '>' stands where a field's name is expected",
        ),
        (
            "struct<a:>",
            "at letter 10, '>' stands where a type is expected",
        ),
        (
            "(score real",
            "at letter 12, the end stands where ',' or ')' is expected",
        ),
        (
            "float, int",
            "at letter 6, ',' stands where the end is expected",
        ),
        (
            "decimal(40,2)",
            "DECIMAL(40,2) is not a type; write 1 to 38 digits",
        ),
        ("decimal(4,5)", "DECIMAL(4,5) is not a type"),
        ("date", "PREDICT cannot return DATE; write one of"),
        (
            "struct<t:timestamp>",
            "at letter 10, PREDICT cannot return TIMESTAMP",
        ),
        (
            "struct<`a:int>",
            "at letter 8, '`' stands where a name that ends in ` is expected",
        ),
    ];
    for (text, part) in refused {
        let error = parse_returns(text).unwrap_err();
        assert_eq!(error.code(), ErrorCode::Invalid, "{text}");
        assert!(error.to_string().contains(part), "{text}: {error}");
    }
    assert!(returns_name(&DataType::LargeUtf8).is_err());
}

#[test]
fn a_hostile_text_ends_in_an_error() {
    let deep = format!("{}int{}", "array<".repeat(5000), ">".repeat(5000));
    let wide = format!(
        "struct<{}>",
        (0..5000)
            .map(|n| format!("c{n}:int"))
            .collect::<Vec<_>>()
            .join(",")
    );
    let long = "x".repeat(1 << 20);
    for text in [
        deep.as_str(),
        &wide,
        &long,
        "array<\u{0}>",
        "ſtruct<a:int>",
        "(`",
    ] {
        let error = parse_returns(text).unwrap_err().to_string();
        assert!(error.len() < 600, "{error}");
    }
}
