//! Each kind of identity gets a token that a region accepts, for the scope of its family of addresses.
use sealane::azure::UserAssigned;

use super::*;
use crate::support::process::Folder;

#[tokio::test]
async fn a_client_secret_gets_a_token_for_each_family_of_addresses() {
    for (path, audience) in styles() {
        let world = World::start(3600);
        let azure = world.azure(vec![world.resource(client_secret(), path)]);
        call(&azure).await.unwrap();
        let claims = claims(&bearer(&world.region));
        assert_eq!((claims["aud"].as_str(), claims["appid"].as_str()), (Some(audience), Some("application")));
        let url = "Post https://login.test/simulated-tenant/oauth2/v2.0/token";
        assert_eq!(*world.asked.lock().unwrap(), [url]);
    }
}

#[tokio::test]
async fn the_scope_may_be_set_and_one_identity_is_asked_for_once() {
    let world = World::start(3600);
    let resource = |name: &str, scope: Option<&str>| {
        let entra = Entra { identity: Arc::new(client_secret()), scope: scope.map(Into::into) };
        let plain = world.resource(client_secret(), dated());
        ResourceSettings { name: name.into(), credential: Credential::Entra(entra), ..plain }
    };
    let azure = world.azure(vec![
        resource("one", Some("https://own.test/.default")),
        resource("two", Some("https://own.test/.default")),
        resource("three", None),
    ]);
    for (index, audience) in [(0, "https://own.test"), (1, "https://own.test"), (2, styles()[0].1)] {
        azure.models(index, patient().total).await.unwrap();
        assert_eq!(claims(&bearer(&world.region))["aud"], audience);
    }
    assert_eq!(world.identity.requests(), 2, "one for each scope");
}

#[tokio::test]
async fn embeddings_on_the_dated_path_have_a_scope_of_their_own() {
    let world = World::start(3600);
    let mixed = ResourceSettings { embeddings_path: dated(), ..world.resource(client_secret(), PathStyle::V1) };
    let azure = world.azure(vec![mixed]);
    call(&azure).await.unwrap();
    assert_eq!(claims(&bearer(&world.region))["aud"], "https://ai.azure.com");
    let request = sealane_core::domain::EmbedRequest { inputs: vec!["a".into()], ..Default::default() };
    azure.embed(&order("text-embedding-3-large", patient()), &request).await.unwrap();
    assert_eq!(claims(&bearer(&world.region))["aud"], "https://cognitiveservices.azure.com");
}

#[tokio::test]
async fn the_clusters_token_is_read_again_for_every_exchange() {
    let world = World::start(1);
    let folder = Folder::new("entra-workload");
    let token_file = folder.write("federated", "cluster-token-1\n").into();
    world.identity.trust(["cluster-token-1".to_owned().into()]);
    let workload = Identity::Workload {
        tenant_id: "simulated-tenant".into(),
        client_id: "application".into(),
        token_file,
        authority: "https://login.test/".parse().unwrap(),
    };
    let azure = world.azure(vec![world.resource(workload, dated())]);
    call(&azure).await.unwrap();
    // From now on only the next token of the cluster is worth anything.
    folder.write("federated", "cluster-token-2\n");
    world.identity.trust(["cluster-token-2".to_owned().into()]);
    let first = bearer(&world.region);
    crate::support::service::eventually("a token for the new one", async || {
        call(&azure).await.is_ok() && bearer(&world.region) != first
    })
    .await;
}

#[tokio::test]
async fn a_virtual_machine_asks_its_metadata_service() {
    for (assigned, id) in [
        (None, ""),
        (Some(UserAssigned::Client("application".into())), "&client_id=application"),
        (Some(UserAssigned::Object("principal".into())), "&object_id=principal"),
        (Some(UserAssigned::Resource("/subscriptions/s".into())), "&msi_res_id=%2Fsubscriptions%2Fs"),
    ] {
        let world = World::start(3600);
        let azure = world.azure(vec![world.resource(Identity::Managed(assigned), dated())]);
        call(&azure).await.unwrap();
        let url = "Get http://169.254.169.254/metadata/identity/oauth2/token?api-version=2019-08-01&resource=https%3A%2F%2Fcognitiveservices.azure.com";
        assert_eq!(*world.asked.lock().unwrap(), [format!("{url}{id}")]);
    }
}
