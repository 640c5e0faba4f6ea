//! Reads Prometheus' text format, and the port that carries it.
use std::{collections::BTreeMap, net::SocketAddr};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

/// Head and body of what the port answers.
pub async fn get(ops: SocketAddr, path: &str) -> (String, String) {
    ask(ops, &format!("GET {path} HTTP/1.1\r\nhost: ops\r\n\r\n")).await
}

/// Head and body of the answer to a request in its own words.
pub async fn ask(ops: SocketAddr, request: &str) -> (String, String) {
    let mut stream = TcpStream::connect(ops).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no head: {answer}"));
    (head.to_owned(), body.to_owned())
}

pub type Labels = BTreeMap<String, String>;

/// One scrape.
#[derive(Debug, Default)]
pub struct Exposition {
    /// Name to type.
    pub families: BTreeMap<String, String>,
    series: BTreeMap<String, Vec<(Labels, f64)>>,
}

impl Exposition {
    pub fn parse(text: &str) -> Self {
        let mut parsed = Self::default();
        for line in text.lines() {
            if let Some(family) = line.strip_prefix("# TYPE ") {
                let (name, kind) = family.split_once(' ').unwrap();
                assert!(parsed.families.insert(name.into(), kind.into()).is_none(), "{name} is there twice");
            } else if !line.starts_with('#') && !line.is_empty() {
                let (series, value) = line.rsplit_once(' ').unwrap();
                let (name, labels) = series.split_once('{').unwrap_or((series, "}"));
                let labels = parsed_labels(labels.strip_suffix('}').unwrap());
                let known = parsed.series.entry(name.to_owned()).or_default();
                assert!(!known.iter().any(|(other, _)| *other == labels), "twice: {line}");
                known.push((labels, value.parse().unwrap()));
            }
        }
        parsed
    }

    /// All series of one name.
    pub fn series(&self, name: &str) -> &[(Labels, f64)] {
        self.series.get(name).unwrap_or_else(|| panic!("no series {name}"))
    }

    /// The series of a metric, a histogram's three names included.
    pub fn of_family<'a>(&'a self, family: &'a str) -> impl Iterator<Item = &'a (Labels, f64)> {
        let ours = move |name: &str| {
            let rest = name.strip_prefix(family);
            matches!(rest, Some("" | "_bucket" | "_sum" | "_count"))
        };
        self.series.iter().filter(move |(name, _)| ours(name)).flat_map(|(_, series)| series)
    }

    /// The sum of all series that have these labels; there must be one.
    pub fn sum(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        let has = |series: &Labels| labels.iter().all(|(name, value)| series.get(*name).is_some_and(|it| it == value));
        let found: Vec<f64> = self.series(name).iter().filter(|(series, _)| has(series)).map(|(_, v)| *v).collect();
        assert!(!found.is_empty(), "no {name} with {labels:?} in {:#?}", self.series(name));
        found.into_iter().sum()
    }
}

/// `a="b",c="d"`; the values of these tests hold no quotes and no commas.
fn parsed_labels(text: &str) -> Labels {
    let pair = |pair: &str| {
        let (name, value) = pair.split_once('=').unwrap_or_else(|| panic!("no label: {pair}"));
        (name.to_owned(), value.trim_matches('"').to_owned())
    };
    text.split(',').filter(|pair| !pair.is_empty()).map(pair).collect()
}
