//! A key that this server holds: which of its values an operation goes up with, and what its refusal is called.
#![allow(clippy::unwrap_used)]

use super::{testing::*, *};
use crate::{
    error::Applied,
    model::{ApiKey, HeldKey, WorkspaceKey},
};

fn held() -> (Context, HeldKey) {
    let (mut ctx, key) = (ctx(), HeldKey::new(ApiKey::new("one")));
    ctx.workspace.key = WorkspaceKey::Held(key.clone());
    (ctx, key)
}

fn key_of(call: &Call) -> String {
    call.request.headers()["x-api-key"].to_str().unwrap().to_owned()
}

/// What each of the four operations comes to, as an error.
async fn errors(client: &Client, ctx: &Context) -> Vec<Error> {
    let (campaign, id) = (campaign(), message_id("m1"));
    let Outcome::Refused(added) = add(client, ctx, &batch(&["a", "b"])).await else { panic!() };
    vec![
        client.get_message(ctx, &campaign, &id).await.unwrap_err(),
        client.list_messages(ctx, &campaign, Slice { offset: 0, limit: 1 }).await.unwrap_err(),
        added,
        client.cancel_message(ctx, &campaign, &id).await.unwrap_err(),
    ]
}

#[tokio::test]
async fn the_refusal_of_a_held_key_is_its_operators_matter_and_that_of_a_callers_key_the_callers() {
    let (client, _) = scripted(vec![answer(401, "Missing or invalid API key")]);
    for error in errors(&client, &held().0).await {
        assert_eq!((error.reason(), error.applied()), (Reason::UpstreamKeyRefused, Applied::No));
        assert!(error.message().contains("operator"), "{error}");
    }
    for error in errors(&client, &ctx()).await {
        assert_eq!(error.reason(), Reason::ApiKeyInvalid);
    }
}

#[tokio::test(start_paused = true)]
async fn an_operation_goes_up_with_the_key_of_its_beginning_and_the_next_with_the_new_one() {
    let (client, attempts) =
        scripted(vec![answer(503, ""), answer(503, ""), answer(200, r#"{"id":"m1","status":"SENT"}"#)]);
    let (ctx, key) = held();
    let renewal = async {
        while attempts.count() == 0 {
            tokio::task::yield_now().await;
        }
        key.renew(ApiKey::new("two"));
    };
    let (campaign, id) = (campaign(), message_id("m1"));
    let (read, ()) = tokio::join!(client.get_message(&ctx, &campaign, &id), renewal);
    read.unwrap();
    client.get_message(&ctx, &campaign, &id).await.unwrap();
    let keys: Vec<String> = attempts.calls().iter().map(key_of).collect();
    assert_eq!(keys, ["one", "one", "one", "two"]);
}
