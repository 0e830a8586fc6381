"""The manifests as Kubernetes would get them, and what they must be like."""

from __future__ import annotations

import shutil
import subprocess
from typing import Any

import yaml

from tests.brokers import CHECKOUT

K8S = CHECKOUT / "deploy" / "k8s"
HOW_TO_GET_KUSTOMIZE = "install kubectl, or kustomize 5"

Manifest = dict[str, Any]


class NoKustomizeError(Exception):
    """Nothing here puts manifests together."""


def build(folder: str) -> list[Manifest]:
    """What a kustomization makes, by kustomize itself or by the one in kubectl.

    Raises:
        NoKustomizeError: neither is here.
    """
    for command in (["kustomize", "build"], ["kubectl", "kustomize"]):
        if shutil.which(command[0]):
            done = subprocess.run([*command, str(K8S / folder)], capture_output=True, text=True, check=False)
            assert done.returncode == 0, done.stderr
            return list(yaml.safe_load_all(done.stdout))
    raise NoKustomizeError("neither `kustomize` nor `kubectl` here")


def _object(required: dict[str, Any], **optional: Any) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": {**required, **optional},
        "required": list(required),
        "additionalProperties": False,
    }


def _list(items: dict[str, Any]) -> dict[str, Any]:
    return {"type": "array", "items": items, "minItems": 1}


TEXT: dict[str, Any] = {"type": "string", "minLength": 1}
NUMBER: dict[str, Any] = {"type": "integer", "minimum": 0}
TEXTS: dict[str, Any] = {"type": "object", "additionalProperties": {"type": "string"}}
LIST_OF_REFERENCES = _list(_object({"parameter": TEXT, "name": TEXT, "key": TEXT}))
SCALING = _object(
    {"policies": _list(_object({"type": {"enum": ["Pods", "Percent"]}, "value": NUMBER, "periodSeconds": NUMBER}))},
    stabilizationWindowSeconds=NUMBER,
)
ACL = _object(
    {
        "resource": _object(
            {"type": {"enum": ["topic", "group", "transactionalId"]}, "name": TEXT},
            patternType={"enum": ["literal", "prefix"]},
        ),
        "operations": _list({"enum": ["Read", "Write", "Create", "Describe", "DescribeConfigs"]}),
    }
)

# Kinds that Kubernetes does not know by itself: the fields of each that are used here, after its documentation. No
# package carries their schemas.
SPECS: dict[tuple[str, str], dict[str, Any]] = {
    ("kafka.strimzi.io/v1", "KafkaTopic"): _object(
        {"topicName": TEXT, "partitions": NUMBER, "replicas": NUMBER, "config": {"type": "object"}}
    ),
    ("kafka.strimzi.io/v1", "KafkaUser"): _object(
        {
            "authentication": _object({"type": {"enum": ["tls", "scram-sha-512"]}}),
            "authorization": _object({"type": {"const": "simple"}, "acls": _list(ACL)}),
        }
    ),
    ("keda.sh/v1alpha1", "TriggerAuthentication"): _object(
        {}, secretTargetRef=LIST_OF_REFERENCES, configMapTargetRef=LIST_OF_REFERENCES
    ),
    ("keda.sh/v1alpha1", "ScaledObject"): _object(
        {
            "scaleTargetRef": _object({"name": TEXT}, apiVersion=TEXT, kind=TEXT),
            "triggers": _list(_object({"type": TEXT, "metadata": TEXTS}, authenticationRef=_object({"name": TEXT}))),
        },
        minReplicaCount=NUMBER,
        maxReplicaCount=NUMBER,
        pollingInterval=NUMBER,
        cooldownPeriod=NUMBER,
        advanced=_object(
            {"horizontalPodAutoscalerConfig": _object({"behavior": _object({}, scaleUp=SCALING, scaleDown=SCALING)})}
        ),
    ),
}
