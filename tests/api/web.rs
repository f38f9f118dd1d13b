//! gRPC-Web, as a browser's page speaks it.

use blubash_grpc::{
    pb,
    sandbox::{self, Options, SEEDED, SEEDED_MESSAGES},
};
use prost::Message as _;
use reqwest::{Client, Method, Response, StatusCode};

use crate::{
    harness::{App, keyed},
    tls,
};

const ORIGIN: &str = "https://app.example";
const METHOD: &str = "blubash.campaigns.v1.CampaignsService/GetMessage";

fn frame(id: &str) -> Vec<u8> {
    let request =
        pb::GetMessageRequest { campaign_id: SEEDED.into(), message_id: id.into(), max_staleness: None };
    let message = request.encode_to_vec();
    [&[0], &u32::try_from(message.len()).unwrap().to_be_bytes()[..], &message].concat()
}

fn client(http2: bool) -> Client {
    let builder = Client::builder().no_proxy();
    if http2 { builder.http2_prior_knowledge() } else { builder.http1_only() }.build().unwrap()
}

async fn get(client: &Client, app: &App, origin: &str, id: &str) -> Response {
    client
        .post(format!("{}/{METHOD}", app.address))
        .header("content-type", "application/grpc-web+proto")
        .header("x-grpc-web", "1")
        .header("x-api-key", sandbox::ACME_API_KEY)
        .header("origin", origin)
        .body(frame(id))
        .send()
        .await
        .unwrap()
}

async fn app() -> App {
    App::with(Options::default(), &["--web-origin", ORIGIN, "--web-origin", "http://localhost:8080"]).await
}

#[tokio::test]
async fn a_page_of_a_named_origin_gets_its_answer_over_either_http() {
    let app = app().await;
    for http2 in [false, true] {
        let answer = get(&client(http2), &app, ORIGIN, SEEDED_MESSAGES[0]).await;
        assert_eq!(answer.headers()["access-control-allow-origin"], ORIGIN);
        assert_eq!(answer.headers()["content-type"], "application/grpc-web+proto");
        let body = answer.bytes().await.unwrap();
        let length = u32::from_be_bytes(body[1..5].try_into().unwrap()) as usize;
        let message = pb::GetMessageResponse::decode(&body[5..5 + length]).unwrap().message.unwrap();
        assert_eq!(message.message_id, SEEDED_MESSAGES[0]);
        let trailers = &body[5 + length..];
        assert_eq!(trailers[0], 0x80);
        assert!(String::from_utf8_lossy(trailers).contains("grpc-status:0"));
    }
}

#[tokio::test]
async fn a_refusal_shows_its_status_and_its_details_to_the_page() {
    let app = app().await;
    let answer = get(&client(false), &app, ORIGIN, "msg-unknown").await;
    let exposed = answer.headers()["access-control-expose-headers"].to_str().unwrap().to_owned();
    for name in ["grpc-status", "grpc-message", "grpc-status-details-bin"] {
        assert!(exposed.contains(name), "{exposed}");
        let shown = answer.headers().contains_key(name);
        assert!(shown, "{name} is where a page can read it");
    }
    assert_eq!(answer.headers()["grpc-status"], "5");
}

#[tokio::test]
async fn a_browser_is_told_what_pages_may_do_before_they_do_it_and_strangers_nothing() {
    let app = app().await;
    for (origin, allowed) in
        [(ORIGIN, true), ("http://localhost:8080", true), ("https://evil.example", false)]
    {
        let answer = client(false)
            .request(Method::OPTIONS, format!("{}/{METHOD}", app.address))
            .header("origin", origin)
            .header("access-control-request-method", "POST")
            .header("access-control-request-headers", "x-api-key,content-type,x-grpc-web,authorization")
            .send()
            .await
            .unwrap();
        assert_eq!(answer.status(), StatusCode::OK);
        let told = answer.headers().get("access-control-allow-origin");
        assert_eq!(told.map(|value| value.to_str().unwrap()), allowed.then_some(origin));
        if allowed {
            let headers = answer.headers()["access-control-allow-headers"].to_str().unwrap();
            assert!(headers.contains("x-api-key") && headers.contains("authorization"), "{headers}");
            assert!(!answer.headers().contains_key("access-control-allow-credentials"));
        }
    }
}

#[tokio::test]
async fn native_callers_are_served_beside_and_what_is_neither_is_refused() {
    let app = app().await;
    app.get(SEEDED, SEEDED_MESSAGES[0]).await.unwrap();
    let request = pb::WatchMessagesRequest { campaign_id: SEEDED.into(), ..Default::default() };
    let mut watch = app.client.clone().watch_messages(keyed(request)).await.unwrap().into_inner();
    watch.message().await.unwrap().unwrap();
    let answer = client(false).get(format!("{}/", app.address)).send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn without_a_named_origin_only_http2_is_spoken() {
    let app = App::start().await;
    let answer = client(false).post(format!("{}/{METHOD}", app.address)).body(frame("m")).send().await;
    assert!(answer.is_err());
    let answer = get(&client(true), &app, ORIGIN, SEEDED_MESSAGES[0]).await;
    assert!(!answer.headers().contains_key("access-control-allow-origin"));
}

#[tokio::test]
async fn over_tls_a_browser_may_choose_either_http() {
    let authority = tls::Authority::new();
    let mut flags = authority.flags(false);
    flags.push(format!("--web-origin={ORIGIN}"));
    let app = tls::app(&flags).await;
    let root = reqwest::Certificate::from_pem(&std::fs::read(authority.path("ca.pem")).unwrap()).unwrap();
    let port = app.address.rsplit(':').next().unwrap();
    for http1 in [true, false] {
        let builder = Client::builder().no_proxy().tls_certs_only([root.clone()]);
        let client = if http1 { builder.http1_only() } else { builder }.build().unwrap();
        let answer = client
            .post(format!("https://localhost:{port}/{METHOD}"))
            .header("content-type", "application/grpc-web+proto")
            .header("x-api-key", sandbox::ACME_API_KEY)
            .header("origin", ORIGIN)
            .body(frame(SEEDED_MESSAGES[0]))
            .send()
            .await
            .unwrap();
        let version = if http1 { http::Version::HTTP_11 } else { http::Version::HTTP_2 };
        assert_eq!((answer.version(), answer.status()), (version, StatusCode::OK));
    }
}
