from pathlib import Path

import pytest

from tftrt_operator.config import ConfigurationError, read_configuration

GOOD = """
runtimes:
  - {name: triton, image: "converter:1", tensorflow: 2.14.1, tensorrt: 8.5.3.1, accelerator: GPU}
  - {name: cpu, image: "converter:1", tensorflow: 2.14.1, accelerator: None}
defaultRuntime: triton
artifacts: {uri: "pvc://models/tftrt"}
proxy: {httpsProxy: "http://proxy.example:3128", noProxy: ".svc"}
modelNetworkPolicy:
  egressPorts: [9000]
  metricsFrom: [{namespaceSelector: {matchLabels: {team: platform}}}]
watchNamespaces: [vision, speech]
"""


def test_a_configuration_is_read_whole(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(GOOD)
    configuration = read_configuration(path)
    catalogue = configuration.catalogue
    assert [runtime.name for runtime in catalogue.runtimes] == ["triton", "cpu"]
    assert catalogue.runtime("") == catalogue.runtimes[0]
    assert catalogue.store == "pvc://models/tftrt"
    told = (("HTTPS_PROXY", "http://proxy.example:3128"), ("NO_PROXY", ".svc"))
    assert {runtime.proxy.variables for runtime in catalogue.runtimes} == {told}
    assert catalogue.network.egress_ports == (9000, 3128)
    (scraper,) = catalogue.network.metrics_from
    assert scraper.namespace_selector is not None
    assert scraper.namespace_selector.match_labels == {"team": "platform"}
    assert configuration.watch_namespaces == ("vision", "speech")


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("defaultRuntime: triton", "defaultRuntime: torch", "'torch' is none of the runtimes triton, cpu"),
        ("name: cpu", "name: triton", "two runtimes have the same name"),
        ("tensorrt: 8.5.3.1, ", "", "accelerator GPU and a tensorrt version go together"),
        ("artifacts:", "artefacts:", "artefacts: Extra inputs are not permitted"),
        ("runtimes:", "runtimes: ][", "is no YAML"),
        ("http://proxy.example:3128", "http://me:word@proxy.example:3128", "proxy.httpsProxy"),
        ("pvc://models/tftrt", "file:///models", "artifacts.uri"),
        ("[9000]", "[0]", "modelNetworkPolicy.egressPorts.0"),
        ("matchLabels", "matchLabel", "must be a peer of a NetworkPolicy"),
        ("{namespaceSelector: {matchLabels: {team: platform}}}", "{}", "must be a peer of a NetworkPolicy"),
        ("[vision, speech]", "[vision, vision]", "watchNamespaces has a namespace twice: vision, vision"),
        ("[vision, speech]", "[vision, team/speech]", "watchNamespaces.1"),
    ],
)
def test_a_wrong_configuration_says_what_is_wrong_and_where(tmp_path: Path, old: str, new: str, words: str) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(GOOD.replace(old, new))
    with pytest.raises(ConfigurationError) as caught:
        read_configuration(path)
    assert words in str(caught.value)
    assert str(path) in str(caught.value)


def test_a_missing_configuration_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="cannot read the configuration"):
        read_configuration(tmp_path / "absent.yaml")
