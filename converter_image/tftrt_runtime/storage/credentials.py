"""The keys to a URI: a Kubernetes Secret, mounted as a folder with one file a key.

    <TFTRT_SECRETS>/<role>/<key>        TFTRT_SECRETS is /mnt/secrets unless it is set

Where the folder is absent a request is anonymous, or has what the environment grants (a workload identity). What is
read here goes into a client's arguments and nowhere else: not into the environment, which child processes inherit.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal

from tftrt_runtime.errors import UsageError

DEFAULT_ROOT = "/mnt/secrets"

Role = Literal["source", "calibration", "verification", "artifacts"]
Keys = Mapping[str, str]

KNOWN: dict[str, tuple[str, ...]] = {
    "s3": ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_REGION", "AWS_ENDPOINT_URL"),
    "gs": ("key.json", "GOOGLE_ENDPOINT_URL"),
    "az": (
        "AZURE_STORAGE_CONNECTION_STRING",
        "AZURE_STORAGE_ACCOUNT",
        "AZURE_STORAGE_KEY",
        "AZURE_STORAGE_SAS_TOKEN",
    ),
    "http": ("username", "password", "token"),
}
KNOWN["https"] = KNOWN["http"]


def read(role: Role, scheme: str) -> Keys:
    """The keys that the Secret of this role has for a scheme; none where no Secret is mounted.

    Raises:
        UsageError: there is a Secret, and it has no key that the scheme knows.
    """
    folder = Path(os.environ.get("TFTRT_SECRETS", DEFAULT_ROOT), role)
    if not folder.is_dir():
        return {}
    found = {name: (folder / name).read_text().strip() for name in KNOWN[scheme] if (folder / name).is_file()}
    if not found:
        there = ", ".join(sorted(path.name for path in folder.iterdir() if not path.name.startswith("."))) or "nothing"
        raise UsageError(
            f"The Secret for the {role} has {there}, and {scheme}:// takes {', '.join(KNOWN[scheme])}: see "
            "docs/storage.md."
        )
    return found


def options(role: Role, scheme: str) -> dict[str, Any]:
    """The arguments of fsspec's implementation for a scheme that say who asks, and whom.

    Raises:
        UsageError: the Secret has half of what belongs together or not what there must be, or a key cannot be read.
    """
    return _OPTIONS[scheme](read(role, scheme), role)


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
        try:
            found["token"] = json.loads(keys["key.json"])
        except ValueError as error:
            raise UsageError(f"key.json in the Secret for the {role} is no service account's key: {error}.") from error
    elif "GOOGLE_APPLICATION_CREDENTIALS" not in os.environ and "GOOGLE_ENDPOINT_URL" in keys:
        found["token"] = "anon"
    return found


def _az(keys: Keys, role: Role) -> dict[str, Any]:
    if "AZURE_STORAGE_CONNECTION_STRING" in keys:
        return {"connection_string": keys["AZURE_STORAGE_CONNECTION_STRING"]}
    if keys and "AZURE_STORAGE_ACCOUNT" not in keys:
        raise UsageError(f"The Secret for the {role} has no AZURE_STORAGE_ACCOUNT: see docs/storage.md.")
    if "AZURE_STORAGE_CONNECTION_STRING" in os.environ and not keys:
        return {"connection_string": os.environ["AZURE_STORAGE_CONNECTION_STRING"]}
    account = keys.get("AZURE_STORAGE_ACCOUNT") or os.environ.get("AZURE_STORAGE_ACCOUNT_NAME")
    if account is None:
        raise UsageError(
            f"An az:// URI does not say whose storage it is: give the {role} a Secret with at least "
            "AZURE_STORAGE_ACCOUNT, see docs/storage.md."
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
        import aiohttp

        return {"auth": aiohttp.BasicAuth(keys["username"], keys["password"])}
    return {}


def _together(keys: Keys, names: tuple[str, str], role: Role) -> None:
    missing = [name for name in names if name not in keys]
    if len(missing) == 1:
        raise UsageError(f"The Secret for the {role} has no {missing[0]}, which belongs to its other keys.")


_OPTIONS: dict[str, Callable[[Keys, Role], dict[str, Any]]] = {
    "s3": _s3,
    "gs": _gs,
    "az": _az,
    "http": _http,
    "https": _http,
}
