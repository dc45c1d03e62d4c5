"""Only what a container needs is within its reach: each Secret and each claim where it is used, and nowhere else."""

import re
from collections.abc import Mapping
from typing import Any

from tftrt_operator.api.trtmodel import TRTModel
from tftrt_operator.domain.manifests.cleanup_job import Store, cleanup_job
from tftrt_operator.domain.manifests.conversion_job import conversion_job
from tftrt_operator.domain.manifests.deployment import deployment

from .builders import engine_record, target, trtmodel

EVERYWHERE: dict[str, Any] = {
    "source": {"uri": "s3://models/resnet50", "secretName": "source-keys"},
    "conversion": {
        "precision": "INT8",
        "calibration": {"uri": "https://data.example/calibration.npz", "secretName": "web"},
    },
    "verification": {"dataUri": "gs://data/held-out", "secretName": "google"},
    "artifacts": {"uri": "az://artifacts/tftrt", "secretName": "store-keys"},
}


def pod_of(body: Mapping[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = body["spec"]["template"]["spec"]
    return found


def reach(pod: dict[str, Any]) -> dict[str, set[str]]:
    """By container: the Secrets and claims that it has mounted."""
    behind = {
        volume["name"]: volume.get("secret", {}).get("secretName") or volume["persistentVolumeClaim"]["claimName"]
        for volume in pod["volumes"]
        if "secret" in volume or "persistentVolumeClaim" in volume
    }
    return {
        container["name"]: {behind[mount["name"]] for mount in container["volumeMounts"] if mount["name"] in behind}
        for container in [*pod.get("initContainers", []), *pod["containers"]]
    }


def job(model: TRTModel) -> dict[str, Any]:
    wanted = target(model)
    return pod_of(conversion_job(model, wanted.runtime, wanted.key).body)


def server(model: TRTModel) -> dict[str, Any]:
    return pod_of(deployment(model, target(model).runtime, engine_record(model), None, 1).body)


def test_each_secret_is_seen_by_the_container_that_fetches_or_publishes_and_never_beside_tensorflow() -> None:
    assert reach(job(trtmodel(**EVERYWHERE))) == {
        "lookup": {"store-keys"},
        "fetch": {"source-keys", "web", "google"},
        "convert": set(),
        "publish": {"store-keys"},
    }


def test_secrets_lie_where_their_role_is() -> None:
    fetch = next(c for c in job(trtmodel(**EVERYWHERE))["initContainers"] if c["name"] == "fetch")
    paths = {mount["name"]: mount["mountPath"] for mount in fetch["volumeMounts"]}
    assert paths["secret-source"] == "/mnt/secrets/source"
    assert paths["secret-calibration"] == "/mnt/secrets/calibration"
    assert paths["secret-verification"] == "/mnt/secrets/verification"


def test_a_claim_that_is_source_and_store_is_one_volume_writable_in_the_end_alone() -> None:
    pod = job(trtmodel(verification={"dataUri": "pvc://models/held-out.npz"}))
    assert [volume["name"] for volume in pod["volumes"]].count("pvc-models") == 1
    read_only = {
        container["name"]: [mount["readOnly"] for mount in container["volumeMounts"] if mount["name"] == "pvc-models"]
        for container in [*pod["initContainers"], *pod["containers"]]
    }
    assert read_only == {"lookup": [True], "fetch": [True], "convert": [], "publish": [False]}


def claims(pod: dict[str, Any]) -> dict[str, bool]:
    """By claim: whether its volume is attached read-only."""
    found = (volume["persistentVolumeClaim"] for volume in pod["volumes"] if "persistentVolumeClaim" in volume)
    return {claim["claimName"]: claim.get("readOnly", False) for claim in found}


def test_a_claim_that_a_conversion_only_reads_is_attached_read_only_so_that_its_files_stay_as_they_are() -> None:
    apart = trtmodel(
        source={"uri": "pvc://postgres-data/models/x"},
        verification={"dataUri": "pvc://samples/held-out.npz"},
        artifacts={"uri": "pvc://store/tftrt"},
    )
    assert claims(job(apart)) == {"postgres-data": True, "samples": True, "store": False}
    in_a_bucket = trtmodel(source={"uri": "pvc://postgres-data/models/x"}, artifacts={"uri": "s3://store/tftrt"})
    assert claims(job(in_a_bucket)) == {"postgres-data": True}
    assert claims(job(trtmodel())) == {"models": False}, "source and store in one"


def test_a_server_gives_no_file_of_a_claim_to_its_group() -> None:
    assert "fsGroup" not in server(trtmodel())["securityContext"]
    pulls = server(trtmodel(**EVERYWHERE))
    assert pulls["securityContext"]["fsGroup"] == 65532, "it reads its Secret by this group"
    assert claims(pulls) == {}


def test_what_runs_the_model_shares_no_home_with_what_has_a_secret() -> None:
    def homes(pod: dict[str, Any]) -> dict[str, str]:
        containers = [*pod.get("initContainers", []), *pod["containers"]]
        return {
            container["name"]: mount["name"]
            for container in containers
            for mount in container["volumeMounts"]
            if mount["mountPath"] == "/tmp"
        }

    for pod, runs_the_model in ((job(trtmodel(**EVERYWHERE)), "convert"), (server(trtmodel(**EVERYWHERE)), "server")):
        found = homes(pod)
        own = found.pop(runs_the_model)
        assert own not in found.values()
        assert {own, *found.values()} <= {volume["name"] for volume in pod["volumes"]}


def test_what_runs_the_model_is_not_told_the_queries_of_addresses() -> None:
    signed = "https://models.example/{}?X-Amz-Signature=planted"
    model = trtmodel(
        source={"uri": signed.format("resnet50.tar")},
        conversion={"precision": "INT8", "calibration": {"uri": signed.format("calibration.npz")}},
        verification={"dataUri": signed.format("held-out.npz")},
    )
    wanted = target(model)
    template = conversion_job(model, wanted.runtime, wanted.key).body["spec"]["template"]
    pod, annotations = template["spec"], template["metadata"]["annotations"]
    fields = {
        volume["name"]: volume["downwardAPI"]["items"][0]["fieldRef"]["fieldPath"]
        for volume in pod["volumes"]
        if "downwardAPI" in volume
    }

    def task(container: dict[str, Any]) -> str:
        (mount,) = [mount for mount in container["volumeMounts"] if mount["mountPath"] == "/etc/tftrt"]
        return str(annotations[fields[mount["name"]].removeprefix("metadata.annotations['").removesuffix("']")])

    told = {container["name"]: task(container) for container in [*pod["initContainers"], *pod["containers"]]}
    assert told["fetch"].count("planted") == 3
    assert "planted" not in told["convert"]
    assert '"https://models.example/resnet50.tar"' in told["convert"]


def test_claims_with_long_or_dotted_names_have_volumes_of_their_own() -> None:
    one, other = "models." + "a" * 80, "models." + "a" * 81
    pod = job(trtmodel(source={"uri": f"pvc://{one}/resnet50"}, artifacts={"uri": f"pvc://{other}/tftrt"}))
    volumes = {
        volume["name"]: volume["persistentVolumeClaim"]["claimName"]
        for volume in pod["volumes"]
        if "persistentVolumeClaim" in volume
    }
    assert sorted(volumes.values()) == [one, other]
    assert all(re.fullmatch("[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?", name) for name in volumes)
    containers = [*pod["initContainers"], *pod["containers"]]
    assert {mount["name"] for c in containers for mount in c["volumeMounts"] if "/mnt/pvc/" in mount["mountPath"]} == {
        *volumes
    }


def test_a_server_mounts_an_artifact_in_a_claim_and_pulls_one_from_an_object_store() -> None:
    mounted = server(trtmodel())
    assert "initContainers" not in mounted
    assert reach(mounted) == {"server": {"models"}}

    pulled = server(trtmodel(**EVERYWHERE))
    assert reach(pulled) == {"pull": {"store-keys"}, "server": set()}
    (mount,) = [m for m in pulled["containers"][0]["volumeMounts"] if m["mountPath"] == "/mnt/artifact"]
    assert mount == {"name": "artifact", "mountPath": "/mnt/artifact", "readOnly": True}


def test_who_deletes_artifacts_has_the_stores_secret() -> None:
    model = trtmodel(**EVERYWHERE)
    wanted = target(model)
    store = Store(wanted.key.store, "store-keys")
    body = cleanup_job(model, wanted.runtime, store, [wanted.key.fingerprint]).body
    assert reach(pod_of(body)) == {"delete": {"store-keys"}}
