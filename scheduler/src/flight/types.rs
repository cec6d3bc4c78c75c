//! The SQL types, as clients of the ODBC and JDBC kind ask for them.

use arrow_flight::sql::metadata::{XdbcTypeInfo, XdbcTypeInfoData, XdbcTypeInfoDataBuilder};
use arrow_flight::sql::{Nullable, Searchable, XdbcDataType, XdbcDatetimeSubcode};
use whimbrel_proto::Error;

use super::catalog::broken;

/// All of them.
pub(super) fn types() -> Result<XdbcTypeInfoData, Error> {
    let mut builder = XdbcTypeInfoDataBuilder::new();
    for info in numbers().into_iter().chain(others()) {
        builder.append(info);
    }
    builder.build().map_err(broken)
}

fn plain(name: &str, kind: XdbcDataType) -> XdbcTypeInfo {
    XdbcTypeInfo {
        type_name: name.to_owned(),
        local_type_name: Some(name.to_owned()),
        data_type: kind,
        sql_data_type: kind,
        nullable: Nullable::NullabilityNullable,
        searchable: Searchable::Full,
        case_sensitive: false,
        fixed_prec_scale: false,
        ..XdbcTypeInfo::default()
    }
}

fn numbers() -> Vec<XdbcTypeInfo> {
    let whole = |name, kind, digits, unsigned| XdbcTypeInfo {
        column_size: Some(digits),
        num_prec_radix: Some(10),
        unsigned_attribute: Some(unsigned),
        minimum_scale: Some(0),
        maximum_scale: Some(0),
        ..plain(name, kind)
    };
    let float = |name, kind, bits| XdbcTypeInfo {
        column_size: Some(bits),
        num_prec_radix: Some(2),
        unsigned_attribute: Some(false),
        ..plain(name, kind)
    };
    vec![
        whole("TINYINT", XdbcDataType::XdbcTinyint, 3, false),
        whole("SMALLINT", XdbcDataType::XdbcSmallint, 5, false),
        whole("INTEGER", XdbcDataType::XdbcInteger, 10, false),
        whole("BIGINT", XdbcDataType::XdbcBigint, 19, false),
        whole("TINYINT UNSIGNED", XdbcDataType::XdbcTinyint, 3, true),
        whole("SMALLINT UNSIGNED", XdbcDataType::XdbcSmallint, 5, true),
        whole("INTEGER UNSIGNED", XdbcDataType::XdbcInteger, 10, true),
        whole("BIGINT UNSIGNED", XdbcDataType::XdbcBigint, 20, true),
        float("REAL", XdbcDataType::XdbcReal, 24),
        float("DOUBLE", XdbcDataType::XdbcDouble, 53),
        XdbcTypeInfo {
            column_size: Some(38),
            num_prec_radix: Some(10),
            unsigned_attribute: Some(false),
            create_params: Some(vec!["precision".to_owned(), "scale".to_owned()]),
            minimum_scale: Some(0),
            maximum_scale: Some(38),
            ..plain("DECIMAL", XdbcDataType::XdbcDecimal)
        },
    ]
}

fn others() -> Vec<XdbcTypeInfo> {
    let quoted = |prefix: &str, info: XdbcTypeInfo| XdbcTypeInfo {
        literal_prefix: Some(prefix.to_owned()),
        literal_suffix: Some("'".to_owned()),
        ..info
    };
    let time = |name, kind, size, subcode| XdbcTypeInfo {
        column_size: Some(size),
        sql_data_type: XdbcDataType::XdbcDatetime,
        datetime_subcode: Some(subcode),
        ..plain(name, kind)
    };
    let text = XdbcTypeInfo {
        column_size: Some(i32::MAX),
        case_sensitive: true,
        ..plain("VARCHAR", XdbcDataType::XdbcVarchar)
    };
    let bytes = XdbcTypeInfo {
        column_size: Some(i32::MAX),
        ..plain("VARBINARY", XdbcDataType::XdbcVarbinary)
    };
    let date = time(
        "DATE",
        XdbcDataType::XdbcDate,
        10,
        // Number 1, which is also that of a date.
        XdbcDatetimeSubcode::XdbcSubcodeYear,
    );
    let clock = time(
        "TIME",
        XdbcDataType::XdbcTime,
        18,
        XdbcDatetimeSubcode::XdbcSubcodeTime,
    );
    let stamp = time(
        "TIMESTAMP",
        XdbcDataType::XdbcTimestamp,
        29,
        XdbcDatetimeSubcode::XdbcSubcodeTimestamp,
    );
    vec![
        plain("BOOLEAN", XdbcDataType::XdbcBit),
        quoted("'", text),
        quoted("X'", bytes),
        quoted("DATE '", date),
        quoted("TIME '", clock),
        quoted("TIMESTAMP '", stamp),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_type_is_listed_once_and_can_be_asked_for_alone() {
        let types = types().unwrap();
        assert_eq!(types.record_batch(None).unwrap().num_rows(), 17);
        let bigint = XdbcDataType::XdbcBigint as i32;
        assert_eq!(types.record_batch(bigint).unwrap().num_rows(), 2);
    }
}
