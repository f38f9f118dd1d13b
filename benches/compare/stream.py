#!/usr/bin/env python3
"""What a million items cost in one IngestAudience stream, beside the naive peer's AddAudience of 100: CPU, memory, ledger, reopening.

usage: stream.py --ours 'COMMAND' [--n 1000000] [--rounds 3] [--view all|failures|summary] [--reopen] [--calls 5000] [--timeout 900]
COMMAND starts the service as run.py's does (127.0.0.1:9110, upstream 9090). It is started anew for each round; "{dir}" in it stands
for a folder under WORK that is new each round and removed after it, so that each round begins with an empty ledger, for instance:
--ours 'target/release/blubash-grpc serve --listen 127.0.0.1:9110 --upstream-url http://127.0.0.1:9090/api/v1/campaigns --ledger file:{dir}/ledger'
--reopen kills each round's server after its load (SIGKILL) and times the next start on that ledger until health says SERVING.
--calls: the naive peer's calls a round; 0 leaves it out. Exits 1 where a check failed; a mark that is missed is only said.
"""
import argparse, os, re, shlex, shutil, signal, socket, statistics as st, subprocess, sys, tempfile, threading, time
sys.dont_write_bytecode = True  # nothing is made inside the checkout
from run import METHOD, T, UP, WORK, counts, cpu, load, tree
PY = f"{WORK}/venv/bin/python"
try: import grpc
except ImportError:  # grpc stands in the venv of setup.sh
    if sys.prefix == os.path.dirname(os.path.dirname(PY)) or not os.path.exists(PY): sys.exit(f"no grpc in {PY}: run ./setup.sh first")
    os.execv(PY, [PY, *sys.argv])
sys.path.insert(0, f"{WORK}/ours")
from blubash.campaigns.v1 import audience_pb2 as au, campaigns_service_pb2 as cs, failure_pb2 as fa
SERVICE, PORT, PER = "/blubash.campaigns.v1.CampaignsService/", 9110, 100
MARK_CPU, MARK_RSS, MARK_REOPEN = 1.3, 64, 2.0  # times naive, MiB over idle, seconds: design marks of the file ledger
# A local pool: a channel must not inherit the back-off of one that met the server while it was down.
CHANNEL = [("grpc.enable_http_proxy", 0), ("grpc.use_local_subchannel_pool", 1)]

def item_id(i):
    """36 characters, a different one for each i (an odd factor permutes the 128-bit numbers), and as hard to compress as a UUID."""
    h = "%032x" % ((i + 1) * 0x9E3779B97F4A7C15F39CC0605CEDC835 & (1 << 128) - 1)
    return f"{h[:8]}-{h[8:12]}-{h[12:16]}-{h[16:20]}-{h[20:]}"
def requests(n, view):
    """The stream's serialized messages. Items are those of add100 with an id and an identifier of their own: all of one
    length, so that one serialized item serves as the template of all. Concatenated messages are one message."""
    add = cs.AddAudienceRequest.FromString(open(f"{WORK}/ours-add100.bin", "rb").read()[5:])
    item = add.items[0]; item.item_id, item.identifier, item.email = "I" * 36, "55119" + "N" * 8, "jane" + "M" * 8 + "@example.com"
    raw = cs.IngestAudienceRequest(items=[item]).SerializeToString().decode("latin-1")
    one = raw.replace("%", "%%").replace("I" * 36, "%s").replace("N" * 8, "%08d").replace("M" * 8, "%08d"); many = one * PER
    add.options.result_view = au.ResultView.Value("RESULT_VIEW_" + view.upper())
    yield cs.IngestAudienceRequest(campaign_id=add.campaign_id, options=add.options).SerializeToString()
    for a in range(0, n, PER):
        b = min(a + PER, n)
        yield ((many if b - a == PER else one * (b - a)) % tuple(x for i in range(a, b) for x in (item_id(i), i, i))).encode("latin-1")

class Watch(threading.Thread):
    """Samples the process tree. A thread that ends takes its schedstat along (an idle pool thread, after 10 s): its last sample counts."""
    def __init__(self, pid): super().__init__(daemon=True); self.pid, self.ns, self.peak, self.done = pid, {}, 0, threading.Event(); self.sample(); self.before = self.cpu(); self.start()
    def run(self):
        while not self.done.wait(.05): self.sample()
    def cpu(self): return sum(self.ns.values()) / 1e9
    def sample(self):
        for p in tree(self.pid):
            try:
                for t in os.listdir(f"/proc/{p}/task"): self.ns[p, t] = int(open(f"/proc/{p}/task/{t}/schedstat").read().split()[0])
            except OSError: pass
        self.peak = max(self.peak, memory(self.pid, "VmRSS"))
    def stop(self):
        """Seconds on a processor since it was made."""
        self.done.set(); self.join(); self.sample(); return self.cpu() - self.before
def memory(pid, field):
    """MiB over the process tree."""
    kib = 0
    for p in tree(pid):
        try: kib += int((re.search(field + r":\s+(\d+)", open(f"/proc/{p}/status").read()) or [0, 0])[1])
        except OSError: pass
    return kib / 1024
def size(path): return sum(os.path.getsize(os.path.join(d, f)) for d, _, fs in os.walk(path) for f in fs) if os.path.isdir(path) else os.path.getsize(path)

def listening(port):
    with socket.socket() as s: return s.connect_ex(("127.0.0.1", port)) == 0
def serving():
    """grpc.health.v1 Check of "" says SERVING. Both messages are known bytes: no generated code for them."""
    if not listening(PORT): return False
    with grpc.insecure_channel(f"127.0.0.1:{PORT}", CHANNEL) as ch:
        try: return ch.unary_unary("/grpc.health.v1.Health/Check")(b"", timeout=1) == b"\x08\x01"
        except grpc.RpcError: return False
def start(cmd, log):
    """The process, and the seconds from its start to SERVING."""
    t = time.monotonic(); p = subprocess.Popen(cmd, stdout=log, stderr=log)
    while not serving():
        if p.poll() is not None or time.monotonic() - t > 60: end(p); sys.exit(f"ours {'is not SERVING after 60 s' if p.returncode == -9 else f'ended with {p.returncode}'}: {log.name} says why")
        time.sleep(.005)
    return p, time.monotonic() - t
def end(p, how=signal.SIGKILL):
    for pid in tree(p.pid) if how == signal.SIGKILL else [p.pid]:
        try: os.kill(pid, how)
        except ProcessLookupError: pass
    try: p.wait(40)
    except subprocess.TimeoutExpired: p.kill(); p.wait()

def ingest(n, view, timeout):
    """One stream of n items: what is wrong with its answer (None: nothing), its request_id, its seconds."""
    wrong, index, through, last, t = [], 0, 0, None, time.monotonic()
    with grpc.insecure_channel(f"127.0.0.1:{PORT}", CHANNEL) as ch:
        try:
            for raw in ch.stream_stream(SERVICE + "IngestAudience")(requests(n, view), timeout=timeout, metadata=[("x-api-key", "key_bench")]):
                if last is not None and last.HasField("summary"): wrong.append("a message followed the summary")
                last = cs.IngestAudienceResponse.FromString(raw)
                if last.settled_through < through: wrong.append(f"settled_through went back from {through} to {last.settled_through}")
                through = last.settled_through
                for r in last.results:
                    if (r.index, r.disposition, r.item_id) != (index, au.DISPOSITION_ADDED, item_id(index)) and len(wrong) < 3:
                        wrong.append(f"result {index}: index {r.index}, {r.item_id}, {au.Disposition.Name(r.disposition)}, {fa.ErrorReason.Name(r.failure.reason)}")
                    index += 1
        except grpc.RpcError as e:
            if e.code() is grpc.StatusCode.UNIMPLEMENTED: sys.exit(f"this build of ours has no IngestAudience: UNIMPLEMENTED, {e.details()}")
            sys.exit(f"IngestAudience ended with {e.code().name} after {through} settled items: {e.details()}")
    took, s = time.monotonic() - t, last.summary if last else au.AudienceSummary()
    if last is None or not last.HasField("summary"): wrong.append("no summary came")
    if (s.received, s.added, s.replayed) != (n, n, 0): wrong.append("summary: " + " ".join(str(s).split()))
    if through != n: wrong.append(f"settled_through is {through}")
    if index != (n if view == "all" else 0): wrong.append(f"{index} results came")
    if last and last.HasField("termination"): wrong.append("termination: " + " ".join(str(last.termination).split()))
    return wrong, last.request_id if last else "", took
def remembered(request_id, n):
    """What is wrong with what the reopened ledger knows of the ingestion."""
    with grpc.insecure_channel(f"127.0.0.1:{PORT}", CHANNEL) as ch:
        ask = cs.GetIngestionRequest(campaign_id="camp_1", request_id=request_id, result_view=au.RESULT_VIEW_SUMMARY)
        try: a = cs.GetIngestionResponse.FromString(ch.unary_unary(SERVICE + "GetIngestion")(ask.SerializeToString(), timeout=60, metadata=[("x-api-key", "key_bench")]))
        except grpc.RpcError as e: return [f"after reopening, GetIngestion: {e.code().name}, {e.details()}"]
    return [] if (a.state, a.summary.received, a.summary.added) == (cs.INGESTION_STATE_ENDED, n, n) else [f"after reopening: {cs.IngestionState.Name(a.state)}, " + " ".join(str(a.summary).split())]

def ours(a, log):
    """One round: a fresh server, one stream, its figures."""
    fresh = tempfile.mkdtemp(prefix="stream-", dir=WORK); cmd = shlex.split(a.ours.replace("{dir}", fresh)); p = None
    try:
        p, first = start(cmd, log); time.sleep(1); idle = memory(p.pid, "VmRSS")
        try: open(f"/proc/{p.pid}/clear_refs", "w").write("5")  # VmHWM from here on: a peak at start is not the load's
        except OSError: pass
        u0, w = counts(), Watch(p.pid)
        wrong, request_id, took = ingest(a.n, a.view, a.timeout)
        time.sleep(1)  # what the server puts off until after its answer counts too
        used, added, after = w.stop(), counts()["added"] - u0["added"], memory(p.pid, "VmRSS")
        if added != a.n: wrong.append(f"the upstream counted {added} items")
        f = dict(cpu=used / a.n * 1e6, rate=a.n / took, up=added / a.n, idle=idle, peak=max(w.peak, memory(p.pid, "VmHWM")), after=after, start=first, ledger=0, reopen=None)
        if path := re.search(r"--ledger[ =]file:(\S+)", " ".join(cmd)):
            try: f["ledger"] = size(path[1]) / 2**20
            except FileNotFoundError: wrong.append(f"no ledger stands at {path[1]}")
        if a.reopen:
            end(p); p, f["reopen"] = start(cmd, log)
            wrong += remembered(request_id, a.n)
        return f, wrong
    finally:
        if p: end(p, signal.SIGTERM)
        shutil.rmtree(fresh, ignore_errors=True)
def naive(pid, calls):
    """One round: AddAudience of 100 as run.py loads it, warm; its figures an item."""
    path = "/bench.v1.Campaigns/" + METHOD["add100"]; load(9102, path, "add100", max(calls // 10, 64))
    u0, c0 = counts(), cpu(pid); rps, ok, _ = load(9102, path, "add100", calls); c1, u1 = cpu(pid), counts()
    return dict(cpu=(c1 - c0) / max(ok, 1) / 100 * 1e6, rate=rps * 100, up=(u1["added"] - u0["added"]) / calls / 100)

def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("--ours", required=True); ap.add_argument("--n", type=int, default=1_000_000); ap.add_argument("--rounds", type=int, default=3); ap.add_argument("--view", choices=("all", "failures", "summary"), default="all")
    ap.add_argument("--reopen", action="store_true"); ap.add_argument("--calls", type=int, default=5000); ap.add_argument("--timeout", type=float, default=900)
    a = ap.parse_args()
    for port in (9090, 9102, PORT):
        if listening(port): sys.exit(f"port {port} is taken: another run?")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # through the finally blocks: nothing is left running
    file = "file:" in a.ours; procs, res, failed = [], {"ours": [], "naive": []}, False
    with open(f"{WORK}/stream-ours.log", "w") as log:
        try:
            procs.append(subprocess.Popen([f"{T}/bench-upstream", "127.0.0.1:9090"]))
            if a.calls: procs.append(subprocess.Popen([f"{T}/peer-naive", "127.0.0.1:9102", UP + "/api/v1/campaigns"], stdout=log, stderr=log))
            time.sleep(1)
            for r in range(a.rounds):
                if a.calls: res["naive"].append(naive(procs[1].pid, a.calls))
                f, wrong = ours(a, log)
                if a.calls and res["naive"][-1]["up"] != 1: wrong.append(f"the naive peer brought the upstream {res['naive'][-1]['up']:.2f} of its items")
                res["ours"].append(f); failed |= bool(wrong)
                print(f"round {r + 1}: {f['cpu']:.2f} us an item" + (f", naive {res['naive'][-1]['cpu']:.2f}" if a.calls else "") + f", {f['rate']:.0f} items/s, RSS MiB {f['idle']:.1f} -> {f['peak']:.1f} -> {f['after']:.1f}" + "".join(f"\n    FAILED: {w}" for w in wrong), flush=True)
        finally:
            for p in procs: end(p, signal.SIGTERM)
    if not a.rounds: return
    med = lambda k, f: st.median(x[f] for x in res[k]); base = med("naive", "cpu") if a.calls else float("nan")
    print(f"\nIngestAudience, {a.n:,} items of 36-character ids in messages of {PER}, results: {a.view}; median of {a.rounds}\n{'':4}{'peer':16}{'cpu us/item':>12}{'x naive':>9}{'items/s':>9}{'upstream':>10}")
    for k, name in (("ours", "ours"), ("naive", "naive add100")):
        if res[k]: print(f"{'':4}{name:16}{med(k, 'cpu'):12.2f}{med(k, 'cpu') / base:9.2f}{med(k, 'rate'):9.0f}{med(k, 'up'):10.2f}")
    over = max(x["peak"] - x["idle"] for x in res["ours"])  # the worst round: a bound is a bound
    print(f"\n{'':4}{'RSS MiB':16}{'idle':>12}{'peak':>9}{'after':>9}{'peak over idle, worst':>23}\n{'':4}{'ours':16}{med('ours', 'idle'):12.1f}{med('ours', 'peak'):9.1f}{med('ours', 'after'):9.1f}{over:23.1f}")
    if file: print(f"\n    ledger file: {med('ours', 'ledger'):.0f} MiB, {med('ours', 'ledger') * 2**20 / a.n:.0f} bytes an item")
    print(f"    start to SERVING: {med('ours', 'start'):.3f} s" + (f"; after SIGKILL, on the same ledger: {med('ours', 'reopen'):.3f} s, worst {max(x['reopen'] for x in res['ours']):.3f} s" if a.reopen else ""))
    if failed: print("    no mark is judged: a check FAILED")
    elif file:
        marks = [("peak over idle", over, MARK_RSS, "MiB")] + [("cpu", med("ours", "cpu") / base, MARK_CPU, "x naive")] * bool(a.calls) + [("reopening", max(x["reopen"] or 0 for x in res["ours"]), MARK_REOPEN, "s")] * a.reopen
        print("    marks: " + "; ".join(f"{name} {v:.2f} of {m} {unit} {'met' if v <= m else 'MISSED'}" for name, v, m, unit in marks))
    sys.exit(1 if failed else 0)
if __name__ == "__main__": main()
