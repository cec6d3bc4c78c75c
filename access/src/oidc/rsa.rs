//! Two tokens that an RSA key signed, and its public half: the private one was thrown away, and ring makes no RSA keys for a
//! test to sign with.

/// The key's modulus; its exponent is 65537.
pub(super) const MODULUS: &str = concat!(
    "55vucE8RtM1GLP-SroRUw0r1oW0w0PyKeReRxCS3_zshuoCQC4V7deM1WH6PgFvTzs1dECpl5rjtV-AYCXVZRo4pq5NJJ1Bo",
    "zVYCYzdYNDv8U_WjbWNx4vGFfUTx1xwfjmq8gM8CqkXbuYJNIBJy3yhyb01l_q6t1g8QLXINgYcgvhjcbJ3QcE2KGN3-",
    "2zj6WNC8LS1K_yu8UBkkbLYw_DRcS2G9lQTeF_Ecdxo9EkyAISMJpaTempSG3dlOkBUpduH7kw4JVRAUZG-",
    "czx0KOODmQqH00V9ONdda2p2UyRCwj2Fdz7QDamF48hQedoCHeBfbuoU-HViDQ9oC8HgWrw",
);

/// The RS256 signature of `{"alg":"RS256","kid":"rsa"}` and [`CLAIMS`].
pub(super) const RS256: &str = concat!(
    "kk8obeAYx6jRzdsCcKQ-qZOZn4-INdaT4JyjJfv-",
    "L4cvzjYR08qmyqRJtePRFTN92rvOhntxRplK75OU7hGDB3GgXXn_G6hTyKGQPhHPxlnngiKx8EXsqNT4TIgAE0rD6sP8LPtk",
    "eyhBjdrxsQlH6C2KyJ6sgPArlvNEmcwZ2dPqVFEE0L6DHGARz_8qYWHzsF0ynQTjNqfDEiKENa-Wyrk0DbWLrl7kxrDaDxj3",
    "jMtXMjhzFiKJO4vHdfBPrH63SRv5x9Ier9hJXPjvRNK8Azz33WpYqlkv18sgXliCmW7lEgHHg3rwt0XgxJPyTmlT6g2cqY82",
    "zOJuv-0McYsLbw",
);

/// The PS256 signature of `{"alg":"PS256","kid":"rsa"}` and [`CLAIMS`].
pub(super) const PS256: &str = concat!(
    "ItbGEpnBTuRv-ZFLYCt_1MjJBBhJFAVrdsY_Htup-umqmWVlrOO6uCFD9sy-ftieqvl8onCaBYT6rUMmmaHts8ZOyy6q9qR4",
    "MZtaMkBATE9aYCcZykgrQwjZvm8gCJm3uFBINfnjFXWPLsw1wQlI1JT0-",
    "2eu0y2WekcwJmLXNEyzpMxDxiFNtLli3QkaImwCZZKEgQvWNCGAsNPWpMTkLVK4Sosoy-",
    "lNajqLxdNM9GhxU0ox2T2H9sd8vLOKWgNi7eKcd6XPy0jbAi2k7o-Z_Ydsbtc-",
    "di39VKWvzd6GWsvhFN0O_zX17PZLQdWVgrOobrHANidfp2qX_Sdy2TKnIg",
);

/// What was signed.
pub(super) const CLAIMS: &str = r#"{"iss":"https://login.example","aud":"whimbrel","sub":"ann","roles":["scorer"],"exp":4102444800}"#;
