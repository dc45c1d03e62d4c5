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
# SBOMs are written where things are installed, without a time or a number of their own. First of what the base image
# brings: its Python, the packages of that, and Debian's, where it is a Debian.
RUN UV_PROJECT_ENVIRONMENT=/opt/sbom /opt/uv/bin/uv sync --frozen --only-group sbom --python "$(command -v python3)"
ENV SBOM="/opt/sbom/bin/cyclonedx-py environment --output-reproducible --no-validate"
RUN mkdir /usr/share/sbom && . /etc/os-release \
 && python="$(python3 -c 'import platform; print(platform.python_version())')" \
 && { printf '{"bomFormat":"CycloneDX","specVersion":"1.6","version":1,' \
   && printf '"metadata":{"component":{"type":"operating-system","name":"%s","version":"%s"}},' "$ID" "$VERSION_ID" \
   && printf '"components":[\n{"type":"application","name":"python","version":"%s","purl":"pkg:generic/python@%s"}\n' \
             "$python" "$python" \
   && if command -v dpkg-query > /dev/null; then dpkg-query --show --showformat '${db:Status-Status} \
,{"type":"library","name":"${Package}","version":"${Version}",\
"purl":"pkg:deb/'"$ID"'/${Package}@${Version}?arch=${Architecture}&distro='"$ID-$VERSION_ID"'"}\n' \
      | sed -n 's/^installed //; T; :plus s/\(pkg:[^"]*\)+/\1%2B/; t plus; p'; fi \
   && printf ']}\n'; } > /usr/share/sbom/base.cdx.json \
 && $SBOM --output-file /usr/share/sbom/base-python.cdx.json "$(command -v python3)"
RUN /opt/uv/bin/uv sync --frozen --no-dev --no-install-project --python "$(command -v python3)"
# Refreshed, because a cache of uv goes by the age of pyproject.toml and not of the code.
COPY operator ./operator
RUN /opt/uv/bin/uv sync --frozen --no-dev --no-editable --refresh-package tftrt-operator --python "$(command -v python3)" \
 && $SBOM --pyproject pyproject.toml --output-file /usr/share/sbom/tftrt-operator.cdx.json /opt/tftrt-operator

FROM ${BASE_IMAGE}
COPY --from=builder /opt/tftrt-operator /opt/tftrt-operator
COPY --from=builder /usr/share/sbom /usr/share/sbom
USER 65532:65532
ENV PATH=/opt/tftrt-operator/bin:$PATH PYTHONUNBUFFERED=1
ENTRYPOINT ["tftrt-operator"]
