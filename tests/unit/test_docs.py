"""What the documentation says is what the code does."""

import ast
import json
import re
from pathlib import Path

import yaml

from benchmarks import gpu_results, performance, reliability, start_results
from tftrt_operator.api.written import parse_trtmodel
from tftrt_operator.domain.failure import CONTAINER_REASONS, POD_REASONS
from tftrt_operator.domain.fingerprint import EngineInputs

ROOT = Path(__file__).parents[2]
REASONS = (ROOT / "docs" / "reasons.md").read_text()


def reasons_in_the_domain() -> set[str]:
    found = set()
    for file in (ROOT / "operator" / "tftrt_operator" / "domain").rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Name):
                continue
            words = [*node.args, *(keyword.value for keyword in node.keywords if keyword.arg == "reason")]
            if node.func.id in ("stalled", "reconciling", "ready", "Change", "FailureReport", "_batching"):
                for word in words:
                    found |= {
                        part.value
                        for part in ast.walk(word)
                        if isinstance(part, ast.Constant)
                        and isinstance(part.value, str)
                        and re.fullmatch(r"[A-Z][A-Za-z]+", part.value)
                    }
    return found


def reasons_of_the_converter() -> set[str]:
    tree = ast.parse((ROOT / "converter_image" / "tftrt_runtime" / "contract" / "errors.py").read_text())
    return {
        node.name
        for node in tree.body
        if isinstance(node, ast.ClassDef)
        and any(isinstance(base, ast.Name) and base.id == "Failure" for base in node.bases)
    }


def words_of_batching() -> set[str]:
    """What the converter may say of it: the modes and the reasons."""
    tree = ast.parse((ROOT / "converter_image" / "tftrt_runtime" / "contract" / "artifact.py").read_text())
    found = next(node for node in tree.body if isinstance(node, ast.ClassDef) and node.name == "Batching")
    annotations = [node.annotation for node in found.body if isinstance(node, ast.AnnAssign)]
    return {str(part.value) for one in annotations for part in ast.walk(one) if isinstance(part, ast.Constant)}


def test_every_reason_is_explained() -> None:
    explained = set(re.findall(r"`([A-Z][A-Za-z]+)`", REASONS))
    assert {"ItemsInteract", "Disabled"} <= words_of_batching()
    assert (reasons_in_the_domain() | reasons_of_the_converter() | set(POD_REASONS) | words_of_batching()) <= explained


def test_what_a_container_may_give_as_its_reason_is_what_the_converter_gives() -> None:
    assert reasons_of_the_converter() == CONTAINER_REASONS


def test_the_readme_explains_every_field_of_the_spec() -> None:
    text = (ROOT / "README.md").read_text()
    block = next(part for part in re.findall(r"```yaml\n(.*?)```", text, re.DOTALL) if "kind: TRTModel" in part)
    crd = yaml.safe_load((ROOT / "crds" / "trtmodels.tftrt.dev.yaml").read_text())
    spec = crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"]
    missing = [
        f"{part}.{field}"
        for part, schema in spec.items()
        for field, explained in {part: schema, **schema.get("properties", {})}.items()
        if f"{field}:" not in block and not explained["description"].startswith("Deprecated")
    ]
    assert missing == []
    example = yaml.safe_load(block)
    parse_trtmodel(example | {"metadata": example["metadata"] | {"namespace": "default", "uid": "1"}})


def test_the_examples_are_models_of_this_version() -> None:
    files = [path for path in (ROOT / "examples").glob("*.yaml") if "kind: TRTModel\n" in path.read_text()]
    assert {"resnet50-gpu.yaml", "frozen-graph.yaml"} <= {file.name for file in files}
    bodies = [body for file in files for body in yaml.safe_load_all(file.read_text())]
    for body in [body for body in bodies if body["kind"] == "TRTModel"]:
        parse_trtmodel(body | {"metadata": body["metadata"] | {"namespace": "default", "uid": "1"}})


def test_the_gpu_results_are_those_of_the_files() -> None:
    assert (ROOT / "docs" / "gpu-results.md").read_text() == gpu_results.page(ROOT / "benchmarks" / "results")


def test_the_reliability_results_are_those_of_the_files() -> None:
    page = (ROOT / "docs" / "reliability.md").read_text()
    assert page == reliability.page(ROOT / "benchmarks" / "results")
    assert all(f"## {part}" in page for part in ("A rollout in place", "No request is lost", "Bad requests"))


def test_what_a_start_takes_is_that_of_the_files() -> None:
    assert (ROOT / "docs" / "start.md").read_text() == start_results.page(ROOT / "benchmarks" / "results")


def test_the_performance_is_that_of_the_file() -> None:
    assert (ROOT / "docs" / "performance.md").read_text() == performance.page(ROOT / "benchmarks" / "results")


def test_every_input_of_an_engine_has_a_reason_to_convert_again() -> None:
    listed = re.findall(r"`(\w+Changed)`", REASONS.rpartition("## Why a model")[2])
    assert len(listed) <= len(EngineInputs.__dataclass_fields__)
    assert set(listed) <= reasons_in_the_domain()


def test_what_the_library_that_ends_connections_costs_is_what_was_measured() -> None:
    text = (ROOT / "docs" / "how-it-works.md").read_text()
    for row in json.loads((ROOT / "benchmarks" / "results" / "connections.json").read_text())["rows"]:
        rate, cost = row["callsPerSecond"], row["processorSecondsPerCall"]
        assert rate["ratio"] > 0.95
        assert cost["ratio"] < 1.05
        calls = f"{rate['without']:,.1f} | {rate['with']:,.1f} | {rate['ratio']:.3f}"
        time = f"{cost['without'] * 1000:.2f} | {cost['with'] * 1000:.2f} | {cost['ratio']:.3f}"
        assert f"| {row['bytes']:,} | {row['calls']:,} | {calls} | {time} |" in text
