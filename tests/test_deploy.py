"""What is in ``deploy/`` holds by the tools that check such files; each check is shown to be able to fail."""

from __future__ import annotations

import json
import re
import runpy
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import command_lines
import compose_file
import debian
import kubernetes_validate
import pytest
import settings_table
import yaml
from compose_spec.compose_spec import PyCompose

from flows.service import deployments
from pipeline import systems

ROOT = Path(__file__).parents[1]
DEPLOY = ROOT / "deploy"
KUBERNETES = DEPLOY / "kubernetes"
HADOLINT = Path(sys.executable).with_name("hadolint")
DOCKERFILE = (DEPLOY / "Dockerfile").read_text()
COMPOSE = compose_file.PATH.read_text()
OURS = ("worker", "watch", "metrics", "prefect", "prefect-services", "prefect-laptop", "deploy", "bucket")


def run(*command: object, **options: Any) -> subprocess.CompletedProcess[str]:
    words = [str(word) for word in command]
    return subprocess.run(words, capture_output=True, text=True, check=False, timeout=120, **options)


# The image


def hadolint(text: str) -> str:
    return run(HADOLINT, "--no-color", "-", input=text).stdout


def test_dockerfile_passes_its_linter() -> None:
    assert hadolint(DOCKERFILE) == ""


@pytest.mark.parametrize(("old", "new", "rule"), [
    ("WORKDIR /opt/goms", "WORKDIR opt/goms", "DL3000"),
    ("USER ${USER_ID}:${USER_ID}", "USER root", "DL3002"),
    ("--constraint deploy/constraints.txt ${TORCH_INDEX:+--index-url \"${TORCH_INDEX}\"} torch", "torch", "DL3013"),
    ("--from=build", "--from=bulid", "DL3022"),
])  # fmt: skip
def test_the_linter_sees_a_fault_of_the_dockerfile(old: str, new: str, rule: str) -> None:
    assert old in DOCKERFILE
    assert rule in hadolint(DOCKERFILE.replace(old, new))


def test_image_runs_as_nobody_special_is_checked_and_is_made_in_two_stages() -> None:
    lines = [line.strip() for line in DOCKERFILE.replace("\\\n", " ").splitlines()]
    last = lines[max(number for number, line in enumerate(lines) if line.startswith("FROM")) :]
    assert sum(line.startswith("FROM") for line in lines) == 2
    assert "USER ${USER_ID}:${USER_ID}" in last
    assert [line.split()[0] for line in last if line.startswith(("HEALTHCHECK", "ENTRYPOINT", "VOLUME"))] == [
        "VOLUME", "HEALTHCHECK", "ENTRYPOINT"]  # fmt: skip
    assert not any("pip install" in line for line in last)


def test_image_takes_every_version_from_the_constraints() -> None:
    installs = [line for line in DOCKERFILE.splitlines() if "pip install" in line and not line.startswith("#")]
    assert installs
    assert all("--constraint deploy/constraints.txt" in line for line in installs)


def test_image_holds_what_its_roles_need() -> None:
    """Files that the Dockerfile copies are there and are not shut out by .dockerignore."""
    let_in = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    sources = [word for line in DOCKERFILE.splitlines() if line.startswith("COPY") and "--from" not in line
               for word in line.split()[1:-1]]  # fmt: skip
    assert sources
    assert [name for name in sources if not (ROOT / name).exists() or name.partition("/")[0] not in let_in] == []
    assert "deploy/secrets" in (ROOT / ".dockerignore").read_text().splitlines()


def test_accelerator_of_torch_is_told_from_what_was_asked() -> None:
    import torch

    is_cuda = torch.version.cuda is not None
    codes = [run(sys.executable, DEPLOY / "accelerator.py", word).returncode for word in ("cpu", "cuda", "tpu")]
    assert codes == [int(is_cuda), int(not is_cuda), 1]


# The entrypoint


def entrypoint(environment: dict[str, str], *command: str) -> subprocess.CompletedProcess[str]:
    path = {"PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin"}
    return run(DEPLOY / "entrypoint.sh", *command, env=path | environment)


def test_entrypoint_gives_secrets_by_reference(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("goms:a b$c'\n")
    told = entrypoint({"FROM_FILE_PREFECT_API_AUTH_STRING": str(tmp_path / "secret"), "OTHER": "x"}, "env")
    lines = told.stdout.splitlines()
    assert "PREFECT_API_AUTH_STRING=goms:a b$c'" in lines
    assert "OTHER=x" in lines
    assert not any(line.startswith("FROM_FILE_") for line in lines)


def test_entrypoint_refuses_a_secret_that_is_not_there() -> None:
    answer = entrypoint({"FROM_FILE_KEY": "/nowhere/key"}, "env")
    assert (answer.returncode, answer.stdout) == (2, "")
    assert "/nowhere/key" in answer.stderr


def test_health_is_an_answer_with_a_good_status(tmp_path: Path) -> None:
    served = subprocess.Popen(
        [sys.executable, "-u", "-m", "http.server", "0", "--bind", "127.0.0.1", "--directory", str(tmp_path)],
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
    )  # fmt: skip
    assert served.stdout is not None
    try:
        (port,) = re.findall(r"port (\d+)", served.stdout.readline())
        address = f"http://127.0.0.1:{port}"
        assert run(DEPLOY / "healthy.py", f"{address}/").returncode == 0
        assert run(DEPLOY / "healthy.py", f"{address}/absent").returncode == 1
        waited = entrypoint({"WAIT_FOR": f"{address}/"}, "env")
        assert (waited.returncode, "WAIT_FOR" in waited.stdout) == (0, False)
    finally:
        served.kill()
        served.communicate()
    assert run(DEPLOY / "healthy.py", f"{address}/").returncode == 1


def test_scripts_of_the_shell_pass_their_linter(tmp_path: Path) -> None:
    shellcheck = debian.program("shellcheck", "shellcheck")
    scripts = (DEPLOY / "entrypoint.sh", ROOT / ".ci" / "run")
    assert run(shellcheck, *scripts).stdout == ""
    (tmp_path / "bad.sh").write_text("#!/bin/sh\ncd $1\nrm -rf $2/*\n")
    assert "SC2086" in run(shellcheck, tmp_path / "bad.sh").stdout


def test_the_one_check_installs_every_program_that_tests_ask_for() -> None:
    asked = {found for path in (ROOT / "tests").glob("*.py")
             for found in re.findall(r'debian\.program\("([\w.-]+)", "([\w.-]+)"\)', path.read_text())}  # fmt: skip
    installed = set(re.findall(r"^  \[([\w.-]+)\]=([\w.-]+)$", (ROOT / ".ci" / "run").read_text(), flags=re.MULTILINE))
    assert len(asked) >= 5
    assert asked - installed == set()
    assert installed - asked == {("make", "make")}


# Compose


def refused(content: dict[str, Any]) -> bool:
    """Whether the compose specification refuses it."""
    try:
        read = PyCompose.from_dict(content)
        for check in (read.validate, read.validate_networks, read.validate_volumes, read.validate_secrets):
            check()
    except ValueError:
        return True
    return False


def test_compose_is_what_the_specification_says() -> None:
    assert not refused(compose_file.document(COMPOSE))


@pytest.mark.parametrize(("old", "new"), [
    ("restart: unless-stopped", "restart: maybe"),
    ("read_only: true", "readonly: true"),
    ("secrets: [s3_identities]", "secrets: [nothing]"),
    ('volumes: ["objects:/data"]', 'volumes: ["objects:data"]'),
    ("networks: [inside, outside]", "networks: [nowhere]"),
])  # fmt: skip
def test_the_specification_refuses_a_fault_of_compose(old: str, new: str) -> None:
    assert old in COMPOSE
    assert refused(compose_file.document(COMPOSE.replace(old, new)))


@pytest.mark.parametrize("profile", ["laptop", "production", "gpu"])
def test_compose_itself_takes_the_file(profile: str, tmp_path: Path) -> None:
    compose = debian.program("docker-compose", "docker-compose")
    assert run(sys.executable, DEPLOY / "prepare.py", "--out", tmp_path / "secrets").returncode == 0
    file = tmp_path / "compose.yaml"
    file.write_text(COMPOSE)
    taken = run(compose, "--file", file, "--profile", profile, "config")
    assert (taken.returncode, taken.stderr) == (0, "")
    file.write_text(COMPOSE.replace("objects:/data", "nothing:/data"))
    faulty = run(compose, "--file", file, "--profile", "laptop", "config")
    assert faulty.returncode != 0
    assert "nothing" in faulty.stderr


def test_profiles_start_what_they_say() -> None:
    both = {"s3", "bucket", "deploy", "worker", "watch", "metrics"}
    production = {"postgres", "redis", "prefect", "prefect-services", "prometheus", "grafana"}
    assert set(compose_file.services("laptop")) == both | {"prefect-laptop"}
    assert set(compose_file.services("production")) == both | production


def every_service() -> Iterator[tuple[str, dict[str, Any]]]:
    yield from compose_file.document(COMPOSE)["services"].items()


@pytest.mark.parametrize(
    ("name", "service"), tuple(every_service()), ids=lambda value: value if isinstance(value, str) else ""
)
def test_each_container_is_locked(name: str, service: dict[str, Any]) -> None:
    assert service["read_only"] is True
    assert "no-new-privileges:true" in service["security_opt"]
    assert name == "postgres" or service["cap_drop"] == ["ALL"]
    assert all(port.startswith("127.0.0.1:") for port in service.get("ports", ()))
    assert "healthcheck" in service or name.startswith("worker")


def test_each_secret_is_named_by_reference_and_is_made_by_prepare(tmp_path: Path) -> None:
    """A variable that smells of a secret holds a path under /run/secrets; prepare.py makes every file named."""
    smell = re.compile(r"PASSWORD|SECRET|AUTH|CREDENTIALS|CONNECTION_URL|REDIS_MESSAGING_URL|DOCKET_URL")
    found = [value for _, service in every_service() for name, value in compose_file.environment(service).items()
             if smell.search(name)]  # fmt: skip
    assert len(found) > 10
    assert [value for value in found if not value.startswith("/run/secrets/")] == []
    assert run(sys.executable, DEPLOY / "prepare.py", "--out", tmp_path / "secrets").returncode == 0
    made = {path.name for path in (tmp_path / "secrets").iterdir()}
    named = {Path(entry["file"]).name for entry in compose_file.document(COMPOSE)["secrets"].values()}
    named |= {Path(file).name for _, service in every_service() for file in service.get("env_file", ())}
    named |= {Path(mount.partition(":")[0]).name for _, service in every_service()
              for mount in service.get("volumes", ()) if mount.startswith("./secrets/")}  # fmt: skip
    assert made - named == {"writer.json", "watcher.json", "observer.json"}  # for a store elsewhere
    assert named - made == set()


def test_secrets_are_made_once_and_never_twice_the_same(tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    for folder in (first, second):
        assert run(sys.executable, DEPLOY / "prepare.py", "--out", folder).returncode == 0
    before = {path.name: path.read_text() for path in first.iterdir() if path.is_file()}
    again = run(sys.executable, DEPLOY / "prepare.py", "--out", first)
    assert again.returncode == 2
    assert {path.name: path.read_text() for path in first.iterdir() if path.is_file()} == before
    same = {name for name, text in before.items() if (second / name).read_text() == text}
    assert same == {"public-read.json", "alerts.env", "goms.env", "writer.json", "watcher.json", "observer.json"}
    assert (first.stat().st_mode & 0o777) == 0o700
    assert run("git", "check-ignore", DEPLOY / "secrets" / "prefect_auth", cwd=ROOT).returncode == 0


def test_a_model_runs_on_the_gpu_where_one_is_given_and_nowhere_else() -> None:
    reserved = {name for name, service in every_service() if "nvidia" in str(service.get("deploy"))}
    on_it = {name for name, service in every_service() if "GOMS_DEVICE" in compose_file.environment(service)}
    assert reserved == on_it == {"worker-gpu"}
    assert compose_file.environment(dict(every_service())["worker-gpu"])["GOMS_DEVICE"] == "cuda"
    assert "GOMS_DEVICE=" not in DOCKERFILE


def test_steps_of_scheduled_runs_are_tried_again(manifests: list[dict[str, Any]]) -> None:
    """On Kubernetes the worker's settings of Prefect become its jobs', and the desk's person waits for no tries."""
    tries = str(deployments.TRIES_MORE)
    given = {name: compose_file.environment(service).get("PREFECT_TASK_DEFAULT_RETRIES") for name, service in
             every_service()}  # fmt: skip
    assert {name: value for name, value in given.items() if value} == {"worker": tries, "worker-gpu": tries}
    entry = {"name": "PREFECT_TASK_DEFAULT_RETRIES", "value": tries}
    assert [name for name, pod in pods(manifests).items() if entry in pod["containers"][0].get("env", ())] == ["worker"]


def test_a_run_without_prefect_lets_go_of_all_that_ties_it_to_prefect() -> None:
    """As the runbook says, in the environments that are typed in."""
    page = (DEPLOY / "runbook.md").read_text()
    lines = set(re.findall(r"`(env -u [^`]+)`", page))
    assert len(lines) == 2
    settings = dict(line.split("=", 1) for line in (KUBERNETES / "settings.env").read_text().splitlines())
    for given in (settings, compose_file.environment(dict(every_service())["worker"])):
        ties = {name for name in given if name in ("PREFECT_API_URL", "GOMS_DEVICE_SLOT")}
        for line in lines:
            assert set(re.findall(r"-u (\w+)", line)) == ties
            assert command_lines.complaint(line[line.index("goms ") :]) is None
    (prefix,) = re.findall(r"`docker compose -f deploy/compose.yaml exec -e WAIT_FOR= (worker entrypoint.sh)`", page)
    assert prefix.split()[0] in dict(every_service())


# Kubernetes


@pytest.fixture(scope="module")
def manifests() -> list[dict[str, Any]]:
    """Everything that ``kubectl apply --kustomize`` would send."""
    return list(yaml.safe_load_all(built(KUBERNETES)))


def built(folder: Path) -> str:
    made = run(debian.program("kubectl", "kubernetes-client"), "kustomize", folder)
    assert made.returncode == 0, made.stderr
    return made.stdout


def job_of_a_run() -> dict[str, Any]:
    """The job of a run, as the template with its own defaults gives it.

    Prefect's worker insists on ``parallelism`` and ``completions`` where they have no meaning; the cluster drops them.
    """
    template = json.loads((KUBERNETES / "gpu-job-template.json").read_text())
    values = {name: entry.get("default") for name, entry in template["variables"]["properties"].items()}
    asked = deployments.daily(systems.TWIN).job_variables(deployments.POOLS["kubernetes"])
    values |= {"image": "goms:cuda", "command": ["prefect", "flow-run", "execute"]} | asked
    values["env"] = [{"name": name, "value": value} for name, value in values["env"].items()]  # as the worker does
    job = _filled(template["job_configuration"]["job_manifest"], values)
    pod = job["spec"]["template"]["spec"]
    assert (pod.pop("parallelism"), pod.pop("completions")) == (1, 1)
    return dict(job)


def _filled(value: Any, values: dict[str, Any]) -> Any:
    if isinstance(value, dict):
        return {key: _filled(item, values) for key, item in value.items()}
    if isinstance(value, list):
        return [_filled(item, values) for item in value]
    if not isinstance(value, str):
        return value
    whole = re.fullmatch(r"\{\{ (\w+) \}\}", value)
    return values[whole[1]] if whole else re.sub(r"\{\{ (\w+) \}\}", lambda found: str(values[found[1]]), value)


def test_manifests_are_what_kubernetes_takes(manifests: list[dict[str, Any]]) -> None:
    assert len(manifests) > 15
    for manifest in (*manifests, job_of_a_run()):
        kubernetes_validate.validate(manifest, kubernetes_validate.latest_version(), strict=True)


@pytest.mark.parametrize("spoil", [
    lambda job: job["spec"].update(backoffLimits=0),
    lambda job: job["spec"]["template"]["spec"]["containers"][0].pop("name"),
    lambda job: job["spec"]["template"]["spec"].update(automountServiceAccountToken="no"),
])  # fmt: skip
def test_kubernetes_would_refuse_a_fault(spoil: Callable[[dict[str, Any]], Any]) -> None:
    job = job_of_a_run()
    spoil(job)
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(job, kubernetes_validate.latest_version(), strict=True)


def pods(manifests: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """The pods of everything that runs, by name."""
    run = [item for item in manifests if item["kind"] in ("Deployment", "Job")]
    return {item["metadata"]["name"]: item["spec"]["template"]["spec"] for item in run} | {
        "run": job_of_a_run()["spec"]["template"]["spec"]
    }


def loose(pod: dict[str, Any]) -> list[str]:
    """What of a pod is not locked."""
    found = [] if pod.get("securityContext", {}).get("runAsNonRoot") is True else ["may be root"]
    for container in (*pod["containers"], *pod.get("initContainers", ())):
        security = container.get("securityContext", {})
        wanted = {"allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]}}
        found += [key for key, value in wanted.items() if security.get(key) != value]
        limits = container.get("resources", {})
        found += [] if "memory" in limits.get("limits", {}) and "memory" in limits.get("requests", {}) else ["memory"]
        found += [f"writes nowhere: {path}" for path in ("/var/lib/goms", "/tmp")
                  if path not in {mount["mountPath"] for mount in container.get("volumeMounts", ())}]  # fmt: skip
        smell = re.compile(r"AUTH_STRING$|CONNECTION_URL|MESSAGING_URL|DOCKET_URL")
        found += [
            entry["name"] for entry in container.get("env", ()) if smell.search(entry["name"]) and "value" in entry
        ]
    return found


def test_every_pod_is_locked(manifests: list[dict[str, Any]]) -> None:
    every = pods(manifests)
    assert set(every) == {"prefect", "prefect-services", "worker", "deploy", "watch", "metrics", "desk", "run"}
    assert {name: loose(pod) for name, pod in every.items() if loose(pod)} == {}
    assert loose({"containers": [{"env": [{"name": "PREFECT_API_AUTH_STRING", "value": "secret"}]}]}) == [
        "may be root", "allowPrivilegeEscalation", "readOnlyRootFilesystem", "capabilities", "memory",
        "writes nowhere: /var/lib/goms", "writes nowhere: /tmp", "PREFECT_API_AUTH_STRING",
    ]  # fmt: skip


def test_a_run_is_given_its_gpu_and_each_role_its_own_keys(manifests: list[dict[str, Any]]) -> None:
    (container,) = job_of_a_run()["spec"]["template"]["spec"]["containers"]
    assert container["resources"]["limits"]["nvidia.com/gpu"] == 1
    assert {"name": "GOMS_DEVICE", "value": "cuda"} in container["env"]
    without = [text for text in map(str, manifests) if "nvidia.com/gpu" not in text]
    assert len(without) == len(manifests) - 1  # all but the template of jobs, where a GPU is a variable
    assert [text for text in map(str, manifests) if "GOMS_DEVICE'" in text or "GOMS_DEVICE=" in text] == []
    secrets = {name: {volume["secret"]["secretName"] for volume in pod["volumes"] if "secret" in volume}
               for name, pod in pods(manifests).items()}  # fmt: skip
    assert (secrets["watch"], secrets["metrics"]) == ({"goms-s3-watcher"}, {"goms-s3-observer"})
    assert secrets["worker"] == set()


def test_another_registry_is_that_of_the_runs_too(tmp_path: Path) -> None:
    """The one line that names it is changed; then the cluster is asked for the deploying pod's image, and has it."""
    shutil.copytree(KUBERNETES, tmp_path / "kubernetes")
    names = tmp_path / "kubernetes" / "kustomization.yaml"
    names.write_text(names.read_text().replace("newName: goms", "newName: registry.example.org:5000/sea/goms"))
    text = built(tmp_path / "kubernetes")
    assert re.findall(r"(?<!/)goms:\w+", text) == []
    every = list(yaml.safe_load_all(text))
    (job,) = [item for item in every if item["kind"] == "Job"]
    (settings,) = [item["data"] for item in every if item["metadata"]["name"] == "goms-settings"]
    with cluster({"spec": job["spec"]["template"]["spec"]}) as (api, asked):
        for name, content in (("token", "secret"), ("namespace", "goms")):
            (tmp_path / name).write_text(content)
        make = runpy.run_path(str(DEPLOY / "job_template.py"))["main"]
        template, out = KUBERNETES / "gpu-job-template.json", tmp_path / "template.json"
        assert make("deploy-1", settings["TAG_OF_RUNS"], template, out, tmp_path, api) == 0
        assert asked == [("/api/v1/namespaces/goms/pods/deploy-1", "Bearer secret")]
        made = json.loads(out.read_text())
        assert made["variables"]["properties"]["image"].pop("default") == "registry.example.org:5000/sea/goms:cuda"
        assert made == json.loads(template.read_text()) | {"variables": made["variables"]}
        assert make("deploy-2", "cuda", template, tmp_path / "none.json", tmp_path, api) == 6
    assert not (tmp_path / "none.json").exists()


@pytest.mark.parametrize(("image", "wanted"), [
    ("goms:cpu", "goms:cuda"), ("goms", "goms:cuda"), ("registry:5000/goms", "registry:5000/goms:cuda"),
    ("registry:5000/sea/goms:cpu@sha256:1f", "registry:5000/sea/goms:cuda"),
])  # fmt: skip
def test_an_image_by_another_tag(image: str, wanted: str) -> None:
    assert runpy.run_path(str(DEPLOY / "job_template.py"))["tagged"](image, "cuda") == wanted


@contextmanager
def cluster(pod: dict[str, Any]) -> Iterator[tuple[str, list[tuple[str, str]]]]:
    """A cluster's API that knows one pod: its address, and what it was asked by whom."""
    asked = list[tuple[str, str]]()

    class Api(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append((self.path, self.headers["Authorization"]))
            text = json.dumps(pod).encode()
            self.send_response(200 if self.path.endswith("deploy-1") else 404)
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        def log_message(self, format: str, *args: Any) -> None:
            """Nothing: the tests' own output is enough."""

    with HTTPServer(("127.0.0.1", 0), Api) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.server_port}", asked
        finally:
            server.shutdown()


def test_template_of_jobs_is_taken_by_prefect() -> None:
    """The worker's own validation of the template, filled in as it fills it in."""
    from prefect_kubernetes.worker import KubernetesWorkerJobConfiguration

    template = json.loads((KUBERNETES / "gpu-job-template.json").read_text())
    filled = _filled(template["job_configuration"], {
        name: entry.get("default") for name, entry in template["variables"]["properties"].items()
    } | {"command": "x", "image": "goms:cuda"})  # fmt: skip
    KubernetesWorkerJobConfiguration.model_validate(filled)
    filled["job_manifest"]["spec"]["template"]["spec"].pop("containers")
    with pytest.raises(ValueError, match="containers"):
        KubernetesWorkerJobConfiguration.model_validate(filled)


def test_every_pod_is_spoken_for_in_the_network(manifests: list[dict[str, Any]]) -> None:
    """Nothing is open by default, and each policy is about a pod that there is."""
    policies = {item["metadata"]["name"]: item["spec"] for item in manifests if item["kind"] == "NetworkPolicy"}
    assert policies["nobody-speaks"] == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}
    run = [item for item in manifests if item["kind"] in ("Deployment", "Job")]
    labels = [item["spec"]["template"]["metadata"]["labels"] for item in (*run, job_of_a_run())]
    for name, spec in policies.items():
        wanted = spec["podSelector"].get("matchLabels", {}).items()
        assert any(wanted <= there.items() for there in labels), name


# Settings


def test_settings_table_is_current() -> None:
    """After a change of ``Settings``: ``python -m tests.settings_table``."""
    assert settings_table.PATH.read_text() == settings_table.table()


def test_every_setting_says_what_it_means() -> None:
    cells = [row[3] for row in settings_table.rows(settings_table.Settings, "GOMS_")]
    assert cells
    assert all(cells)


# The same commands as the CLI's


def test_goms_takes_the_commands_of_the_containers(manifests: list[dict[str, Any]]) -> None:
    lines = [shlex.join(compose_file.command(service)) for _, service in every_service() if "command" in service]
    lines += [shlex.join(container["args"]) for pod in pods(manifests).values()
              for container in (*pod["containers"], *pod.get("initContainers", ()))]  # fmt: skip
    ours = {line for line in lines if line.startswith("goms ")}
    assert len(ours) >= 4
    assert {line: command_lines.complaint(line) for line in ours} == dict.fromkeys(ours)


def test_workers_serve_work_pools_that_there_are() -> None:
    from flows.service.deployments import POOLS

    served = [json.loads(line.removeprefix("CMD ")) for line in DOCKERFILE.splitlines() if line.startswith("CMD ")]
    served += [compose_file.command(service) for name, service in every_service() if name.startswith("worker")]
    assert len(served) == 3
    pools_and_kinds = [(words[words.index("--pool") + 1], words[words.index("--type") + 1]) for words in served]
    assert [(name, kind) for name, kind in pools_and_kinds if name not in POOLS or POOLS[name].kind != kind] == []
