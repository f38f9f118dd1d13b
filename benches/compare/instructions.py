#!/usr/bin/env python3
"""Counts the instructions that a GetMessage costs, by valgrind: the same in every run, however busy the machine is.
Two runs of different length, so that the start falls out. Needs setup.sh before it, and valgrind.

instructions.py --ours COMMAND [--without COMMAND]    COMMAND listens on 127.0.0.1:9110, as for run.py;
                                                      --without: another build of it, to compare with
"""
import argparse, http.server, os, re, shlex, signal, socket, subprocess, tempfile, threading, time

WORK = os.environ.get("WORK", f"{tempfile.gettempdir()}/blubash-bench")
BIN = f"{WORK}/target/release"
SHORT, LONG = 500, 3500


class Sink(http.server.BaseHTTPRequestHandler):
    """A collector that takes everything."""
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        self.rfile.read(int(self.headers.get("content-length", 0)))
        self.send_response(200)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *_):
        pass


def count(command, port, path, body, calls, env):
    """The instructions of a process that answers so many calls, from its start to its end."""
    log = tempfile.NamedTemporaryFile("r")
    upstream = subprocess.Popen([f"{BIN}/bench-upstream", "127.0.0.1:9090"])
    service = subprocess.Popen(
        ["valgrind", "--tool=cachegrind", "--cache-sim=no", "--cachegrind-out-file=/dev/null", f"--log-file={log.name}", *command],
        env=os.environ | env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        for _ in range(600):
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
                break
            except OSError:
                time.sleep(.05)
        told = subprocess.run(
            ["h2load", "-n", str(calls), "-c", "1", "-m", "10", "-d", f"{WORK}/{body}", "-H", "content-type: application/grpc",
             "-H", "te: trailers", "-H", "x-api-key: bench", f"http://127.0.0.1:{port}{path}"], capture_output=True, text=True).stdout
        assert f"{calls} succeeded" in told, told
        service.send_signal(signal.SIGTERM)
        service.wait(60)
    finally:
        service.kill(), upstream.kill(), upstream.wait()
    return int(re.search(r"I\s+refs:\s+([\d,]+)", log.read())[1].replace(",", ""))


def per_call(command, port, path, body, **env):
    return (count(command, port, path, body, LONG, env) - count(command, port, path, body, SHORT, env)) / (LONG - SHORT)


arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
arguments.add_argument("--ours", required=True)
arguments.add_argument("--without")
arguments = arguments.parse_args()
sink = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Sink)
threading.Thread(target=sink.serve_forever, daemon=True).start()
to_sink = {"OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{sink.server_port}"}
ours = (9110, "/blubash.campaigns.v1.CampaignsService/GetMessage", "ours-get.bin")
naive = per_call([f"{BIN}/peer-naive", "127.0.0.1:9102", "http://127.0.0.1:9090/api/v1/campaigns"], 9102, "/bench.v1.Campaigns/GetMessage", "get.bin")
rows = {"naive": naive, "ours, telemetry off": per_call(shlex.split(arguments.ours), *ours)}
if arguments.without:
    rows["the other build"] = per_call(shlex.split(arguments.without), *ours)
rows["ours, metrics to a collector"] = per_call(shlex.split(arguments.ours), *ours, OTEL_TRACES_EXPORTER="none", **to_sink)
rows["ours, every call traced to it"] = per_call(shlex.split(arguments.ours), *ours, OTEL_METRICS_EXPORTER="none", **to_sink)
for what, instructions in rows.items():
    print(f"{what:32}{instructions / 1000:8.1f} thousand instructions a call{instructions / naive:7.2f}x naive")
