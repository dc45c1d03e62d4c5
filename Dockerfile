# The operator. BASE_IMAGE is any image with Python 3.11 or newer as `python3`.
ARG BASE_IMAGE=python:3.11-slim

FROM ${BASE_IMAGE} AS builder
# Build-time only: certificates of the network that this is built in, where it has its own.
ARG SSL_CERT_FILE
ARG PIP_CERT
ARG UV_VERSION=0.13.9
RUN python3 -m venv /opt/uv && /opt/uv/bin/pip install --no-cache-dir --quiet uv==${UV_VERSION}
ENV UV_PYTHON_DOWNLOADS=never UV_LINK_MODE=copy UV_COMPILE_BYTECODE=1 UV_PROJECT_ENVIRONMENT=/opt/tftrt-operator
WORKDIR /src
# The dependencies first: they change less often than the code.
COPY pyproject.toml uv.lock README.md LICENSE ./
RUN /opt/uv/bin/uv sync --frozen --no-dev --no-install-project --python "$(command -v python3)"
# Refreshed, because a cache of uv goes by the age of pyproject.toml and not of the code.
COPY operator ./operator
RUN /opt/uv/bin/uv sync --frozen --no-dev --no-editable --refresh-package tftrt-operator --python "$(command -v python3)"

FROM ${BASE_IMAGE}
COPY --from=builder /opt/tftrt-operator /opt/tftrt-operator
USER 65532:65532
ENV PATH=/opt/tftrt-operator/bin:$PATH PYTHONUNBUFFERED=1
ENTRYPOINT ["tftrt-operator"]
