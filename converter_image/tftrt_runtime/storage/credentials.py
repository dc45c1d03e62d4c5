"""The arguments of a client of each scheme that say who asks, and whom.

Without a Secret a request is anonymous, or has what the environment grants (a workload identity). With one it has what
the Secret has, and nothing of the environment's but the identity that is let into an Azure account.

Each key is parsed here, for a library that cannot read one quotes it.
"""

from __future__ import annotations

import base64
import binascii
import json
import os
import re
from collections.abc import Callable
from typing import Any

from yarl import URL

from tftrt_runtime.contract.errors import SecretUnfit
from tftrt_runtime.contract.told_uri import unsigned
from tftrt_runtime.storage.secret import HELP, KNOWN, Keys, Role, Secret


def options(secret: Secret | None, role: Role, scheme: str) -> dict[str, Any]:
    """The arguments of fsspec's implementation for a scheme.

    Raises:
        SecretUnfit: the Secret has half of what belongs together or not what there must be, or a key cannot be read.
    """
    if secret is None:
        return _AMBIENT[scheme](role) if scheme in _AMBIENT else {}
    for name, value in secret.keys.items():
        what, is_one = _PARSED.get(name, ("", bool))
        if what and not is_one(value):
            raise SecretUnfit(f"{name} in the Secret for the {role} is no {what}; {HELP}.")
    return _OPTIONS[scheme](secret.keys, role)


def whose(secret: Secret | None, role: Role, uri: str) -> str:
    """Who asked for a URI that was refused, and what may be done about it."""
    scheme = uri.partition("://")[0]
    field = f"{_FIELDS[role]}.secretName"
    known = ", ".join(name for name in KNOWN[scheme] if name not in _PLACES)
    used = ", ".join(name for name in secret.keys if name not in _PLACES) if secret is not None else ""
    if used:
        return f"It was asked for with {used} of the Secret for the {role}: check them, and {field}; {HELP}."
    if unsigned(uri) != uri:
        return (
            "It was asked for with the signature in its query, which may have expired: sign it anew, or name a Secret "
            f"with {known} in {field}; {HELP}."
        )
    # At Azure the node's identity may be let into the account that a Secret names.
    if secret is not None and scheme != "az":
        return f"It was asked for without credentials: the Secret for the {role} has none of {known}; {HELP}."
    if scheme in ("http", "https") or (scheme == "s3" and _is_nobody_at_s3()):
        return f"It was asked for without credentials: name a Secret with {known} in {field}; {HELP}."
    return (
        "It was asked for with what the node's environment grants, if anything: have that let in, or name a Secret "
        f"with {known} in {field}; {HELP}."
    )


def _is_nobody_at_s3() -> bool:
    from botocore.exceptions import BotoCoreError

    try:
        return not _environment_knows_s3()
    except BotoCoreError:  # it should know, and fails at it
        return False


# Where the spec has what a role is for.
_FIELDS: dict[Role, str] = {
    "source": "spec.source",
    "calibration": "spec.conversion.calibration",
    "verification": "spec.verification",
    "artifacts": "spec.artifacts",
}
# Keys of a Secret that say where a store is, and not who asks.
_PLACES = {"AWS_REGION", "AWS_ENDPOINT_URL", "GOOGLE_ENDPOINT_URL", "AZURE_STORAGE_ACCOUNT"}


def _is_word(text: str) -> bool:
    return re.fullmatch(r"[!-~]*", text) is not None


def _is_label(text: str) -> bool:
    return re.fullmatch(r"[a-z0-9-]{1,63}", text) is not None


def _is_endpoint(text: str) -> bool:
    """Whether it is a URL without a user, a query and a fragment. That it is https is told where it is asked."""
    try:
        port = URL(text).port
    except ValueError:
        return False
    return port is not None and re.fullmatch(r"(?i)https?://[-\w.:\[\]]+(/[-\w.~%/]*)?", text) is not None


def _is_base64(text: str) -> bool:
    try:
        return len(base64.b64decode(text, validate=True)) > 0
    except (binascii.Error, ValueError):
        return False


def _is_connection_string(text: str) -> bool:
    parts = [part.partition("=") for part in text.rstrip(";").split(";")]
    checks = {name.lower(): is_one for name, is_one in _CONNECTION_STRING.items()}
    return all(mark and checks.get(name.lower(), _is_word)(value) for name, mark, value in parts)


_CONNECTION_STRING: dict[str, Callable[[str], bool]] = {
    "DefaultEndpointsProtocol": _is_label,
    "AccountName": _is_label,
    "AccountKey": _is_base64,
    "BlobEndpoint": _is_endpoint,
    "BlobSecondaryEndpoint": _is_endpoint,
    "EndpointSuffix": lambda text: re.fullmatch(r"[-\w.]+", text) is not None,
}

# What each key is, in words, and whether a text is one. Any text may be a user or a password.
_PARSED: dict[str, tuple[str, Callable[[str], bool]]] = {
    "AWS_ACCESS_KEY_ID": ("word of ASCII", _is_word),
    "AWS_SECRET_ACCESS_KEY": ("word of ASCII", _is_word),
    "AWS_SESSION_TOKEN": ("word of ASCII", _is_word),
    "AWS_REGION": ("name of a region", _is_label),
    "AWS_ENDPOINT_URL": ("URL of https without a user or a query", _is_endpoint),
    "GOOGLE_ENDPOINT_URL": ("URL of https without a user or a query", _is_endpoint),
    "AZURE_STORAGE_CONNECTION_STRING": ("connection string", _is_connection_string),
    "AZURE_STORAGE_ACCOUNT": ("name of an account", _is_label),
    "AZURE_STORAGE_KEY": ("key of an account, which is in base64", _is_base64),
    "AZURE_STORAGE_SAS_TOKEN": ("word of ASCII", _is_word),
    "token": ("word of ASCII", _is_word),
}


def _ambient_s3(_role: Role) -> dict[str, Any]:
    return {} if _environment_knows_s3() else {"anon": True}


def _ambient_az(role: Role) -> dict[str, Any]:
    if "AZURE_STORAGE_CONNECTION_STRING" in os.environ:
        return {"connection_string": os.environ["AZURE_STORAGE_CONNECTION_STRING"]}
    if "AZURE_STORAGE_ACCOUNT_NAME" in os.environ:
        return {"account_name": os.environ["AZURE_STORAGE_ACCOUNT_NAME"], "anon": False}
    raise SecretUnfit(
        f"An az:// URI does not say whose storage it is: give the {role} a Secret with at least AZURE_STORAGE_ACCOUNT; "
        f"{HELP}."
    )


def _s3(keys: Keys, role: Role) -> dict[str, Any]:
    _together(keys, ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"), role)
    found: dict[str, Any] = {
        "key": keys.get("AWS_ACCESS_KEY_ID"),
        "secret": keys.get("AWS_SECRET_ACCESS_KEY"),
        "token": keys.get("AWS_SESSION_TOKEN"),
        "endpoint_url": keys.get("AWS_ENDPOINT_URL"),
        "client_kwargs": {"region_name": keys["AWS_REGION"]} if "AWS_REGION" in keys else {},
    }
    if "AWS_ACCESS_KEY_ID" not in keys:
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
        found["token"] = _account(keys["key.json"])
        if found["token"] is None:
            raise SecretUnfit(f"key.json in the Secret for the {role} is no service account's key; {HELP}.")
    else:
        found["token"] = "anon"
    return found


def _account(text: str) -> dict[str, Any] | None:
    """A Google service account's key as far as this can tell, or None."""
    try:
        found = json.loads(text)
    except ValueError:
        return None
    if not isinstance(found, dict) or not all(isinstance(found.get(name, ""), str) for name in _ACCOUNT):
        return None
    return found if "token_uri" not in found or _is_endpoint(found["token_uri"]) else None


_ACCOUNT = ("client_email", "private_key", "private_key_id", "token_uri", "universe_domain", "project_id")


def _az(keys: Keys, role: Role) -> dict[str, Any]:
    if "AZURE_STORAGE_CONNECTION_STRING" in keys:
        return {"connection_string": keys["AZURE_STORAGE_CONNECTION_STRING"]}
    if "AZURE_STORAGE_ACCOUNT" not in keys:
        raise SecretUnfit(f"The Secret for the {role} has no AZURE_STORAGE_ACCOUNT; {HELP}.")
    return {
        "account_name": keys["AZURE_STORAGE_ACCOUNT"],
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


_AMBIENT: dict[str, Callable[[Role], dict[str, Any]]] = {"s3": _ambient_s3, "az": _ambient_az}
_OPTIONS: dict[str, Callable[[Keys, Role], dict[str, Any]]] = {
    "s3": _s3,
    "gs": _gs,
    "az": _az,
    "http": _http,
    "https": _http,
}
