"""Starts a collector and a sandbox, makes calls that are part of a trace, and checks what the collector wrote.

otel_check.py PROGRAM    the service; otelcol and grpcurl are found by PATH
"""
import json, os, pathlib, re, signal, socket, subprocess, sys, tempfile, time, urllib.request

PROGRAM = sys.argv[1]
SERVICE = "blubash.campaigns.v1.CampaignsService"
TRACE, CALLER = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
CANARIES = ["5511900000042", "Canary Name", "canary@example.com", "sandbox-key-acme", "canary-value"]
PATIENCE = 60

problems = []


def demand(holds, problem):
    if not holds:
        problems.append(problem)


def free_ports(count):
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [s.getsockname()[1] for s in sockets]
    for s in sockets:
        s.close()
    return ports


def until(what, found, log):
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        if value := found():
            return value
        time.sleep(0.05)
    sys.exit(f"never: {what}\n{log.read_text()[-2000:]}")


def listens(port):
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
        return True
    except OSError:
        return False


def call(address, method, request):
    answer = subprocess.run(
        ["grpcurl", "-plaintext", "-max-time", "20", "-H", "x-api-key: sandbox-key-acme",
         "-H", f"traceparent: 00-{TRACE}-{CALLER}-01", "-d", json.dumps(request), address, method],
        capture_output=True, text=True)
    if answer.returncode:
        sys.exit(f"{method}: {answer.stderr}")
    return answer.stdout


def make_calls(address):
    item = {"identifier": "5511900000042", "name": "Canary Name", "email": "canary@example.com",
            "customFields": {"cf_plan": "canary-value"}, "schedule": {"immediate": {}}}
    call(address, f"{SERVICE}/AddAudience",
         {"campaignId": "camp-evergreen", "options": {"requestId": "traced"}, "items": [item]})
    call(address, f"{SERVICE}/GetMessage", {"campaignId": "camp-seeded", "messageId": "msg-seeded-sent"})
    call(address, f"{SERVICE}/WatchMessages", {"campaignId": "camp-evergreen", "completeWhenTerminal": True})
    call(address, "grpc.health.v1.Health/Check", {})


def exported(protocol, scratch):
    """What the collector wrote of a server that exported by this protocol, its log, and its metrics' page."""
    grpc_port, http_port = free_ports(2)
    endpoint = f"http://127.0.0.1:{grpc_port if protocol == 'grpc' else http_port}"
    files = {kind: scratch / f"{kind}.jsonl" for kind in ["traces", "metrics"]}
    pipelines = {kind: {"receivers": ["otlp"], "exporters": [f"file/{kind}"]} for kind in files}
    config = {
        "receivers": {"otlp": {"protocols": {"grpc": {"endpoint": f"127.0.0.1:{grpc_port}"},
                                             "http": {"endpoint": f"127.0.0.1:{http_port}"}}}},
        "exporters": {f"file/{kind}": {"path": str(file)} for kind, file in files.items()},
        "service": {"pipelines": pipelines, "telemetry": {"metrics": {"level": "none"}}},
    }
    (scratch / "collector.yaml").write_text(json.dumps(config))  # JSON is YAML.
    collector_log = open(scratch / "collector.log", "w")
    collector = subprocess.Popen(["otelcol", "--config", f"file:{scratch / 'collector.yaml'}"], stderr=collector_log)
    server = None
    try:
        until("the collector listens", lambda: listens(grpc_port) and listens(http_port), scratch / "collector.log")
        env = os.environ | {
            "OTEL_EXPORTER_OTLP_ENDPOINT": endpoint, "OTEL_EXPORTER_OTLP_PROTOCOL": protocol,
            "OTEL_SERVICE_NAME": "campaigns-in-ci", "RUST_LOG": "trace"}
        server = subprocess.Popen(
            [PROGRAM, "serve", "--sandbox", "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0",
             "--log-format", "json", "--poll-interval", "100ms", "--port-file", str(scratch / "port")],
            env=env, stderr=open(scratch / "log", "w"))
        address = until("the server listens", lambda: (scratch / "port").exists() and (scratch / "port").read_text(),
                        scratch / "log")
        make_calls(address)
        admin = re.search(r"the admin port is (\S+)", (scratch / "log").read_text())[1]
        page = urllib.request.urlopen(f"{admin}/metrics", timeout=20).read().decode()
        server.send_signal(signal.SIGTERM)
        demand(server.wait(PATIENCE) == 0, "the server did not end with 0")
    finally:
        for process in [server, collector]:
            if process and process.poll() is None:
                process.terminate()
                process.wait(PATIENCE)
    log = "\n".join(line for line in (scratch / "log").read_text().splitlines() if "grpcurl" not in line)
    written = {kind: [json.loads(line) for line in file.read_text().splitlines()] for kind, file in files.items()}
    return written, log, page


def attributes(of):
    return {a["key"]: next(iter(a["value"].values())) for a in of.get("attributes", [])}


def check(protocol, written, log, page):
    spans = [span for batch in written["traces"] for resource in batch["resourceSpans"]
             for scope in resource["scopeSpans"] for span in scope["spans"]]
    names = {attributes(resource["resource"]).get("service.name")
             for batch in written["traces"] for resource in batch["resourceSpans"]}
    demand(names == {"campaigns-in-ci"}, f"service.name is {names}")
    by_id = {span["spanId"]: span for span in spans}

    servers = {span["name"].rsplit("/", 1)[-1]: span for span in spans if span["kind"] == 2}
    demand(set(servers) == {"AddAudience", "GetMessage", "WatchMessages"}, f"server spans: {sorted(servers)}")
    for name, span in servers.items():
        demand((span["traceId"], span["parentSpanId"]) == (TRACE, CALLER), f"{name} is not the caller's child")
        told = attributes(span)
        demand(told.get("rpc.system.name") == "grpc" and told.get("rpc.response.status_code") == "OK",
               f"{name} has {told}")

    clients = [span for span in spans if span["kind"] == 3]
    for span in clients:
        told = attributes(span)
        demand({"http.request.method", "url.template", "http.response.status_code"} <= set(told), f"an attempt has {told}")
        demand("{" in told.get("url.template", ""), "an attempt's template holds an id")
        demand(span.get("parentSpanId") in by_id, "an attempt has no parent among the spans")
    get = [span for span in clients if by_id.get(span.get("parentSpanId")) is servers.get("GetMessage")]
    demand(len(get) == 1, f"{len(get)} attempts below GetMessage")

    # What serves several calls is a trace of its own, and links to them.
    roots = [span for span in spans if not span.get("parentSpanId")]
    linked = {}
    for span in roots:
        demand(span["traceId"] != TRACE, f"{span['name']} is a root within the caller's trace")
        for link in span.get("links", []):
            if link["spanId"] in by_id:
                linked.setdefault(by_id[link["spanId"]]["name"].rsplit("/", 1)[-1], set()).add(span["name"])
    demand(linked.get("AddAudience"), "no batch links to AddAudience")
    demand(linked.get("WatchMessages"), "no poll links to WatchMessages")
    demand(not linked.get("AddAudience", set()) & linked.get("WatchMessages", set()), f"links: {linked}")

    metrics = {metric["name"]: metric for batch in written["metrics"] for resource in batch["resourceMetrics"]
               for scope in resource["scopeMetrics"] for metric in scope["metrics"]}
    for name, needed in [("rpc.server.call.duration", "rpc.method"), ("http.client.request.duration", "url.template")]:
        metric = metrics.get(name, {})
        points = metric.get("histogram", {}).get("dataPoints", [])
        demand(metric.get("unit") == "s" and points, f"{name} is no histogram of seconds: {metric}")
        demand(all(needed in attributes(point) for point in points), f"{name} lacks {needed}")
    demand("blubash.dispositions" in metrics, f"metrics: {sorted(metrics)}")

    traced = [line for line in log.splitlines() if TRACE in line]
    demand(traced and all(json.loads(line) for line in traced), "no line of the log names the trace")
    everything = {"what the collector wrote": json.dumps(written, ensure_ascii=False), "the log": log, "/metrics": page}
    for what, text in everything.items():
        for canary in CANARIES:
            demand(canary not in text, f"{what} holds {canary}")
    print(f"{protocol}: {len(spans)} spans ({len(servers)} of calls, {len(clients)} of attempts), links {linked}, {len(metrics)} metrics")


for protocol in ["grpc", "http/protobuf"]:
    with tempfile.TemporaryDirectory() as folder:
        check(protocol, *exported(protocol, pathlib.Path(folder)))
for problem in problems:
    print(problem, file=sys.stderr)
sys.exit(1 if problems else 0)
