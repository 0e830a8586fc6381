"""The manifests: put together by kustomize, valid by strict schemas, and what they promise."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml
from jsonschema import Draft202012Validator

from tests.deploy.manifests import K8S, SPECS, Manifest
from worker.acls import Purpose, Resource, grants, principal_of
from worker.settings import Settings, load_settings
from worker.topic_policy import BROKER_MAX_MESSAGE_BYTES, Role, names, wanted_config

EXAMPLES = ("example/at-least-once", "example/exactly-once", "example/replay", "example/operate")
BUILDS = ("base", "strimzi", *EXAMPLES)
Kustomized = Callable[[str], list[Manifest]]
VERSIONS = ("1.30", "1.37")
RESOURCES = {"topic": Resource.TOPIC, "group": Resource.GROUP, "transactionalId": Resource.TRANSACTIONAL_ID}
OURS = {"app.kubernetes.io/part-of": "user-context-worker"}
PROBES = {"startupProbe", "livenessProbe", "readinessProbe"}
STOPS_WITHIN_S = 10


def of_kind(manifests: list[Manifest], *kinds: str) -> list[Manifest]:
    return [each for each in manifests if each["kind"] in kinds]


def pods(manifests: list[Manifest]) -> Iterator[dict[str, Any]]:
    return (each["spec"]["template"]["spec"] for each in of_kind(manifests, "Deployment", "StatefulSet", "Job"))


def environment(container: dict[str, Any], manifests: list[Manifest]) -> dict[str, str]:
    """The variables that the process would see; a field of the pod is its name."""
    maps = {each["metadata"]["name"]: each["data"] for each in of_kind(manifests, "ConfigMap")}
    found: dict[str, str] = {}
    for source in container["envFrom"]:
        found |= maps[source["configMapRef"]["name"]]
    return found | {each["name"]: each.get("value", "context-worker-0") for each in container["env"]}


@pytest.mark.parametrize("folder", BUILDS)
def test_all_of_it_is_valid(folder: str, kustomized: Kustomized) -> None:
    for manifest in kustomized(folder):
        place = f"{manifest['kind']} {manifest['metadata']['name']}"
        spec = SPECS.get((manifest["apiVersion"], manifest["kind"]))
        if spec is not None:
            assert set(manifest) == {"apiVersion", "kind", "metadata", "spec"}, place
            problems = [error.message for error in Draft202012Validator(spec).iter_errors(manifest["spec"])]
            assert problems == [], place
            continue
        for version in VERSIONS:
            kubernetes_validate.validate(manifest, version, strict=True)


def test_a_field_that_kubernetes_does_not_know_is_found(kustomized: Kustomized) -> None:
    [deployment] = [each for each in of_kind(kustomized("base"), "Deployment") if "worker" in each["metadata"]["name"]]
    deployment["spec"]["template"]["spec"]["enableServiceLink"] = False
    with pytest.raises(kubernetes_validate.ValidationError, match="enableServiceLink"):
        kubernetes_validate.validate(deployment, VERSIONS[-1], strict=True)


@pytest.mark.parametrize("folder", EXAMPLES)
def test_every_pod_may_do_nothing_that_it_need_not(folder: str, kustomized: Kustomized) -> None:
    manifests = kustomized(folder)
    assert len(list(pods(manifests))) == len(of_kind(manifests, "Job")) + 2
    for pod in pods(manifests):
        assert pod["enableServiceLinks"] is False
        assert pod["automountServiceAccountToken"] is False
        assert pod["terminationGracePeriodSeconds"] > STOPS_WITHIN_S
        assert pod["securityContext"]["runAsNonRoot"]
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        [container] = pod["containers"]
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        assert set(container) >= PROBES or pod["restartPolicy"] != "Always"
        assert container["resources"]["limits"].keys() == {"memory"}
        assert container["image"] == "registry.example.com/user-context-worker:0.1.0"
        assert not [each for each in container["env"] if "secretKeyRef" in str(each)]  # secrets are files
    account = of_kind(manifests, "ServiceAccount")[0]
    assert account["automountServiceAccountToken"] is False


@pytest.mark.parametrize("folder", EXAMPLES)
def test_every_workload_has_a_budget_and_a_policy(folder: str, kustomized: Kustomized) -> None:
    manifests = kustomized(folder)
    labels = [each["spec"]["selector"] for each in of_kind(manifests, "Deployment", "StatefulSet")]
    assert [each["spec"]["selector"] for each in of_kind(manifests, "PodDisruptionBudget")] == sorted(labels, key=str)
    selectors = [each["spec"]["podSelector"] for each in of_kind(manifests, "NetworkPolicy")]
    assert selectors == [*sorted(labels, key=str), {"matchLabels": OURS}]


@pytest.mark.parametrize("folder", EXAMPLES)
def test_every_pod_is_closed_to_whoever_is_not_named(folder: str, kustomized: Kustomized) -> None:
    manifests = kustomized(folder)
    for each in of_kind(manifests, "Deployment", "StatefulSet", "Job"):
        assert each["spec"]["template"]["metadata"]["labels"].items() >= OURS.items()
    [closed] = [
        each["spec"] for each in of_kind(manifests, "NetworkPolicy")
        if each["spec"]["podSelector"] == {"matchLabels": OURS}
    ]  # fmt: skip
    assert closed["policyTypes"] == ["Ingress", "Egress"]
    assert "ingress" not in closed


@pytest.mark.parametrize("folder", EXAMPLES)
def test_the_variables_are_settings(folder: str, kustomized: Kustomized, tmp_path: Path) -> None:
    manifests = kustomized(folder)
    secret = tmp_path / "password"
    secret.write_text("secret\n")
    for pod in pods(manifests):
        [container] = pod["containers"]
        variables = environment(container, manifests)
        paths = [variables[name] for name in variables if name.endswith(("_FILE", "_LOCATION"))]
        mounted = [
            f"{mount['mountPath']}/{item['path']}"
            for mount in container["volumeMounts"]
            for volume in pod["volumes"]
            if volume["name"] == mount["name"]
            for item in volume["secret"]["items"]
        ]
        assert sorted(paths) == sorted(mounted)
        variables["WORKER_KAFKA_SASL_PASSWORD_FILE"] = str(secret)
        settings = load_settings({}, variables)
        assert settings.kafka["security.protocol"] == "SASL_SSL"
        is_member = container["args"] == ["run"]
        assert settings.is_exactly_once == (folder == "example/exactly-once")
        assert bool(settings.instance_id) == (is_member and settings.is_exactly_once)


def test_members_with_a_name_of_their_own_are_a_stateful_set(kustomized: Kustomized) -> None:
    [members] = of_kind(kustomized("example/exactly-once"), "StatefulSet")
    assert members["spec"]["podManagementPolicy"] == "Parallel"
    [container] = members["spec"]["template"]["spec"]["containers"]
    named = {"name": "WORKER_INSTANCE_ID", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}
    assert named in container["env"]


@pytest.mark.parametrize("folder", ["example/at-least-once", "example/exactly-once"])
def test_a_member_that_is_stuck_tells_its_stacks_before_it_is_ended(folder: str, kustomized: Kustomized) -> None:
    [probe] = [
        container["livenessProbe"]
        for pod in pods(kustomized(folder))
        for container in pod["containers"]
        if container["args"] == ["run"]
    ]
    assert (probe["failureThreshold"] - 1) * probe["periodSeconds"] > Settings().stall_timeout_s


def test_members_that_restore_are_not_evicted_beside_the_one_that_already_is(kustomized: Kustomized) -> None:
    [budget] = [
        each["spec"] for each in of_kind(kustomized("base"), "PodDisruptionBudget")
        if each["metadata"]["name"] == "context-worker"
    ]  # fmt: skip
    assert (budget["maxUnavailable"], budget["unhealthyPodEvictionPolicy"]) == (1, "IfHealthyBudget")


def test_a_replay_works_alone(kustomized: Kustomized) -> None:
    manifests = kustomized("example/replay")
    [_, members] = of_kind(manifests, "Deployment")
    assert (members["metadata"]["name"], members["spec"]["replicas"]) == ("context-worker", 0)
    [job] = of_kind(manifests, "Job")
    assert job["spec"]["template"]["spec"]["containers"][0]["args"] == ["replay", "--from", "beginning", "--yes"]


def test_keda_looks_at_both_topics_and_nobody_else_counts_replicas(kustomized: Kustomized) -> None:
    manifests = kustomized("example/at-least-once")
    [scaled] = of_kind(manifests, "ScaledObject")
    topics = {trigger["metadata"]["topic"] for trigger in scaled["spec"]["triggers"]}
    assert topics == {Settings().input_topic, Settings().repartition_topic}
    for trigger in scaled["spec"]["triggers"]:  # else never more members than one of the topics has partitions
        assert trigger["metadata"]["allowIdleConsumers"] == "true"
    [target] = [
        each for each in of_kind(manifests, "Deployment")
        if each["metadata"]["name"] == scaled["spec"]["scaleTargetRef"]["name"]
    ]  # fmt: skip
    assert "replicas" not in target["spec"]


def test_the_topics_are_what_the_worker_would_create(kustomized: Kustomized) -> None:
    topics = {each["spec"]["topicName"]: each["spec"] for each in of_kind(kustomized("strimzi"), "KafkaTopic")}
    roles = names(Settings())
    assert set(topics) == set(roles.values())
    for role, name in roles.items():
        if role is not Role.INPUT:
            assert topics[name]["config"] == {
                **wanted_config(role, Settings(), BROKER_MAX_MESSAGE_BYTES),
                "min.insync.replicas": "2",
            }
    assert len({spec["partitions"] for spec in topics.values()}) == 1


@pytest.mark.parametrize("purpose", [Purpose.RUN, Purpose.READ, Purpose.OPERATE])
def test_the_rights_are_those_that_the_worker_prints(purpose: Purpose, kustomized: Kustomized) -> None:
    settings = Settings(create_topics=False, processing_guarantee="exactly_once")
    [user] = [
        each for each in of_kind(kustomized("strimzi"), "KafkaUser")
        if f"User:{each['metadata']['name']}" == principal_of(purpose, settings)
    ]  # fmt: skip
    written = {
        (RESOURCES[acl["resource"]["type"]], acl["resource"]["name"], acl["resource"]["patternType"], operation)
        for acl in user["spec"]["authorization"]["acls"]
        for operation in acl["operations"]
    }
    assert written == {
        (grant.resource, grant.name, "prefix" if grant.prefixed else "literal", grant.right.value)
        for grant in grants(purpose, settings)
    }


def test_every_file_is_part_of_a_kustomization() -> None:
    named: set[Path] = set()
    for path in K8S.rglob("kustomization.yaml"):
        document = yaml.safe_load(path.read_text())
        named |= {(path.parent / each).resolve() for each in document.get("resources", [])}
    files = {path for path in K8S.rglob("*.yaml") if path.name != "kustomization.yaml"}
    assert files == {path for path in named if path.is_file()}
