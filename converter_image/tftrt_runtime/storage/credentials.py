"""The arguments of a client of each scheme that say who asks, and whom.

Without a Secret a request is anonymous, or has what the environment grants (a workload identity).
"""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Callable
from typing import Any

from tftrt_runtime.errors import SecretUnfit
from tftrt_runtime.storage.secret import HELP, Keys, Role, Secret


def options(secret: Secret | None, role: Role, scheme: str) -> dict[str, Any]:
    """The arguments of fsspec's implementation for a scheme.

    Raises:
        SecretUnfit: the Secret has half of what belongs together or not what there must be, or a key cannot be read.
    """
    return _OPTIONS[scheme]({} if secret is None else secret.keys, role)


def _s3(keys: Keys, role: Role) -> dict[str, Any]:
    _together(keys, ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"), role)
    found: dict[str, Any] = {
        "key": keys.get("AWS_ACCESS_KEY_ID"),
        "secret": keys.get("AWS_SECRET_ACCESS_KEY"),
        "token": keys.get("AWS_SESSION_TOKEN"),
        "endpoint_url": keys.get("AWS_ENDPOINT_URL"),
        "client_kwargs": {"region_name": keys["AWS_REGION"]} if "AWS_REGION" in keys else {},
    }
    if "AWS_ACCESS_KEY_ID" not in keys and not _environment_knows_s3():
        found["anon"] = True
    return found


def _environment_knows_s3() -> bool:
    """Whether botocore finds credentials by itself: variables, a profile, a web identity, the node's role."""
    import botocore.session

    return botocore.session.get_session().get_credentials() is not None


def _gs(keys: Keys, role: Role) -> dict[str, Any]:
    found: dict[str, Any] = {}
    if "GOOGLE_ENDPOINT_URL" in keys:
        found["endpoint_url"] = keys["GOOGLE_ENDPOINT_URL"]
    if "key.json" in keys:
        found["token"] = _object(keys["key.json"])
        if found["token"] is None:
            raise SecretUnfit(f"key.json in the Secret for the {role} is no service account's key; {HELP}.")
    elif "GOOGLE_APPLICATION_CREDENTIALS" not in os.environ and "GOOGLE_ENDPOINT_URL" in keys:
        found["token"] = "anon"
    return found


def _object(text: str) -> dict[str, Any] | None:
    try:
        found = json.loads(text)
    except ValueError:
        return None
    return found if isinstance(found, dict) else None


def _az(keys: Keys, role: Role) -> dict[str, Any]:
    if "AZURE_STORAGE_CONNECTION_STRING" in keys:
        return {"connection_string": keys["AZURE_STORAGE_CONNECTION_STRING"]}
    if keys and "AZURE_STORAGE_ACCOUNT" not in keys:
        raise SecretUnfit(f"The Secret for the {role} has no AZURE_STORAGE_ACCOUNT; {HELP}.")
    if "AZURE_STORAGE_CONNECTION_STRING" in os.environ and not keys:
        return {"connection_string": os.environ["AZURE_STORAGE_CONNECTION_STRING"]}
    account = keys.get("AZURE_STORAGE_ACCOUNT") or os.environ.get("AZURE_STORAGE_ACCOUNT_NAME")
    if account is None:
        raise SecretUnfit(
            f"An az:// URI does not say whose storage it is: give the {role} a Secret with at least "
            f"AZURE_STORAGE_ACCOUNT; {HELP}."
        )
    return {
        "account_name": account,
        "account_key": keys.get("AZURE_STORAGE_KEY"),
        "sas_token": keys.get("AZURE_STORAGE_SAS_TOKEN"),
        "anon": False,
    }


def _http(keys: Keys, role: Role) -> dict[str, Any]:
    _together(keys, ("username", "password"), role)
    if "token" in keys:
        return {"headers": {"Authorization": f"Bearer {keys['token']}"}}
    if "username" in keys:
        pair = base64.b64encode(f"{keys['username']}:{keys['password']}".encode()).decode()
        return {"headers": {"Authorization": f"Basic {pair}"}}
    return {}


def _together(keys: Keys, names: tuple[str, str], role: Role) -> None:
    missing = [name for name in names if name not in keys]
    if len(missing) == 1:
        raise SecretUnfit(f"The Secret for the {role} has no {missing[0]}, which belongs to its other keys; {HELP}.")


_OPTIONS: dict[str, Callable[[Keys, Role], dict[str, Any]]] = {
    "s3": _s3,
    "gs": _gs,
    "az": _az,
    "http": _http,
    "https": _http,
}
