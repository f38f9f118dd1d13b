#[test]
#[ignore]
fn trace_twice() {
    let seed: u64 = std::env::var("FIRST_SEED").unwrap().parse().unwrap();
    for n in 0..2 {
        let file = std::fs::File::create(format!("/tmp/trace-{n}")).unwrap();
        let sub = tracing_subscriber::fmt()
            .without_time()
            .with_ansi(false)
            .with_max_level(tracing::Level::TRACE)
            .with_writer(std::sync::Mutex::new(file))
            .finish();
        tracing::subscriber::with_default(sub, || {
            crate::run::run(seed);
        });
    }
}
