//! What the configuration declares: refused where it differs, and the id that callers get.
use super::*;

fn load(estate: &Estate, change: impl Fn(String) -> String) -> Result<Config, String> {
    let key = |_: &str| Some("simulated-key".to_owned());
    Config::from_yaml(&change(estate.yaml("")), "sealane.yaml", key).map_err(|problems| problems.to_string())
}

/// The primary's line stands on line 12, the standby's on the next.
const PRIMARY: &str = "{ resource: swc, deployment: text-embedding-3-large, sku: Standard";
const STANDBY: &str = "{ resource: frc, deployment: text-embedding-3-large, sku: Standard";

#[tokio::test]
async fn targets_that_declare_different_spaces_are_refused_and_both_are_named() {
    let estate = Estate::start("declared");
    let declare = |target: &'static str, what: &'static str| {
        move |yaml: String| yaml.replacen(target, &format!("{target}, embedding: {{ {what} }}"), 1)
    };
    for (target, what, told) in [
        (STANDBY, "dimensions: 1536", ["`3072`", "`1536` have different dimensions"]),
        (PRIMARY, "dimensions: 1536", ["`1536`", "`3072` have different dimensions"]),
        (STANDBY, "version: \"2\"", ["`1`", "`2` have different version"]),
        (
            STANDBY,
            "model: text-embedding-3-small",
            ["`text-embedding-3-large`", "`text-embedding-3-small` have different model"],
        ),
    ] {
        let refused = load(&estate, declare(target, what)).unwrap_err();
        let names =
            ["`text-embedding-3-large` at `swc` (line 12) ", " and `text-embedding-3-large` at `frc` (line 13) "];
        let expected = format!("{}{}{}{}", names[0], told[0], names[1], told[1]);
        assert!(refused.contains(&expected), "{what}: {refused}");
        assert!(refused.contains("vectors of two kinds in one route would corrupt every index"), "{refused}");
    }
    for (name, change, told) in [
        ("too long", "embedding: { dimensions: 4096 }", "has vectors of 3072 numbers, it cannot give 4096"),
        (
            "never shortened",
            "embedding: { model: text-embedding-ada-002, dimensions: 256 }",
            "`text-embedding-ada-002` has vectors of 1536 numbers, it cannot give 256",
        ),
        ("none", "embedding: { dimensions: 0 }", "`dimensions` must be from 1 to 65536"),
    ] {
        let yaml = |yaml: String| yaml.replacen("kind: embedding\n", &format!("kind: embedding\n    {change}\n"), 1);
        let refused = load(&estate, yaml).unwrap_err();
        assert!(refused.contains(told), "{name}: {refused}");
        assert_eq!(refused.matches(told).count(), 1, "{name} is told once: {refused}");
    }
    // Of a server's own model nobody need know a version, and one may know it better than another.
    let own = |yaml: String| {
        yaml.replace("name: text-embedding-3-large", "name: minilm").replacen(
            "kind: embedding\n",
            "kind: embedding\n    embedding: { dimensions: 384 }\n",
            1,
        )
    };
    let space = |config: Config| config.routes.targets()[0].embedding_space.as_ref().unwrap().to_string();
    assert_eq!(space(load(&estate, own).unwrap()), "minilm/384");
    let stated = |yaml: String| declare(STANDBY, "version: \"6\"")(own(yaml));
    assert_eq!(space(load(&estate, stated).unwrap()), "minilm/6/384");
}

#[tokio::test]
async fn replies_carry_the_id_of_the_space_with_the_length_that_was_asked_for() {
    let estate = Estate::start("ids");
    let service = estate.serve().await;
    let reply = service.embed("one text", None).await.unwrap();
    assert_eq!((reply.dimensions, reply.embedding_space.as_str()), (3072, "text-embedding-3-large/1/3072"));
    let reply = service.embed("one text", Some(256)).await.unwrap();
    assert_eq!((reply.dimensions, reply.embedding_space.as_str()), (256, "text-embedding-3-large/1/256"));
}

/// A length that the file declares is what callers get, who need not know it.
#[tokio::test]
async fn a_declared_length_is_asked_for() {
    let estate = Estate::start("shortened");
    let service = estate.serve_as("    embedding: { dimensions: 1024 }\n", often()).await;
    service.both_compared().await;
    let reply = service.embed("one text", None).await.unwrap();
    assert_eq!((reply.dimensions, reply.embedding_space.as_str()), (1024, "text-embedding-3-large/1/1024"));
    assert_eq!(service.overlay(SWC).await, pb::Overlay::Unspecified);
}
