//! What the configuration refuses about callers and certificates, and where it says so.
use super::{
    pki::{Authority, Time},
    world::{Folder, TLS},
};

const NOWHERE: [std::net::SocketAddr; 2] =
    [std::net::SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 1); 2];

fn folder() -> Folder {
    let (folder, authority) = (Folder::new(), Authority::named("test"));
    folder.write_pair("server", &authority.server(Time::Now));
    folder.write_pair("other", &authority.server(Time::Now));
    folder.write_pair("old", &authority.server(Time::Over));
    folder.write_pair("early", &authority.server(Time::ToCome));
    folder.write("clients.pem", &authority.pem());
    folder.write("token", "token-of-somebody-or-other");
    folder.write("short", "short");
    folder.write("nonsense", "neither certificate nor key");
    folder
}

#[test]
fn what_cannot_be_is_refused_with_its_line() {
    let folder = folder();
    let tls = |certificate: &str, key: &str| {
        format!("tls:\n  certificate: {{ file: {certificate} }}\n  key: {{ file: {key} }}\n")
    };
    let caller = |rest: &str| format!("{TLS}callers:\n  - {{ name: a, policy: unrestricted, {rest} }}\n");
    let two = |rest: &str| {
        format!(
            "{TLS}callers:\n  - {{ name: a, policy: unrestricted, {rest} }}\n  - {{ name: b, policy: unrestricted, {rest} }}\n"
        )
    };
    for (what, more, expected, line) in [
        ("no file", tls("missing.pem", "server.key"), "certificate: cannot read the file `", 12),
        ("no key file", tls("server.pem", "missing.key"), "key: cannot read the file `", 13),
        ("mismatch", tls("server.pem", "other.key"), "key: certificate and key do not belong together", 13),
        ("expired", tls("old.pem", "old.key"), "certificate: the certificate expired at Wed, 01 Jan 2020", 12),
        ("not yet", tls("early.pem", "early.key"), "certificate: the certificate is not valid before", 12),
        ("no certificate in it", tls("nonsense", "server.key"), "certificate: there is no PEM certificate", 12),
        ("no key in it", tls("server.pem", "nonsense"), "key: there is no PEM private key", 13),
        (
            "key in the file itself",
            "tls:\n  certificate: { file: server.pem }\n  key: MIIE1234\n".into(),
            "key: secrets are not written into this file",
            13,
        ),
        (
            "no authority",
            format!("{}  client_ca: {{ file: nonsense }}\n", tls("server.pem", "server.key")),
            "client_ca: there is no PEM certificate",
            14,
        ),
        (
            "certificates without authorities",
            format!(
                "{}callers: [{{ name: a, policy: unrestricted, certificate: {{ san: [a.b] }} }}]\n",
                tls("server.pem", "server.key")
            ),
            "certificates need `tls.client_ca`",
            14,
        ),
        ("no credential", caller("operator: true"), "caller `a` has neither a token nor a certificate", 13),
        ("no names", caller("certificate: { san: [] }"), "caller `a` has neither a token nor a certificate", 13),
        (
            "wildcard",
            caller("certificate: { san: ['*.b'] }"),
            "`*.b` is neither a DNS name nor a URI; wildcards are not taken",
            13,
        ),
        (
            "one name, two callers",
            two("certificate: { san: [a.b] }"),
            "callers `a` and `b` have the same name `a.b`",
            14,
        ),
        ("one token, two callers", two("tokens: [{ file: token }]"), "callers `a` and `b` have the same token", 14),
        (
            "unknown model",
            caller("token: { file: token }, models: [gpt-5o]"),
            "there is no model `gpt-5o`, did you mean `gpt-4o`?",
            13,
        ),
        (
            "no calls",
            caller("token: { file: token }, limits: { calls_per_minute: 0 }"),
            "`calls_per_minute` must be at least 1",
            13,
        ),
        (
            "unknown limit",
            caller("token: { file: token }, limits: { calls_per_hour: 1 }"),
            "unknown key `calls_per_hour`, did you mean `calls_per_minute`?",
            13,
        ),
    ] {
        let problems = folder.configure(&NOWHERE, &more).map(drop).expect_err(what);
        let found = problems.list.iter().find(|problem| problem.message.contains(expected));
        let found = found.unwrap_or_else(|| panic!("{what}: {problems}"));
        assert_eq!(found.place.line, line, "{what}: {problems}");
        assert!(!problems.to_string().contains("MIIE1234"), "{what}: {problems}");
    }
}

#[test]
fn what_looks_wrong_is_told() {
    let folder = folder();
    let unused = folder.configure(&NOWHERE, TLS).unwrap();
    assert!(
        unused.warnings[0].ends_with(":11: `client_ca` has no effect: no caller has a `certificate`"),
        "{:?}",
        unused.warnings
    );
    let short = "callers: [{ name: a, policy: unrestricted, tokens: [{ file: token }, { file: short }] }]\n";
    let short = folder.configure(&NOWHERE, short).unwrap();
    assert!(
        short.warnings[0].ends_with("the token of caller `a` is shorter than 16 characters"),
        "{:?}",
        short.warnings
    );
    assert_eq!(short.callers[0].tokens.len(), 2);
}
