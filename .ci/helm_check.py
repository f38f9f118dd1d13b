"""What .ci/helm checks beside what its tools do. Run by the Python that has kubernetes-validate.

helm_check.py objects NODE_MODULES NAMESPACE <RENDERED    each object, against its schema and this project's rules
helm_check.py names                                       what names something elsewhere: metrics, flags, runbooks
helm_check.py env <RENDERED                               the server's variables, NAME=VALUE, in the sandbox
helm_check.py rules FOLDER                                the chart's alert rules, with no annotation but their summaries,
                                                          and the dashboard's queries, as rules that promtool can check
"""
import copy, json, pathlib, re, subprocess, sys

import kubernetes_validate, yaml

ROOT = pathlib.Path(__file__).resolve().parent.parent
CHART, TESTS, METRICS = ROOT / "helm/blubash-grpc", ROOT / "helm/tests/alerts.yaml", ROOT / "helm/metrics.txt"
RULES, DASHBOARD, GUIDE = CHART / "rules/blubash-grpc.yaml", CHART / "dashboards/blubash-grpc.json", ROOT / "docs/operating.md"
# The oldest that Chart.yaml asks for, and the newest that there are schemas of.
KUBERNETES = ["1.30", "1.37"]
# The chart sets these itself; all other flags of the README are its `settings`.
OWN = {"listen", "admin-listen", "sandbox", "ledger", "secret-file", "workspace-keys-file", "access-file", "tls-cert-file", "tls-key-file", "tls-client-ca-file", "drain-delay", "drain-timeout"}
# These have no use in a pod.
UNUSED = {"port-file", "operator-socket", "config"}

problems = []


def demand(holds, problem):
    if not holds:
        problems.append(problem)


# --- objects


def restricted(pod):
    """What the pod security standard `restricted` refuses of a pod's spec, and our own two rules."""
    found = []

    def refuse(when, what):
        if when:
            found.append(what)

    for host in ["hostNetwork", "hostPID", "hostIPC"]:
        refuse(pod.get(host), host)
    allowed = {"configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "persistentVolumeClaim", "projected", "secret"}
    for volume in pod.get("volumes", []):
        refuse(set(volume) - {"name"} - allowed, f"volume {volume['name']}")
    of_pod = pod.get("securityContext", {})
    refuse(of_pod.get("sysctls"), "sysctls")
    refuse(pod.get("automountServiceAccountToken") is not False, "automountServiceAccountToken")
    for container in pod["containers"] + pod.get("initContainers", []) + pod.get("ephemeralContainers", []):
        own = container.get("securityContext", {})
        either = {**of_pod, **own}
        refuse(either.get("runAsNonRoot") is not True, "runAsNonRoot")
        refuse(either.get("runAsUser") == 0, "runAsUser")
        refuse(either.get("seccompProfile", {}).get("type") not in ("RuntimeDefault", "Localhost"), "seccompProfile")
        refuse(either.get("seLinuxOptions"), "seLinuxOptions")
        refuse(either.get("appArmorProfile", {}).get("type") == "Unconfined", "appArmorProfile")
        refuse(own.get("privileged"), "privileged")
        refuse(own.get("allowPrivilegeEscalation") is not False, "allowPrivilegeEscalation")
        refuse(own.get("procMount", "Default") != "Default", "procMount")
        refuse(own.get("capabilities", {}).get("drop") != ["ALL"], "capabilities.drop")
        refuse(own.get("capabilities", {}).get("add"), "capabilities.add")
        refuse(own.get("readOnlyRootFilesystem") is not True, "readOnlyRootFilesystem")
        refuse(any("hostPort" in port for port in container.get("ports", [])), "hostPort")
    return found


def pods_that_are_refused(pod):
    """Each rule's own offender, so that a check that checks nothing is noticed."""
    for path, value in [
        (["hostNetwork"], True), (["volumes"], [{"name": "x", "hostPath": {"path": "/"}}]),
        (["automountServiceAccountToken"], True), (["securityContext", "runAsNonRoot"], None),
        (["securityContext", "runAsUser"], 0), (["securityContext", "seccompProfile"], {"type": "Unconfined"}),
        (["containers", 0, "securityContext", "privileged"], True),
        (["containers", 0, "securityContext", "allowPrivilegeEscalation"], True),
        (["containers", 0, "securityContext", "capabilities"], {"drop": ["NET_RAW"]}),
        (["containers", 0, "securityContext", "capabilities"], {"drop": ["ALL"], "add": ["SYS_ADMIN"]}),
        (["containers", 0, "securityContext", "readOnlyRootFilesystem"], False),
        (["containers", 0, "ports"], [{"containerPort": 1, "hostPort": 1}]),
    ]:
        bad = copy.deepcopy(pod)
        place = bad
        for key in path[:-1]:
            place = place[key]
        place[path[-1]] = value
        yield "/".join(map(str, path)), bad


def check_pod(name, pod):
    for what in restricted(pod):
        demand(False, f"{name}: not restricted: {what}")
    for path, bad in pods_that_are_refused(pod):
        demand(restricted(bad), f"the check for restricted pods lets {path} pass")


def check_server(stateful_set):
    spec = stateful_set["spec"]
    pod = spec["template"]["spec"]
    demand(spec["replicas"] == 1, "the StatefulSet has not one replica")
    (container,) = pod["containers"]
    env = [variable["name"] for variable in container["env"]]
    demand(len(env) == len(set(env)), f"a variable is set twice: {env}")
    ours = {name for name in env if name.startswith("BLUBASH_")}
    known = {"BLUBASH_" + flag.upper().replace("-", "_") for flag in flags()}
    demand(ours <= known, f"no such variables: {ours - known}")
    values = {variable["name"]: variable.get("value") for variable in container["env"]}
    pause = container.get("lifecycle", {}).get("preStop", {}).get("sleep", {}).get("seconds", 0)
    drain = sum(int(values[f"BLUBASH_DRAIN_{part}"].removesuffix("s")) for part in ["DELAY", "TIMEOUT"])
    demand(pod["terminationGracePeriodSeconds"] == pause + drain + 40, "the grace period is not the drain's sum")
    mounted = {mount["name"] for mount in container.get("volumeMounts", [])}
    there = {v["metadata"]["name"] for v in spec.get("volumeClaimTemplates", [])} | {v["name"] for v in pod.get("volumes", [])}
    demand(mounted == there, f"volumes {there}, mounted {mounted}")
    demand(("BLUBASH_LEDGER" in values) == ("ledger" in mounted), "a ledger in a file needs its volume")


def kubernetes_schemas_refuse(thing):
    try:
        for version in KUBERNETES:
            kubernetes_validate.validate(thing, version, strict=True)
    except kubernetes_validate.ValidationError as error:
        return f"{'/'.join(map(str, error.path))}: {error.message}"


def custom_schemas_refuse(node_modules, things):
    command = ["node", str(ROOT / ".ci/helm_custom.mjs"), node_modules]
    ran = subprocess.run(command, input=json.dumps(things), text=True, capture_output=True)
    return (ran.stdout + ran.stderr).splitlines() if ran.returncode else []


def with_unknown_field(thing):
    bad = copy.deepcopy(thing)
    bad["spec"]["chart_typo"] = 1
    return bad


def check_network(policy, pods):
    """`helm test` calls through the policy too."""
    (grpc,) = [rule for rule in policy["spec"]["ingress"] if rule["ports"][0]["port"] == "grpc"]
    let_in = [peer.get("podSelector", {}).get("matchLabels", {}).items() for peer in grpc.get("from", [])]
    for pod in pods:
        reaches = "from" not in grpc or any(labels and labels <= pod["metadata"]["labels"].items() for labels in let_in)
        demand(reaches, f"{pod['metadata']['name']} cannot reach the server")


def check_objects(node_modules, namespace):
    rendered = [thing for thing in yaml.safe_load_all(sys.stdin) if thing]
    custom = [thing for thing in rendered if ".coreos.com/" in thing["apiVersion"] or "gateway." in thing["apiVersion"]]
    for thing in rendered:
        name = f"{thing['kind']} {thing['metadata']['name']}"
        demand(thing["metadata"].get("namespace") == namespace, f"{name}: no namespace")
        demand(thing["kind"] not in ("Deployment", "HorizontalPodAutoscaler"), f"{name}: a file ledger has one replica")
        if thing not in custom:
            fault = kubernetes_schemas_refuse(thing)
            demand(fault is None, f"{name}: {fault}")
            if "spec" in thing:
                demand(kubernetes_schemas_refuse(with_unknown_field(thing)), f"{name}: its schema refuses nothing")
        if thing["kind"] == "Pod":
            check_pod(name, thing["spec"])
        if thing["kind"] == "NetworkPolicy":
            check_network(thing, [other for other in rendered if other["kind"] == "Pod"])
        if thing["kind"] == "StatefulSet":
            check_pod(name, thing["spec"]["template"]["spec"])
            check_server(thing)
    problems.extend(custom_schemas_refuse(node_modules, custom))
    for thing in custom:
        demand(custom_schemas_refuse(node_modules, [with_unknown_field(thing)]), f"{thing['kind']}: its schema refuses nothing")
    kinds = [thing["kind"] for thing in rendered]
    demand(kinds.count("StatefulSet") == 1, "there is not one StatefulSet")
    print(f"{len(rendered)} objects: {', '.join(sorted(kinds))}")


def print_env():
    (server,) = [thing for thing in yaml.safe_load_all(sys.stdin) if thing and thing["kind"] == "StatefulSet"]
    (container,) = server["spec"]["template"]["spec"]["containers"]
    print("\n".join(f"{variable['name']}={variable['value']}" for variable in container["env"]))


# --- names


def flags():
    """The flags in the README's table, which cargo test holds to those of the program."""
    return set(re.findall(r"^\| `--([a-z-]+)` \| `BLUBASH_", (ROOT / "README.md").read_text(), re.MULTILINE))


def check_settings():
    schema = json.loads((CHART / "values.schema.json").read_text())
    settings = set(schema["properties"]["settings"]["properties"])
    for flag in sorted(flags() - settings - OWN - UNUSED):
        demand(False, f"--{flag} is no setting of values.schema.json: add it there, or to OWN or UNUSED in .ci/helm_check.py")
    for flag in sorted(settings - flags()):
        demand(False, f"the setting {flag} is no flag of the README")

    def closed(node, at):
        if isinstance(node, dict):
            if "properties" in node and at.split("/")[-1] not in ("if", "then"):
                demand(node.get("additionalProperties") is False, f"values.schema.json{at} lets unknown values pass")
            for key, child in node.items():
                closed(child, f"{at}/{key}")

    closed(schema, "")
    values = yaml.safe_load((CHART / "values.yaml").read_text())
    for value in sorted(set(schema["properties"]) - set(values) - {"global"}):
        demand(False, f"values.yaml does not tell of {value}")


def check_metrics():
    known = {}
    for line in METRICS.read_text().splitlines():
        if line and not line.startswith("#"):
            name, kind, *labels = line.split()
            for series in [f"{name}_bucket", f"{name}_count", f"{name}_sum"] if kind == "histogram" else [name]:
                known[series] = (name, {*labels, "namespace", "job", "le"})
    dashboard = json.loads(DASHBOARD.read_text())
    panels = [target["expr"] for panel in dashboard["panels"] for target in panel.get("targets", [])]
    rules = [rule["expr"] for group in yaml.safe_load(RULES.read_text())["groups"] for rule in group["rules"]]
    used = set()
    for query in panels + rules:
        for series in re.findall(r"\b(?:blubash|rpc|http)_[a-z_]+", re.sub(r'"[^"]*"|\bby \([^)]*\)|\{[^}]*\}', "", query)):
            demand(series in known, f"{series} is not in helm/metrics.txt: {query}")
            if series in known:
                name, labels = known[series]
                used.add(name)
                asked = re.findall(r"(\w+)\s*(?:=~|!~|!=|=)\s*\"", query)
                asked += [label for by in re.findall(r"\bby \(([^)]*)\)", query) for label in re.split(r",\s*", by)]
                demand(set(asked) <= labels, f"{series} has no labels {set(asked) - labels}: {query}")
    for name in sorted({name for name, _ in known.values()} - used):
        demand(False, f"helm/metrics.txt: nothing uses {name}")
    ids = [panel["id"] for panel in dashboard["panels"]]
    demand(len(ids) == len(set(ids)), "two panels of the dashboard have one id")


def check_alerts():
    alerts = {rule["alert"]: rule for group in yaml.safe_load(RULES.read_text())["groups"] for rule in group["rules"]}
    headings = re.findall(r"^#+ (\w+)$", GUIDE.read_text(), re.MULTILINE)
    for name, rule in alerts.items():
        demand(rule["labels"].get("severity") in ("critical", "warning"), f"{name}: no severity")
        demand({"summary", "description", "runbook_url"} <= set(rule["annotations"]), f"{name}: annotations are missing")
        demand(rule["annotations"]["runbook_url"].endswith(f"operating.md#{name.lower()}"), f"{name}: runbook_url")
        demand(name in headings, f"{name}: docs/operating.md has no heading for it")
    cases = [case for test in yaml.safe_load(TESTS.read_text())["tests"] for case in test["alert_rule_test"]]
    for name in alerts:
        outcomes = {bool(case["exp_alerts"]) for case in cases if case["alertname"] == name}
        demand(outcomes == {True, False}, f"{name}: needs a test in which it fires and one in which it does not")
    for name in {case["alertname"] for case in cases} - set(alerts):
        demand(False, f"helm/tests/alerts.yaml tests {name}, which does not exist")


def write_rules(folder):
    rules = yaml.safe_load(RULES.read_text())
    for group in rules["groups"]:
        for rule in group["rules"]:
            rule["annotations"] = {"summary": rule["annotations"]["summary"]}
    (folder / "alerts.rules.yaml").write_text(yaml.safe_dump(rules))
    queries = [target["expr"] for panel in json.loads(DASHBOARD.read_text())["panels"] for target in panel.get("targets", [])]
    queries = [query.replace("$__rate_interval", "5m") for query in queries]
    panels = [{"record": f"panel:{number}", "expr": query} for number, query in enumerate(queries)]
    (folder / "dashboard.rules.yaml").write_text(yaml.safe_dump({"groups": [{"name": "dashboard", "rules": panels}]}))


match sys.argv[1:]:
    case ["objects", node_modules, namespace]:
        check_objects(node_modules, namespace)
    case ["env"]:
        print_env()
    case ["names"]:
        check_settings()
        check_metrics()
        check_alerts()
    case ["rules", folder]:
        write_rules(pathlib.Path(folder))
    case _:
        sys.exit(__doc__)
for problem in problems:
    print(problem, file=sys.stderr)
sys.exit(bool(problems))
