"""Models from S3 and engines in S3, over TLS, with keys from Secrets."""

import base64
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from tests.support.api import Api
from tests.support.object_store import ObjectStore
from tests.support.trtmodels import conditions, job_names, message, trtmodel
from tests.support.waiting import eventually

from .conftest import Workspace
from .inference import infer, relative_error
from .test_served_model import TOLERANCE, is_serving

SECRET = "s3-credentials"


@pytest.fixture
def bucket(workspace: Workspace) -> Iterator["Bucket"]:
    """A bucket with the tiny model in it, at an address that the cluster reaches, and the Secret that opens it."""
    store = ObjectStore(workspace.cluster.layout.host_address)
    try:
        found = Bucket(store, workspace.api.namespace)
        found.upload(workspace, "tiny")
        secret(workspace.api, SECRET, store.secret())
        yield found
        # Artifacts that go with their models need a store to go from.
        workspace.kubectl("delete", "trtmodels", "--all", "--timeout=60s")
    finally:
        store.close()


class Bucket:
    """One bucket of the store."""

    def __init__(self, store: ObjectStore, name: str) -> None:
        self.store, self.name = store, name
        store.client.create_bucket(Bucket=name)

    def upload(self, workspace: Workspace, model: str, prefix: str = "tiny") -> None:
        self.store.upload(self.name, prefix, workspace.volume / model)

    def keys(self, prefix: str) -> list[str]:
        return self.store.keys(self.name, prefix)

    def source(self, **more: Any) -> dict[str, Any]:
        return {"uri": f"s3://{self.name}/tiny", "secretName": SECRET} | more

    def artifacts(self, **more: Any) -> dict[str, Any]:
        return {"uri": f"s3://{self.name}/store", "secretName": SECRET} | more


def secret(api: Api, name: str, keys: dict[str, str]) -> None:
    data = {key: base64.b64encode(value.encode()).decode() for key, value in keys.items()}
    api.create({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "data": data})


def stalled(api: Api, reason: str) -> bool:
    return conditions(api, "tiny").get("Stalled") == ("True", reason)


def test_a_model_in_s3_is_served_from_an_artifact_in_s3_and_both_outlive_or_go_as_asked(
    workspace: Workspace, bucket: Bucket
) -> None:
    api = workspace.api
    known = np.load(workspace.volume / "tiny.npz")
    api.create(trtmodel("tiny", source=bucket.source(), artifacts=bucket.artifacts(deletionPolicy="Delete")))
    eventually(lambda: is_serving(api, "tiny"), seconds=180)
    answer = infer(workspace.address("tiny"), "tiny", images=known["images"][:1])
    assert relative_error(answer, known["scores"][:1]) < TOLERANCE

    status = api.get("TRTModel", "tiny")["status"]["conversion"]
    assert status["artifact"].startswith(f"s3://{bucket.name}/store/{api.namespace}/")
    prefix = status["artifact"].removeprefix(f"s3://{bucket.name}/")
    assert f"{prefix}/manifest.json" in bucket.keys("store")
    assert status["reportUri"].removeprefix(f"s3://{bucket.name}/") in bucket.keys("store")

    api.delete("TRTModel", "tiny")
    eventually(lambda: not api.exists("TRTModel", "tiny"), seconds=120)
    assert bucket.keys("store") == []
    assert bucket.keys("tiny"), "the source is the user's"


def test_files_that_change_under_one_uri_are_noticed_and_a_new_revision_takes_them(
    workspace: Workspace, bucket: Bucket
) -> None:
    api = workspace.api
    model = trtmodel("tiny", source=bucket.source(), artifacts=bucket.artifacts())
    api.create(model)
    eventually(lambda: is_serving(api, "tiny"), seconds=180)
    api.delete("TRTModel", "tiny")
    eventually(lambda: not api.list("Job") and not api.list("Pod"), seconds=120)

    bucket.upload(workspace, "other")
    api.create(model)
    eventually(lambda: stalled(api, "SourceChanged"), seconds=120)
    assert "revision" in message(api, "Stalled", "tiny")
    assert not api.exists("Deployment", "tiny"), "an engine of other bytes is never served"

    api.patch("TRTModel", "tiny", {"spec": {"source": {"revision": "2"}}})
    eventually(lambda: is_serving(api, "tiny"), seconds=180)
    known = np.load(workspace.volume / "other.npz")
    answer = infer(workspace.address("tiny"), "tiny", images=known["images"][:1])
    assert relative_error(answer, known["scores"][:1]) < TOLERANCE


def test_a_pinned_digest_that_differs_is_an_error_with_both(workspace: Workspace, bucket: Bucket) -> None:
    api = workspace.api
    wrong = "sha256:" + "0" * 64
    api.create(trtmodel("tiny", source=bucket.source(digest=wrong)))
    eventually(lambda: stalled(api, "DigestMismatch"), seconds=120)
    words = message(api, "Stalled", "tiny")
    assert wrong in words
    (found,) = {word.strip(".,;:()") for word in words.split() if word.startswith("sha256:")} - {wrong}
    api.patch("TRTModel", "tiny", {"spec": {"source": {"digest": found}}})
    eventually(lambda: is_serving(api, "tiny"), seconds=180)
    assert api.get("TRTModel", "tiny")["status"]["conversion"]["sourceDigest"] == found


def test_a_bucket_that_is_not_there_is_named(workspace: Workspace, bucket: Bucket) -> None:
    api = workspace.api
    api.create(trtmodel("tiny", source=bucket.source(uri="s3://no-such-bucket/tiny")))
    eventually(lambda: stalled(api, "SourceNotFound"), seconds=120)
    assert "no-such-bucket" in message(api, "Stalled", "tiny")


def test_a_secret_that_does_not_name_the_store_is_not_shown_to_it_and_a_line_more_is_all_it_takes(
    workspace: Workspace, bucket: Bucket
) -> None:
    api = workspace.api
    keys = bucket.store.secret()
    host = keys.pop("hosts")
    secret(api, "another", keys)
    api.create(trtmodel("tiny", source=bucket.source(secretName="another")))
    eventually(lambda: stalled(api, "SecretUnfit"), seconds=120)
    assert f"add the line {host} to its key hosts" in message(api, "Stalled", "tiny")

    line = base64.b64encode(host.encode()).decode()
    workspace.kubectl("patch", "secret", "another", "--patch", f'{{"data": {{"hosts": "{line}"}}}}')
    workspace.kubectl("annotate", "trtmodel", "tiny", "tftrt.dev/retry=1")
    eventually(lambda: is_serving(api, "tiny"), seconds=180)


def test_other_verification_data_measures_the_same_engine_again(workspace: Workspace, bucket: Bucket) -> None:
    api = workspace.api
    api.create(trtmodel("tiny", source=bucket.source(), artifacts=bucket.artifacts()))
    eventually(lambda: is_serving(api, "tiny"), seconds=180)
    before = api.get("TRTModel", "tiny")["status"]
    manifests = [key for key in bucket.keys("store") if key.endswith("manifest.json")]
    deployment = api.get("Deployment", "tiny")["metadata"]["generation"]
    (first,) = job_names(api)

    images = np.load(workspace.volume / "tiny.npz")["images"]
    np.savez(workspace.volume / "held-out.npz", images=images)
    bucket.store.client.upload_file(str(workspace.volume / "held-out.npz"), bucket.name, "held-out.npz")
    data = {"dataUri": f"s3://{bucket.name}/held-out.npz", "secretName": SECRET, "maxRelativeError": "0.01"}
    api.patch("TRTModel", "tiny", {"spec": {"verification": data}})
    eventually(lambda: [name for name in job_names(api) if name != first], seconds=30)
    eventually(lambda: is_serving(api, "tiny"), seconds=180)

    assert f"4 samples of s3://{bucket.name}/held-out.npz" in message(api, "Verified", "tiny")
    after = api.get("TRTModel", "tiny")["status"]
    assert after["fingerprint"] == before["fingerprint"]
    assert after["conversion"]["artifact"] == before["conversion"]["artifact"]
    assert [key for key in bucket.keys("store") if key.endswith("manifest.json")] == manifests
    assert api.get("Deployment", "tiny")["metadata"]["generation"] == deployment, "no server is touched"
