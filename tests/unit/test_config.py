from pathlib import Path

import pytest

from tftrt_operator.config import ConfigurationError, read_configuration
from tftrt_operator.domain.runtime import ComputeCapability

GOOD = """
runtimes:
  - {name: triton, image: "c:1", tensorflow: 2.14.1, tensorrt: 8.5.3.1, accelerator: GPU, maxComputeCapability: "9.0"}
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
    assert [runtime.max_compute_capability for runtime in catalogue.runtimes] == [ComputeCapability(9, 0), None]
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
        ('"9.0"', "9.0", 'must be a compute capability in quotes, for example "9.0"'),
        ('"9.0"', '"9"', 'must be a compute capability in quotes, for example "9.0"'),
        ("accelerator: None", 'accelerator: None, maxComputeCapability: "9.0"', "is for accelerator GPU"),
        ("artifacts:", "artefacts:", "artefacts: Extra inputs are not permitted"),
        ("runtimes:", "runtimes: ][", "is no YAML"),
        ("http://proxy.example:3128", "http://me:word@proxy.example:3128", "proxy.httpsProxy"),
        *(
            ("http://proxy.example:3128", address, "proxy.httpsProxy: Value error, must be http://host:port")
            for address in (
                "http://proxy:abc",
                "http://proxy:99999",
                "http://proxy:0",
                "http://[::1",
                "http://[::1]x",
                "http://[:::::1]:80",
                "http://proxy.example:3128/path",
                "proxy.example:3128",
                "socks5://proxy.example",
            )
        ),
        *(
            ("{namespaceSelector: {matchLabels: {team: platform}}}", peer, f"metricsFrom.0: Value error, {words}")
            for peer, words in (
                ("{ipBlock: {cidr: nonsense}}", "'nonsense' must be an IP range"),
                ("{ipBlock: {cidr: 10.0.0.1}}", "'10.0.0.1' must be an IP range"),
                ("{ipBlock: {cidr: 10.0.0.0/33}}", "'10.0.0.0/33' must be an IP range"),
                ("{ipBlock: {cidr: 10.0.0.0/8, except: [11.0.0.0/16]}}", "except 11.0.0.0/16 must lie within"),
                ("{ipBlock: {cidr: 10.0.0.0/8, except: [10.0.0.0/8]}}", "except 10.0.0.0/8 must lie within"),
                ("{ipBlock: {cidr: 10.0.0.0/8, except: ['fd00::/16']}}", "except fd00::/16 must lie within"),
                ("{ipBlock: {cidr: 10.0.0.0/8}, podSelector: {}}", "an ipBlock stands alone"),
                ("{podSelector: {matchExpressions: [{key: a, operator: In}]}}", "In and NotIn need values"),
                (
                    "{podSelector: {matchExpressions: [{key: a, operator: Exists, values: [b]}]}}",
                    "In and NotIn need values",
                ),
                ("{podSelector: {matchLabels: {a b: c}}}", "a label's key, which is 'a b', must be a name"),
                ("{podSelector: {matchLabels: {a: c d}}}", "a label's value, which is 'c d', must be letters"),
                (
                    "{podSelector: {matchExpressions: [{key: a, operator: In, values: [c d]}]}}",
                    "a label's value, which is 'c d', must be letters",
                ),
            )
        ),
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


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("http://proxy.example:3128", "http://[fd00::1]:3128/"),
        ("http://proxy.example:3128", ""),
        (
            "{namespaceSelector: {matchLabels: {team: platform}}}",
            "{ipBlock: {cidr: 10.1.2.3/8, except: [10.1.0.0/16]}}",
        ),
        (
            "{namespaceSelector: {matchLabels: {team: platform}}}",
            "{podSelector: {matchExpressions: [{key: example.com/a, operator: NotIn, values: [b, '']}]}}",
        ),
    ],
)
def test_what_a_policy_and_a_pod_can_be_made_of_is_taken(tmp_path: Path, old: str, new: str) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(GOOD.replace(old, new))
    read_configuration(path)


def test_a_missing_configuration_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="cannot read the configuration"):
        read_configuration(tmp_path / "absent.yaml")
