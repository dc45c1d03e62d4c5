"""Tokens as an issuer of one's own makes them: JSON Web Tokens, signed with RS256 (RFC 7515, 7517 and 7519)."""

import base64
import json
import time
from dataclasses import dataclass
from typing import Any, Self

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa

ISSUER, AUDIENCE = "https://accounts.example.com", "models"
"""Those of examples/gateway.yaml."""


@dataclass(frozen=True)
class Tokens:
    """An issuer with one key."""

    key: rsa.RSAPrivateKey

    @classmethod
    def new(cls) -> Self:
        return cls(rsa.generate_private_key(65537, 2048))

    @property
    def keys(self) -> dict[str, Any]:
        """What the issuer publishes, by which others tell its tokens."""
        numbers = self.key.public_key().public_numbers()
        modulus, exponent = (
            _text(number.to_bytes((number.bit_length() + 7) // 8)) for number in (numbers.n, numbers.e)
        )
        return {"keys": [{"kty": "RSA", "alg": "RS256", "use": "sig", "kid": "1", "n": modulus, "e": exponent}]}

    def token(self, issuer: str = ISSUER, audience: str = AUDIENCE, seconds: float = 3600) -> str:
        """A token that holds for so long."""
        head = {"alg": "RS256", "typ": "JWT", "kid": "1"}
        claims = {"iss": issuer, "aud": audience, "sub": "a client", "exp": int(time.time() + seconds)}
        signed = f"{_text(json.dumps(head).encode())}.{_text(json.dumps(claims).encode())}"
        signature = self.key.sign(signed.encode(), padding.PKCS1v15(), hashes.SHA256())
        return f"{signed}.{_text(signature)}"


def _text(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
