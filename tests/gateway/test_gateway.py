"""A model that is asked from outside, by examples/gateway.yaml: TLS, tokens, both protocols, and nobody round it."""

import json
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import numpy as np
import pytest
import tritonclient.grpc as triton
from tritonclient.utils import InferenceServerException

from tests.cluster.policies import NotInForceError
from tests.e2e.test_served_model import asked_from_inside, is_serving
from tests.support.waiting import eventually
from tests.zero_loss.clients import Ask, Images, Totals
from tests.zero_loss.images import images, totals

from .conftest import Behind
from .tokens import Tokens

HTTP, GRPC = "http.models.example.com", "grpc.models.example.com"
LARGE_ROWS = 128
"""19 MB."""


def http_client(behind: Behind, token: str | None) -> httpx.Client:
    """One that keeps its connection, and knows the gateway by its name and certificate."""
    headers = {"Host": HTTP} | ({"Authorization": f"Bearer {token}"} if token is not None else {})
    trusted = ssl.create_default_context(cafile=str(behind.authority))
    return httpx.Client(base_url=f"https://{behind.address}", headers=headers, verify=trusted, timeout=60)


def post(client: httpx.Client, model: str, asked: Images) -> httpx.Response:
    tensor = {"name": "images", "datatype": "UINT8", "shape": asked.shape}
    head = json.dumps({"inputs": [tensor | {"parameters": {"binary_data_size": asked.nbytes}}]}).encode()
    return client.post(
        f"/v2/models/{model}/infer",
        content=head + asked.tobytes(),
        headers={"Inference-Header-Content-Length": str(len(head))},
        extensions={"sni_hostname": HTTP},
    )


def by_http(behind: Behind, token: str | None) -> Ask:
    client = http_client(behind, token)

    def ask(asked: Images) -> Totals:
        (output,) = post(client, "resnet50", asked).raise_for_status().json()["outputs"]
        return np.array(output["data"], np.float32).reshape(output["shape"])

    return ask


def grpc_client(behind: Behind, **more: Any) -> triton.InferenceServerClient:
    names = [("grpc.ssl_target_name_override", GRPC), ("grpc.default_authority", GRPC), ("grpc.enable_retries", 0)]
    sizes = [("grpc.max_send_message_length", -1), ("grpc.max_receive_message_length", -1)]
    return triton.InferenceServerClient(
        f"{behind.address}:443", ssl=True, root_certificates=str(behind.authority), channel_args=names + sizes, **more
    )


def by_grpc(behind: Behind, token: str | None) -> Ask:
    client = grpc_client(behind)
    headers = {"authorization": f"Bearer {token}"} if token is not None else None

    def ask(asked: Images) -> Totals:
        tensor = triton.InferInput("images", list(asked.shape), "UINT8")
        tensor.set_data_from_numpy(asked)
        found: Totals = client.infer("resnet50", [tensor], headers=headers, client_timeout=60).as_numpy("totals")
        return found

    return ask


BY = {"http": by_http, "grpc": by_grpc}


@pytest.mark.parametrize("rows", [1, LARGE_ROWS])
@pytest.mark.parametrize("protocol", BY)
def test_who_has_a_token_is_answered(behind: Behind, protocol: str, rows: int) -> None:
    ask = BY[protocol](behind, behind.tokens.token())
    asked = images(rows, 1)
    for _ in range(3):  # on one connection
        np.testing.assert_array_equal(ask(asked), totals(asked))


def strangers(tokens: Tokens) -> dict[str, str | None]:
    return {
        "none": None,
        "garbage": "x.y.z",
        "of another key": Tokens.new().token(),
        "of another issuer": tokens.token(issuer="https://elsewhere.example.com"),
        "for another API": tokens.token(audience="invoices"),
        "expired": tokens.token(seconds=-3600),
    }


@pytest.mark.parametrize("whose", strangers(Tokens.new()))
def test_nobody_gets_in_with_a_token_like_this(behind: Behind, whose: str) -> None:
    token = strangers(behind.tokens)[whose]
    asked = images(1, 1)
    # Who it is Envoy does know where only the audience is another one.
    http, grpc = (403, "PERMISSION_DENIED") if whose == "for another API" else (401, "UNAUTHENTICATED")
    assert post(http_client(behind, token), "resnet50", asked).status_code == http
    with pytest.raises(InferenceServerException) as refused:
        by_grpc(behind, token)(asked)
    assert grpc in refused.value.status()


def test_the_gateway_shows_its_own_certificate_and_speaks_nothing_but_tls(behind: Behind) -> None:
    with httpx.Client(base_url=f"https://{behind.address}") as trusting_others, pytest.raises(httpx.ConnectError):
        trusting_others.get("/", extensions={"sni_hostname": HTTP})
    with pytest.raises(httpx.HTTPError):
        httpx.get(f"http://{behind.address}:443/v2/health/ready", headers={"Host": HTTP})


@pytest.mark.parametrize("path", ["/v2", "/v2/models/other/infer", "/v2/repository/index", "/metrics"])
def test_what_no_route_names_is_not_there_over_http(behind: Behind, path: str) -> None:
    client = http_client(behind, behind.tokens.token())
    assert client.post(path, extensions={"sni_hostname": HTTP}).status_code == 404


def test_what_no_route_names_is_not_there_over_grpc(behind: Behind) -> None:
    headers = {"authorization": f"Bearer {behind.tokens.token()}"}
    client = grpc_client(behind)
    assert client.is_model_ready("resnet50", headers=headers)
    assert client.get_model_metadata("resnet50", headers=headers).name == "resnet50"
    for call in (client.get_model_repository_index, client.get_inference_statistics):
        with pytest.raises(InferenceServerException) as refused:
            call(headers=headers)
        assert refused.value.status() == "StatusCode.UNIMPLEMENTED"


def test_nobody_comes_round_the_gateway(behind: Behind) -> None:
    workspace, asked = behind.workspace, images(1, 1)
    url = f"http://resnet50.{workspace.api.namespace}.svc:8000/v2/models/resnet50"
    assert "resnet50" in asked_from_inside(workspace, url), "without policies in force anybody can"
    try:
        with workspace.cluster.network_policies_in_force():
            eventually(lambda: not is_answered(lambda: asked_from_inside(workspace, url)), seconds=60)
            for by in BY.values():
                np.testing.assert_array_equal(by(behind, behind.tokens.token())(asked), totals(asked))
    except NotInForceError as why:
        pytest.skip(str(why))


def is_answered(ask: Callable[[], str]) -> bool:
    try:
        return bool(ask())
    except Exception:
        return False


def test_no_request_is_lost_when_one_of_two_servers_ends(behind: Behind) -> None:
    """What ends connections tells the gateway, as it tells clients without one."""
    api = behind.workspace.api
    token = behind.tokens.token()
    clients = [Asking(BY[protocol](behind, token)) for protocol in BY for _ in range(2)]
    going, _ = sorted(pod["metadata"]["name"] for pod in api.list("Pod", "app.kubernetes.io/component=server"))
    with asking(clients):
        eventually(lambda: all(client.answered > 20 for client in clients), seconds=60)
        behind.workspace.kubectl("delete", "pod", going, "--timeout=240s")
        eventually(lambda: is_serving(api, "resnet50"), seconds=240)
        before = [client.answered for client in clients]
        eventually(lambda: all(one.answered > was + 20 for one, was in zip(clients, before, strict=True)), seconds=60)
    assert [failure for client in clients for failure in client.failures] == []
    print(f"{sum(client.answered for client in clients)} requests through the gateway, none failed")


class Asking:
    """A client that asks again and again."""

    def __init__(self, ask: Ask) -> None:
        self._ask = ask
        self._images = images(1, 7)
        self._known = totals(self._images)
        self.answered = 0
        self.failures: list[str] = []

    def on(self, over: threading.Event) -> None:
        while not over.wait(0.05):
            try:
                np.testing.assert_array_equal(self._ask(self._images), self._known)
                self.answered += 1
            except Exception as fault:
                self.failures.append(f"after {self.answered}: {type(fault).__name__}: {fault}")


@contextmanager
def asking(clients: list[Asking]) -> Iterator[None]:
    over = threading.Event()
    threads = [threading.Thread(target=client.on, args=(over,)) for client in clients]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        over.set()
        for thread in threads:
            thread.join()
