//! Text in every packing and encoding, in pieces of every size, over an in-memory store.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema};
use async_compression::tokio::write::{BzEncoder, GzipEncoder, XzEncoder, ZstdEncoder};
use bytes::Bytes;
use datafusion::error::Result;
use datafusion::object_store::memory::InMemory;
use datafusion::object_store::path::Path;
use datafusion::object_store::{ObjectStore, ObjectStoreExt};
use futures::stream::{self, BoxStream};
use futures::{StreamExt, TryStreamExt};
use tokio::io::AsyncWriteExt;

use super::header::{Marks, checked};
use super::*;
use crate::error::find;

const PACKINGS: [Compression; 4] = [
    Compression::Gzip,
    Compression::Zstd,
    Compression::Bzip2,
    Compression::Xz,
];

async fn pack(bytes: &[u8], compression: Compression) -> Vec<u8> {
    macro_rules! packed {
        ($encoder:ident) => {{
            let mut encoder = $encoder::new(Vec::new());
            encoder.write_all(bytes).await.unwrap();
            encoder.shutdown().await.unwrap();
            encoder.into_inner()
        }};
    }
    match compression {
        Compression::None => bytes.to_vec(),
        Compression::Gzip => packed!(GzipEncoder),
        Compression::Zstd => packed!(ZstdEncoder),
        Compression::Bzip2 => packed!(BzEncoder),
        Compression::Xz => packed!(XzEncoder),
    }
}

async fn read(name: &str, bytes: Vec<u8>, reading: &Reading) -> Result<Vec<u8>> {
    let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    let location = Path::from(name);
    store.put(&location, bytes.into()).await?;
    let piece = Piece {
        location: &location,
        shown: name,
        range: None,
    };
    let text = sniffed(open(&store, piece, reading).await?, name).await?;
    let pieces: Vec<Bytes> = text.try_collect().await?;
    Ok(pieces.concat())
}

fn told(result: Result<Vec<u8>>) -> String {
    find(&result.unwrap_err()).unwrap().message().to_owned()
}

#[tokio::test]
async fn packed_files_are_read_to_their_end_or_not_at_all() {
    let text: Vec<u8> = (0..20_000)
        .flat_map(|n| format!("{n},row {n}\n").into_bytes())
        .collect();
    let (head, tail) = text.split_at(text.len() / 3);
    for compression in PACKINGS {
        let ending = match compression {
            Compression::Gzip => "gz",
            Compression::Zstd => "zst",
            Compression::Bzip2 => "bz2",
            Compression::Xz => "xz",
            Compression::None => "",
        };
        let name = format!("a.csv.{ending}");
        let plain = Reading::default();
        let one = pack(&text, compression).await;
        assert_eq!(
            read(&name, one.clone(), &plain).await.unwrap(),
            text,
            "{ending}"
        );
        // Two files written one behind the other, as parallel packers do.
        let two = [pack(head, compression).await, pack(tail, compression).await].concat();
        assert_eq!(
            read(&name, two, &plain).await.unwrap(),
            text,
            "{ending} in two"
        );
        let asked = Reading {
            compression: Some(compression),
            ..Reading::default()
        };
        assert_eq!(read("a.csv", one.clone(), &asked).await.unwrap(), text);
        for length in [one.len() / 2, one.len() - 3] {
            let short = told(read(&name, one[..length].to_vec(), &plain).await);
            assert!(
                short.starts_with(&format!("'{name}' cannot be unpacked as ")),
                "{short}"
            );
        }
        let other = told(read(&name, b"id,fare\n1,2\n".to_vec(), &plain).await);
        assert!(other.contains("cannot be unpacked as"), "{other}");
        if compression != Compression::Bzip2 {
            let hidden = told(read("a.csv", one, &plain).await);
            assert!(hidden.starts_with("'a.csv' is packed with "), "{hidden}");
        }
    }
}

#[tokio::test]
async fn other_encodings_become_utf8_and_their_marks_go() {
    let text = "id,straße\n1,„x“ 😀\n";
    let units = |big: bool| -> Vec<u8> {
        let unit = |unit: u16| {
            if big {
                unit.to_be_bytes()
            } else {
                unit.to_le_bytes()
            }
        };
        std::iter::once(0xfeff)
            .chain(text.encode_utf16())
            .flat_map(unit)
            .collect()
    };
    let utf16 = Reading {
        encoding: Encoding::Utf16,
        ..Reading::default()
    };
    for big in [true, false] {
        assert_eq!(
            read("a", units(big), &utf16).await.unwrap(),
            text.as_bytes()
        );
        let undeclared = told(read("a", units(big), &Reading::default()).await);
        assert_eq!(undeclared, "'a' is not UTF-8 but UTF-16");
    }
    // Cut into pieces of one byte, letters and their halves come in parts.
    let bytes = units(true)
        .into_iter()
        .map(|byte| Ok(Bytes::from(vec![byte])));
    let pieces = encoding::as_utf8(stream::iter(bytes).boxed(), Encoding::Utf16, "a");
    assert_eq!(
        pieces.try_collect::<Vec<_>>().await.unwrap().concat(),
        text.as_bytes()
    );
    let mut half = units(false);
    half.pop();
    assert_eq!(
        told(read("a", half, &utf16).await),
        "'a' is not UTF-16 throughout"
    );

    let single = |encoding| Reading {
        encoding,
        ..Reading::default()
    };
    let latin = read("a", b"stra\xdfe \x80".to_vec(), &single(Encoding::Latin1))
        .await
        .unwrap();
    assert_eq!(latin, "straße \u{80}".as_bytes());
    let windows = single(Encoding::Windows1252);
    let windows = read("a", b"\x84x\x93 \x80\xff".to_vec(), &windows)
        .await
        .unwrap();
    assert_eq!(windows, "„x“ €ÿ".as_bytes());
    let marked = read("a", b"\xef\xbb\xbfid\n1\n".to_vec(), &Reading::default())
        .await
        .unwrap();
    assert_eq!(marked, b"id\n1\n");
    assert_eq!(
        read("a", Vec::new(), &Reading::default()).await.unwrap(),
        b""
    );
}

fn pieces(text: &str, length: usize) -> BoxStream<'static, Result<Bytes>> {
    let pieces: Vec<_> = text
        .as_bytes()
        .chunks(length)
        .map(Bytes::copy_from_slice)
        .collect();
    stream::iter(pieces.into_iter().map(Ok)).boxed()
}

#[tokio::test]
async fn a_header_is_that_of_the_table_or_an_error() {
    let columns = Schema::new(vec![
        Field::new("id", DataType::Int64, true),
        Field::new("a \"b\", c", DataType::Utf8, true),
    ]);
    let marks = Marks {
        delimiter: b',',
        quote: b'"',
        comment: Some(b'#'),
    };
    for text in [
        "id,\"a \"\"b\"\", c\"\n1,x\n",
        "\r\nID,\"a \"\"b\"\", c\"\r\n1,x",
        "# note\nid,\"a \"\"b\"\", c\"",
        "",
    ] {
        for length in [1, 3, 1000] {
            let text_of = pieces(text, length);
            let read = checked(text_of, marks, &columns, "x").await.unwrap();
            let read = read.try_collect::<Vec<_>>().await.unwrap().concat();
            assert_eq!(read, text.as_bytes());
        }
    }
    for (text, want) in [
        ("id\n1\n", "its header has 1 columns, not 2"),
        ("b,id\n", "it has the column 'b' where 'id' is expected"),
        ("1,x\n2,y\n", "it has the column '1' where 'id' is expected"),
    ] {
        let error = checked(pieces(text, 2), marks, &columns, "x")
            .await
            .err()
            .unwrap();
        let told = find(&error).unwrap().message().to_owned();
        assert_eq!(told, format!("csv file 'x' does not fit its table: {want}"));
    }
}
