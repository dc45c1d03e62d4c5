"""A wrong manifest is refused at `kubectl apply`, in words that a person can act on."""

from typing import Any

import pytest

from tests.support.api import Api, Refused
from tests.support.trtmodels import trtmodel

PODS = (
    lambda pods: {"pods": pods},
    lambda pods: {"conversion": {"pods": pods}},
    lambda pods: {"serving": {"pods": pods}},
)
"""Where a spec says something of pods."""

REFUSALS: list[tuple[dict[str, Any], str]] = [
    ({"source": {}}, "spec.source.uri: Required value"),
    ({"source": {"uri": "file:///models/resnet50"}}, "must be one of pvc://claim/path"),
    ({"source": {"uri": "ftp://models/resnet50"}}, "must be one of pvc://claim/path"),
    ({"source": {"uri": "s3:///resnet50"}}, "must be one of pvc://claim/path"),
    ({"source": {"uri": "s3://models/../secrets"}}, "must not contain '..'"),
    ({"source": {"uri": "https://me:secret@models.example/a.tar.gz"}}, "put them into a Secret"),
    *(
        ({"source": {"uri": f"{address}/a.zip"}}, "must be one of pvc://claim/path")
        for address in (
            "http://[x",
            "https://a]b",
            "https://[fe80::1%25eth0]",
            "https://[fd00::1]x",
            "https://models example",
            "https://models.example:port",
            "https://models.example:",
            "https://",
        )
    ),
    ({"verification": {"dataUri": "http://[x/y"}}, "must be one of pvc://claim/path"),
    ({"source": {"uri": "pvc://models/a", "secretName": "keys"}}, "a pvc:// URI needs none"),
    ({"source": {"uri": "http://models.example/a.zip", "secretName": "keys"}}, "never goes over plain http"),
    ({"verification": {"dataUri": "http://data.example/x.npz", "secretName": "keys"}}, "never goes over plain http"),
    (
        {
            "conversion": {
                "precision": "INT8",
                "calibration": {"uri": "http://data.example/x.npz", "secretName": "keys"},
            }
        },
        "never goes over plain http",
    ),
    ({"source": {"uri": "s3://models/a", "secretName": "Keys!"}}, "spec.source.secretName"),
    ({"source": {"uri": "s3://models/a", "digest": "md5:1"}}, "spec.source.digest"),
    ({"source": {"uri": "s3://models/a", "values": {"x": {"a": 1}}}}, "spec.source.values.x"),
    ({"source": {"uri": "s3://models/a", "values": {"x": [1]}}}, "spec.source.values.x"),
    ({"source": {"uri": "s3://models/a", "values": {"x": "a" * 1025}}}, "spec.source.values.x"),
    ({"source": {"uri": "s3://models/a", "values": {f"x{n}": n for n in range(17)}}}, "spec.source.values"),
    ({"source": {"uri": "s3://models/a", "format": "ONNX"}}, 'supported values: "SavedModel", "FrozenGraph"'),
    ({"source": {"uri": "s3://models/a.pb", "format": "FrozenGraph"}}, "a FrozenGraph needs inputs and outputs"),
    (
        {"source": {"uri": "s3://models/a.pb", "format": "FrozenGraph", "inputs": ["a:0"]}},
        "a FrozenGraph needs inputs and outputs",
    ),
    (
        {"source": {"uri": "s3://models/a.pb", "format": "FrozenGraph", "inputs": ["a:b"], "outputs": ["b:0"]}},
        "spec.source.inputs[0]",
    ),
    (
        {
            "source": {
                "uri": "s3://models/a.pb",
                "format": "FrozenGraph",
                "inputs": ["a:0"],
                "outputs": ["b:0"],
                "signature": "predict",
            }
        },
        "signature is for a SavedModel",
    ),
    ({"source": {"uri": "s3://models/a", "inputs": ["a:0"]}}, "inputs and outputs are for a FrozenGraph"),
    ({"artifacts": {"uri": "https://models.example/store"}}, "must be one of pvc://claim/path"),
    ({"artifacts": {"uri": "pvc://models", "secretName": "keys"}}, "a pvc:// URI needs none"),
    ({"conversion": {"calibration": {"uri": "s3://data/x"}}}, "calibration is for INT8"),
    (
        {"conversion": {"precision": "INT8", "calibration": {"uri": "s3://data/x", "samples": 4}}},
        "calibration.batchSize must not be larger than calibration.samples",
    ),
    (
        {"conversion": {"precision": "INT8", "calibration": {"uri": "pvc://data/x", "secretName": "keys"}}},
        "a pvc:// URI needs none",
    ),
    ({"conversion": {"dynamicShapes": "Wild"}}, 'supported values: "Range", "Optimal", "Range+Optimal"'),
    (
        {"conversion": {"inputShapes": {"a": {"min": [1], "opt": [2], "max": [4]}}}},
        "inputShapes with a range need dynamicShapes",
    ),
    (
        {"conversion": {"dynamicShapes": "Range", "inputShapes": {"a": {"min": [1, 1], "opt": [2], "max": [4]}}}},
        "min, opt and max must have the same number of dimensions",
    ),
    (
        {"conversion": {"dynamicShapes": "Range", "inputShapes": {"a": {"min": [1], "opt": [8], "max": [4]}}}},
        "min <= opt <= max must hold in every dimension",
    ),
    (
        {"conversion": {"dynamicShapes": "Range", "inputShapes": {"a": {"min": [0], "opt": [8], "max": [9]}}}},
        "should be greater than or equal to 1",
    ),
    ({"conversion": {"inputs": {"x": {"dtype": "FP8"}}}}, 'supported values: "UINT8", "FP16"'),
    ({"conversion": {"inputs": {"x": {"scale": ["1"]}}}}, "spec.conversion.inputs.x.dtype: Required value"),
    *(
        ({"conversion": {"inputs": {"x": {"dtype": "UINT8", "scale": [scale]}}}}, "must be a decimal other than 0")
        for scale in ("0", "-0.0", "0e9", "one", "1/255", "nan", "1e31", "1e-31", "", "0x10", " 1")
    ),
    *(
        ({"conversion": {"inputs": {"x": {"dtype": "UINT8", "offset": [offset]}}}}, "must be a decimal, in quotes")
        for offset in ("half", "inf", "1e99", "+1", "1,5")
    ),
    ({"conversion": {"inputs": {"x": {"dtype": "UINT8", "scale": [0.5]}}}}, "must be of type string"),
    ({"conversion": {"inputs": {"x": {"dtype": "UINT8", "scale": "0.5"}}}}, "must be of type array"),
    ({"conversion": {"inputs": {"x": {"dtype": "UINT8", "scale": []}}}}, "should have at least 1 items"),
    ({"conversion": {"inputs": {"x": {"dtype": "UINT8", "offset": ["1"] * 65}}}}, "must have at most 64 items"),
    (
        {"conversion": {"inputs": {"x": {"dtype": "UINT8", "scale": ["1", "2"], "offset": ["1", "2", "3"]}}}},
        "scale and offset must have one entry, or both as many as the input has channels",
    ),
    ({"conversion": {"inputs": {"x" * 513: {"dtype": "UINT8"}}}}, "a name in inputs is that of an input"),
    ({"conversion": {"inputs": {"": {"dtype": "UINT8"}}}}, "a name in inputs is that of an input"),
    ({"conversion": {"inputs": {f"x{n}": {"dtype": "UINT8"} for n in range(17)}}}, "must have at most 16 items"),
    ({"verification": {"minSpeedup": "0"}}, "must be a decimal above 0, in quotes"),
    ({"verification": {"dataUri": "data.npz"}}, "must be one of pvc://claim/path"),
    ({"verification": {"secretName": "keys"}}, "secretName is for dataUri"),
    ({"verification": {"dataUri": "pvc://data/x", "secretName": "keys"}}, "a pvc:// URI needs none"),
    ({"source": {"uri": "pvc://models/../secrets"}}, "must not contain '..'"),
    ({"source": {"uri": "pvc://models/a", "signature": ""}}, "should be at least 1 chars long"),
    ({"artifacts": {"uri": "pvc://"}}, "must be one of pvc://claim/path"),
    ({"conversion": {"maxWorkspaceSize": "1e999999"}}, "spec.conversion.maxWorkspaceSize"),
    ({"gpu": {"memory": "1e999999"}}, "spec.gpu.memory"),
    ({"gpu": {"memory": "1" * 33}}, "may not be"),
    ({"serving": {"resources": {"limits": {"memory": "1e999999"}}}}, "spec.serving.resources.limits"),
    ({"artifacts": {"deletionPolicy": "Forget"}}, 'supported values: "Retain", "Delete"'),
    ({"conversion": {"precision": "FP8"}}, 'supported values: "FP32", "FP16", "INT8"'),
    ({"conversion": {"maxWorkspaceSize": "4 GB"}}, "spec.conversion.maxWorkspaceSize"),
    ({"conversion": {"maxWorkspaceSize": "0"}}, "must be more than 0, for example 1Gi"),
    ({"conversion": {"maxBatchSize": 0}}, "should be greater than or equal to 1"),
    ({"conversion": {"maxBatchSize": 32, "batchSizes": [1, 8]}}, "batchSizes must contain maxBatchSize"),
    (
        {"conversion": {"maxBatchSize": 8, "batchSizes": [8, 32]}},
        "no entry of batchSizes may be larger than maxBatchSize",
    ),
    ({"conversion": {"maxBatchSize": 8, "batchSizes": [8, 8]}}, "Duplicate value: 8"),
    ({"conversion": {"retries": -1}}, "should be greater than or equal to 0"),
    ({"conversion": {"deadlineSeconds": 1}}, "should be greater than or equal to 60"),
    ({"conversion": {"queue": "A b"}}, "spec.conversion.queue"),
    ({"conversion": {"resources": {"limits": {"memory": "lots"}}}}, "spec.conversion.resources.limits.memory"),
    ({"gpu": {"resourceName": "gpu"}}, "spec.gpu.resourceName"),
    ({"gpu": {"memory": "0"}}, "must be more than 0, for example 12G"),
    ({"gpu": {"memoryFraction": "1.5"}}, "must be a decimal above 0 and below 1, in quotes"),
    ({"gpu": {"memoryFraction": "1.0"}}, "the whole device would leave nothing to what a process takes outside"),
    ({"gpu": {"memoryFraction": "0.5", "memory": "4G"}}, "memory has it computed: name one of them"),
    ({"gpu": {"memoryFraction": "0.5", "memoryPolicy": "Measured"}}, "Measured has it computed: name one of them"),
    ({"gpu": {"memoryFraction": "0"}}, "must be a decimal above 0 and below 1, in quotes"),
    ({"gpu": {"memoryFraction": "0.00001"}}, "must be at least 0.0001: it is floored to four decimals"),
    ({"gpu": {"memoryFraction": ".000099999"}}, "must be at least 0.0001: it is floored to four decimals"),
    ({"gpu": {"memoryFraction": "half"}}, "must be a decimal above 0 and below 1, in quotes"),
    ({"gpu": {"memoryFraction": 0.5}}, "must be of type string"),
    (
        {"gpu": {"memory": "4G"}, "conversion": {"maxWorkspaceSize": "4G"}},
        "gpu.memory must be larger than conversion.maxWorkspaceSize",
    ),
    ({"gpu": {"memory": "1G"}}, "gpu.memory must be larger than conversion.maxWorkspaceSize"),
    ({"gpu": {"memoryPolicy": "Guess"}}, 'supported values: "ReserveWorkspace", "Measured"'),
    ({"conversion": {"minimumSegmentSize": 0}}, "should be greater than or equal to 1"),
    ({"verification": {"minTop1Agreement": "99"}}, "must be a decimal from 0 to 1, in quotes"),
    ({"verification": {"minTop1Agreement": 0.99}}, "must be of type string"),
    ({"verification": {"top1Output": ""}}, "at least 1 chars long"),
    ({"verification": {"maxRelativeError": "-1"}}, "must be a decimal of at least 0, in quotes"),
    ({"serving": {"replicas": -1}}, "should be greater than or equal to 0"),
    ({"runtime": "Triton!"}, "spec.runtime"),
    *(
        (
            {"runtime": None, "serving": {old: value}} | new,
            f"serving.{old} is the old form of {names}: drop serving.{old}",
        )
        for old, value, new, names in (
            ("runtime", "triton", {"runtime": "cpu"}, "runtime"),
            ("nodeSelector", {"a": "b"}, {"pods": {"nodeSelector": {"c": "d"}}}, "serving.pods.nodeSelector"),
            ("tolerations", [], {"conversion": {"pods": {"tolerations": []}}}, "pods.tolerations"),
            ("affinity", {}, {"pods": {"affinity": {}}}, "serving.pods.affinity"),
            ("priorityClassName", "a", {"pods": {"priorityClassName": "b"}}, "serving.pods.priorityClassName"),
            ("serviceAccountName", "a", {"pods": {"serviceAccountName": "b"}}, "serving.pods.serviceAccountName"),
            ("podLabels", {"a": "b"}, {"pods": {"labels": {"a": "b"}}}, "serving.pods.labels"),
            ("podAnnotations", {"a": "b"}, {"pods": {"annotations": {"a": "b"}}}, "serving.pods.annotations"),
        )
    ),
    (
        {"serving": {"podLabels": {"a": "b"}, "pods": {"labels": {"a": "b"}}}},
        "serving.podLabels is the old form of serving.pods.labels",
    ),
    *(
        (within({"nodeSelector": {"kubernetes.io/arch": "arm64"}}), "another kubernetes.io/arch than amd64")
        for within in PODS
    ),
    ({"pods": {"imagePullSecrets": [{"name": "Not A Name"}]}}, "spec.pods.imagePullSecrets[0].name"),
    ({"pods": {"runtimeClassName": "-nvidia"}}, "spec.pods.runtimeClassName"),
    ({"serving": {"autoscaling": {"minReplicas": 3, "maxReplicas": 2}}}, "minReplicas must not be larger"),
    ({"serving": {"autoscaling": {}}}, "spec.serving.autoscaling.maxReplicas: Required value"),
    *(
        (spec, "controllers know their pods by them")
        for key in (
            "app.kubernetes.io/instance",
            "batch.kubernetes.io/job-name",
            "kueue.x-k8s.io/queue-name",
            "pod-template-hash",
            "job-name",
            "tftrt.dev/engine",
        )
        for spec in (*(within({"labels": {key: "x"}}) for within in PODS), {"serving": {"podLabels": {key: "x"}}})
    ),
    *(
        (spec, "containers read their task from there")
        for annotations in ({"tftrt.dev/spec": "{}"},)
        for spec in (
            *(within({"annotations": annotations}) for within in PODS),
            {"serving": {"podAnnotations": annotations}},
        )
    ),
    *(
        (spec, "a key must be a name such as team")
        for spec in (
            *(within({field: {"a b": "c"}}) for field in ("labels", "annotations", "nodeSelector") for within in PODS),
            *({"serving": {field: {"a b": "c"}}} for field in ("podLabels", "podAnnotations", "nodeSelector")),
        )
    ),
    *(
        (spec, "a value must be letters, digits")
        for spec in (
            *(within({field: {"a": "c d!"}}) for field in ("labels", "nodeSelector") for within in PODS),
            *({"serving": {field: {"a": "c d!"}}} for field in ("podLabels", "nodeSelector")),
        )
    ),
    ({"pods": {"labels": {"Example.com/team": "c"}}}, "a key must be a name such as team"),
    *((within({"serviceAccountName": "Not A Name"}), "pods.serviceAccountName") for within in PODS),
    *(
        (
            {"gpu": {"resourceName": "amd.com/gpu"}, part: {"resources": {amounts: {"amd.com/gpu": 1}}}},
            f"{part}.resources.{amounts} must not name gpu.resourceName: each pod gets one of it",
        )
        for part in ("conversion", "serving")
        for amounts in ("requests", "limits")
    ),
    *(
        ({part: {"tolerations": [toleration]}}, words)
        for part in ("pods", "serving")
        for toleration, words in (
            ({"key": "gpu", "effect": "Never"}, "supported values"),
            ({"key": "gpu", "operator": "Exists", "value": "yes"}, "Exists takes no value"),
            ({"value": "yes"}, "without a key, which means every taint"),
            ({"key": "gpu", "tolerationSeconds": 5}, "is for the effect NoExecute alone"),
        )
    ),
    ({"serving": {"serviceAccountName": "Not A Name"}}, "spec.serving.serviceAccountName"),
    ({"serving": {"priorityClassName": "-high"}}, "spec.serving.priorityClassName"),
    ({"pods": {"priorityClassName": "-high"}}, "spec.pods.priorityClassName"),
    *(
        ({part: {"resources": resources}}, words)
        for part in ("serving", "conversion")
        for resources, words in (
            ({"requests": {"cpu": "2"}, "limits": {"cpu": "1500m"}}, "no request may be above its limit"),
            ({"requests": {"memory": "-4Gi"}}, "must not be negative"),
            ({"limits": {"cpu": -1}}, "must not be negative"),
            ({"limits": {"nvidia.com/gpu": 2}}, "must not name a GPU"),
            ({"requests": {"nvidia.com/mig-1g.10gb": "1"}}, "must not name a GPU"),
        )
    ),
    *(
        ({"serving": {"networkPolicy": {field: peers}}}, words)
        for field in ("from", "metricsFrom")
        for peers, words in (
            ([], "must not be empty: leave it out for the default"),
            ([{}], "must have a podSelector, a namespaceSelector, both, or an ipBlock"),
            ([{"ipBlock": {"cidr": "10.0.0.0/8"}, "podSelector": {}}], "an ipBlock stands alone"),
            ([{"ipBlock": {"cidr": "10.0.0.0/33"}}], "must be an IP range such as 10.0.0.0/8"),
            ([{"ipBlock": {"cidr": "shop.example"}}], "must be an IP range such as 10.0.0.0/8"),
            ([{"ipBlock": {"cidr": "10.0.0.0/8", "except": ["10.0.0.300/9"]}}], "must be an IP range"),
            ([{"ipBlock": {"cidr": "10.0.0.0/8", "except": ["11.0.0.0/16"]}}], "except must lie within cidr"),
            ([{"ipBlock": {"cidr": "10.0.0.0/8", "except": ["10.0.0.0/8"]}}], "except must lie within cidr"),
            ([{"podSelector": {"matchExpressions": [{"key": "a", "operator": "In"}]}}], "In and NotIn need values"),
            (
                [{"podSelector": {"matchExpressions": [{"key": "a", "operator": "Exists", "values": ["b"]}]}}],
                "Exists and DoesNotExist take none",
            ),
            ([{"podSelector": {}}] * 17, "must have at most 16 items"),
            ([{"podSelector": {"matchLabels": {"a b": "c"}}}], "a key must be a name such as team"),
            ([{"namespaceSelector": {"matchLabels": {"a/b/c": "d"}}}], "a key must be a name such as team"),
            ([{"namespaceSelector": {"matchLabels": {f"{'a' * 254}/b": "c"}}}], "a key must be a name such as team"),
            ([{"podSelector": {"matchLabels": {"a": "c d!"}}}], "a value must be letters, digits"),
            (
                [{"podSelector": {"matchExpressions": [{"key": "a b", "operator": "Exists"}]}}],
                "key must be a name such as team",
            ),
            (
                [{"podSelector": {"matchExpressions": [{"key": "a", "operator": "In", "values": ["c d!"]}]}}],
                "each of values must be letters, digits",
            ),
        )
    ),
    ({"serving": {"networkPolicy": {"egressPorts": [0]}}}, "should be greater than or equal to 1"),
    ({"serving": {"networkPolicy": {"mode": "Off"}}}, 'supported values: "Managed", "Unmanaged"'),
    ({"serving": {"networkPolicy": {"mode": "Unmanaged", "from": [{"podSelector": {}}]}}}, "takes nothing else"),
    ({"conversion": {"networkPolicy": {"egressPorts": [65536]}}}, "should be less than or equal to 65535"),
    ({"conversion": {"networkPolicy": {"mode": "Unmanaged", "egressPorts": [1]}}}, "takes no egressPorts"),
    ({"rollout": {"strategy": "Recreate"}}, 'supported values: "Surge", "InPlace"'),
]


@pytest.mark.parametrize(("spec", "words"), REFUSALS)
def test_a_wrong_spec_is_refused_in_words(bare_api: Api, spec: dict[str, Any], words: str) -> None:
    with pytest.raises(Refused) as refused:
        bare_api.create(trtmodel(**spec), "?dryRun=All")
    assert refused.value.status == 422
    assert words in refused.value.message


@pytest.mark.parametrize("name", ["m" * 41, "5net", "res.net"])
def test_a_name_that_children_could_not_be_named_after_is_refused(bare_api: Api, name: str) -> None:
    with pytest.raises(Refused, match=r"metadata\.name must be at most 40 characters"):
        bare_api.create(trtmodel(name), "?dryRun=All")


@pytest.mark.parametrize(
    "spec",
    [
        {"conversion": {"maxWorkspaceSize": 4_000_000_000}, "gpu": {"memory": 12_000_000_000}},
        {"gpu": {"memoryFraction": "0.05"}},
        {"gpu": {"memoryFraction": "0.0001"}},
        {"gpu": {"memoryFraction": "0.05", "memoryPolicy": "ReserveWorkspace"}},
        {"conversion": {"maxBatchSize": 8, "batchSizes": [1, 8], "precision": "FP16"}},
        {"source": {"uri": "pvc://models"}},
        {"gpu": {"memory": "1G", "memoryPolicy": "Measured"}},
        {"verification": {"minTop1Agreement": "0.99", "maxRelativeError": "1e-3", "minSpeedup": "1.5"}},
        {"verification": {"minTop1Agreement": "0.99", "top1Output": "labels"}},
        {"source": {"uri": "s3://models/resnet50/3", "secretName": "keys", "digest": "sha256:" + "0" * 64}},
        {"source": {"uri": "https://models.example/a.tar.gz?version=3", "secretName": "basic-auth"}},
        {"source": {"uri": "http://10.0.0.1:8080/a.zip"}},
        {"source": {"uri": "https://[fd00::1]:8443/a.zip"}},
        {"source": {"uri": "https://[fd00::1]/a.zip"}},
        {"source": {"uri": "az://models/a.pb", "format": "FrozenGraph", "inputs": ["a:0"], "outputs": ["b/c:0"]}},
        {"source": {"uri": "az://models/a.pb", "format": "FrozenGraph", "inputs": ["a"], "outputs": ["b/c", "b/c:1"]}},
        {"conversion": {"precision": "INT8", "calibration": {"uri": "gs://data/calibration"}}},
        {"conversion": {"precision": "INT8"}},  # by the graph's own ranges, which only the conversion can see
        {"conversion": {"inputShapes": {"tokens": {"min": [64], "opt": [64], "max": [64]}}}},
        {"source": {"uri": "s3://models/a", "values": {"phase_train": False, "keep_prob": 0.5, "n": 3, "code": "a"}}},
        {
            "conversion": {
                "dynamicShapes": "Range+Optimal",
                "inputShapes": {"tokens": {"min": [1, 2], "opt": [64, 64], "max": [128, 64]}},
            }
        },
        {"conversion": {"inputs": {"x": {"dtype": "FP16"}, "image/flat:0": {"dtype": "UINT8", "scale": ["0.00392"]}}}},
        {"conversion": {"inputs": {"x": {"dtype": "UINT8", "scale": ["1e-30", "-1e30"], "offset": [".5"]}}}},
        {"conversion": {"inputs": {"x": {"dtype": "UINT8", "scale": ["2"] * 64, "offset": ["-123.68"] * 64}}}},
        {"verification": {"dataUri": "s3://data/held-out", "secretName": "keys"}},
        {"artifacts": {"uri": "gs://artifacts/tftrt", "secretName": "keys"}},
        {"serving": {"networkPolicy": {"mode": "Unmanaged"}}, "conversion": {"networkPolicy": {"mode": "Unmanaged"}}},
        {
            "serving": {
                "networkPolicy": {
                    "from": [
                        {"podSelector": {}},
                        {"namespaceSelector": {}, "podSelector": {"matchLabels": {"app": "shop"}}},
                        {"namespaceSelector": {"matchExpressions": [{"key": "a", "operator": "DoesNotExist"}]}},
                        {"ipBlock": {"cidr": "0.0.0.0/0", "except": ["10.0.0.0/8"]}},
                        {"ipBlock": {"cidr": "fd00::/8", "except": ["fd00:1::/32"]}},
                    ],
                    "metricsFrom": [{"podSelector": {"matchExpressions": [{"key": "a", "operator": "Exists"}]}}],
                    "egressPorts": [9000, 3128],
                }
            }
        },
        {
            "runtime": None,
            "serving": {
                "runtime": "cpu",
                "podLabels": {"team": "", "example.com/Team_1": "a.b-C"},
                "podAnnotations": {"Example.com/note": "any text!", "note": ""},
                "nodeSelector": {"kubernetes.io/hostname": "node-1.example", "a" * 63: "b" * 63},
                "tolerations": [{"operator": "Exists"}],
                "affinity": {"nodeAffinity": {}},
                "priorityClassName": "high",
                "serviceAccountName": "models",
            },
        },
        {
            "pods": {
                "labels": {"team": "", "example.com/Team_1": "a.b-C"},
                "annotations": {"Example.com/note": "any text!", "note": ""},
                "nodeSelector": {"kubernetes.io/hostname": "node-1.example", "a" * 63: "b" * 63},
                "tolerations": [{"operator": "Exists"}],
                "affinity": {"nodeAffinity": {}},
                "runtimeClassName": "nvidia",
                "priorityClassName": "high",
                "serviceAccountName": "models",
                "imagePullSecrets": [{"name": "registry"}],
            },
            "conversion": {
                "pods": {"labels": {f"{'a' * 253}/b": "c"}, "annotations": {"example.com/a": "b c"}, "tolerations": []}
            },
            "serving": {"pods": {"nodeSelector": {"kubernetes.io/arch": "amd64"}, "serviceAccountName": ""}},
        },
        {
            "serving": {
                "podLabels": {"a": "b"},
                "pods": {"annotations": {"a": "b"}},
                "autoscaling": {"maxReplicas": 2, "metrics": [{"type": "Pods"}]},
            }
        },
    ],
)
def test_a_right_spec_is_accepted(bare_api: Api, spec: dict[str, Any]) -> None:
    bare_api.create(trtmodel(**spec), "?dryRun=All")


def test_a_new_model_is_ready_unknown_until_the_operator_has_spoken(bare_api: Api) -> None:
    created = bare_api.create(trtmodel(), "?dryRun=All")
    (condition,) = created["status"]["conditions"]
    assert (condition["type"], condition["status"], condition["reason"]) == ("Ready", "Unknown", "Pending")


def test_a_model_can_be_scaled_like_a_deployment(bare_api: Api) -> None:
    bare_api.create(trtmodel(runtime="none"))
    scale = bare_api.request("GET", bare_api.path("TRTModel", "resnet50") + "/scale")
    assert scale["spec"]["replicas"] == 1
    bare_api.patch("TRTModel", "resnet50", {"spec": {"replicas": 3}}, "/scale")
    assert bare_api.get("TRTModel", "resnet50")["spec"]["serving"]["replicas"] == 3


def test_the_number_that_an_autoscaler_sets_cannot_be_set_by_others(bare_api: Api) -> None:
    """It would be taken, and mean nothing: `kubectl scale` says "scaled", and nothing comes of it."""
    bare_api.create(trtmodel(runtime="none", serving={"replicas": 2, "autoscaling": {"maxReplicas": 5}}))
    with pytest.raises(Refused, match="with autoscaling the HorizontalPodAutoscaler sets the number"):
        bare_api.patch("TRTModel", "resnet50", {"spec": {"replicas": 3}}, "/scale")
    with pytest.raises(Refused, match=r"change autoscaling\.minReplicas and maxReplicas, or drop autoscaling"):
        bare_api.patch("TRTModel", "resnet50", {"spec": {"serving": {"replicas": 0}}})
    bare_api.patch("TRTModel", "resnet50", {"spec": {"serving": {"autoscaling": {"minReplicas": 3}}}})
    bare_api.patch("TRTModel", "resnet50", {"spec": {"serving": {"replicas": 4, "autoscaling": None}}})
    bare_api.patch("TRTModel", "resnet50", {"spec": {"serving": {"replicas": 1, "autoscaling": {"maxReplicas": 5}}}})
