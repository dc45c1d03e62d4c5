# mypy: disable-error-code="no-untyped-call"
"""moto's S3 server over TLS: `python -m tests.moto_server PORT CERTIFICATE KEY`.

moto's own command shakes hands where it accepts connections: a client that was stopped, as in some tests, would stop
all others.
"""

from __future__ import annotations

import sys
from pathlib import Path

from moto.moto_server.werkzeug_app import DomainDispatcherApplication, MotoRequestHandler, create_backend_app
from werkzeug.serving import run_simple

from tests.authority import serving


def main(port: str, certificate: str, key: str) -> None:
    """Answer until the process is ended."""
    run_simple(
        "127.0.0.1",
        int(port),
        DomainDispatcherApplication(create_backend_app),
        threaded=True,
        ssl_context=serving(Path(certificate), Path(key)),
        request_handler=MotoRequestHandler,
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
