"""The parent of a conversion: what to convert for, whether there is anything to do, and which child processes do it."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from tftrt_runtime import child, log
from tftrt_runtime.artifact import CPU, MODEL, Conversion, Device, Versions, read_manifest
from tftrt_runtime.convert import messages
from tftrt_runtime.errors import GPUUnfit, SourceChanged, StoreUnavailable, UsageError
from tftrt_runtime.publish import changed
from tftrt_runtime.spec import JobSpec
from tftrt_runtime.workspace import Converted, Fetched, Workspace


def run(spec: JobSpec, workspace: Workspace) -> None:
    """Leave `artifact/` and `convert.json` in the workspace; the latter alone where the store has the artifact.

    Raises:
        Failure: the user's mistakes; OutOfMemory, ChildAborted or Internal for what befell TensorFlow.
    """
    product = _product(spec)
    fetched = _fetched(workspace)
    try:
        shutil.rmtree(workspace.artifact, ignore_errors=True)
        workspace.converted.unlink(missing_ok=True)
        if _is_published(spec, workspace, fetched, product):
            log.event("convert", "The store has this artifact: nothing to convert", product=product)
            converted = Converted(product=product, conversion=None)
        else:
            converted = Converted(product=product, conversion=_convert(spec, workspace))
        workspace.converted.write_text(converted.model_dump_json())
    except OSError as error:
        raise StoreUnavailable(f"The workspace {workspace.root} cannot be written: {error}.") from error


def _product(spec: JobSpec) -> str:
    """The kind of device to convert for, which is a folder of the store.

    Raises:
        GPUUnfit: the runtime cannot do what the spec asks for.
    """
    if spec.runtime.accelerator == "None":
        if spec.conversion.precision != "FP32":
            raise GPUUnfit(
                f"Precision {spec.conversion.precision} needs TensorRT and a GPU, and the runtime "
                f"{spec.runtime.name!r} has neither: set spec.conversion.precision to FP32 or choose "
                "another spec.serving.runtime."
            )
        return CPU
    seen = child.run("tftrt_runtime.convert.devices", messages.DevicesRequest(), messages.DevicesAnswer, "convert")
    if not seen.gpus:
        raise GPUUnfit(
            f"The runtime {spec.runtime.name!r} converts on a GPU, and TensorFlow sees none in this container: "
            "check spec.gpu.resourceName and the node's driver."
        )
    raise GPUUnfit(
        f"TensorFlow sees {', '.join(seen.gpus)}, but this version of the converter converts for the CPU only."
    )


def _fetched(workspace: Workspace) -> Fetched:
    try:
        return Fetched.model_validate_json(workspace.fetched.read_bytes())
    except OSError as error:
        raise UsageError(
            f"{workspace.fetched} cannot be read ({error.strerror}): `tftrt fetch` comes before `tftrt convert`."
        ) from error


def _is_published(spec: JobSpec, workspace: Workspace, fetched: Fetched, product: str) -> bool:
    """Whether the store had the artifact when the Job began.

    Raises:
        SourceChanged: it has one, made from other bytes.
    """
    manifest = read_manifest(workspace.manifests / f"{product}.json")
    if manifest is None:
        return False
    if manifest.sourceDigest != fetched.sourceDigest:
        raise SourceChanged(changed(spec, Path(manifest.summary.artifact), manifest, fetched))
    return True


def _convert(spec: JobSpec, workspace: Workspace) -> Conversion:
    started = log.now()
    model = workspace.artifact / MODEL
    workspace.artifact.mkdir(parents=True)
    sizes = spec.conversion.batchSizes
    with tempfile.TemporaryDirectory(prefix="references-", dir=workspace.root) as references:
        request = messages.ConvertRequest(
            uri=spec.source.uri,
            source=str(workspace.source),
            signature=spec.source.signature,
            tensorflow=spec.runtime.tensorflow,
            batchSizes=sizes,
            target=str(model),
            references=references,
        )
        with log.timed("convert", "Converted"):
            answer = child.run("tftrt_runtime.convert.cpu", request, messages.ConvertAnswer, "convert")
        check = messages.CheckRequest(
            model=str(model),
            signature=spec.source.signature,
            references=references,
            inputs=answer.inputs,
            outputs=answer.outputs,
            batchSizes=sizes,
            sample=answer.sample,
        )
        with log.timed("convert", "Checked the converted model in a fresh process"):
            checked = child.run("tftrt_runtime.convert.check", check, messages.CheckAnswer, "convert")
    log.event(
        "convert",
        "Compared with the unconverted model",
        relative_error=checked.relative_error,
        total_ops=answer.total_ops,
    )
    return Conversion(
        device=Device(name=CPU, computeCapability="", memoryBytes=None, driver=""),
        versions=Versions(tensorflow=answer.tensorflow, tensorrt="", runtime=spec.runtime.name),
        engines=0,
        convertedOps=0,
        totalOps=answer.total_ops,
        batchSizes=sizes,
        inputs=answer.inputs,
        outputs=answer.outputs,
        sample=answer.sample,
        startedAt=started,
    )
