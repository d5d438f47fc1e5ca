# One image for the operator, the workers, the API and the `fpj` command; the command decides which it is.
#   docker build -t fpj .        or, with another base that has Python 3.11 or later:        --build-arg BASE=…
ARG BASE=python:3.13-slim

FROM ${BASE} AS dependencies
WORKDIR /build
RUN python3 -m venv /opt/fpj
COPY requirements/cluster.txt requirements/
RUN /opt/fpj/bin/pip install --no-cache-dir --no-compile --require-hashes -r requirements/cluster.txt

# fpj itself lies in a layer of its own: a new version then brings a node little more than what has changed.
FROM dependencies AS own
COPY pyproject.toml README.md LICENSE ./
COPY core core
COPY operator operator
COPY worker worker
COPY api api
COPY cli cli
RUN /opt/fpj/bin/pip install --no-cache-dir --no-deps --no-build-isolation --no-warn-script-location \
    --root /own .

# What only building needs goes. Kubernetes' thousands of typed models, which fpj does not load, stay uncompiled.
FROM dependencies AS runtime
RUN /opt/fpj/bin/pip uninstall -yq hatchling editables packaging pluggy setuptools tomlkit trove-classifiers \
    && /opt/fpj/bin/pip check \
    && /opt/fpj/bin/pip uninstall -yq pip \
    && find /opt/fpj -name tests -type d -prune -exec rm -rf {} + \
    && /opt/fpj/bin/python -m compileall -q -j 0 -x '/kubernetes/(aio/)?client/(api|models)/' /opt/fpj/lib

FROM ${BASE}
ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="fpj" \
      org.opencontainers.image.description="Cache images and thumbnails for millions of photographs, on Kubernetes" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
COPY --from=runtime /opt/fpj /opt/fpj
COPY --from=own /own/opt/fpj /opt/fpj
# The root file system may be read-only: only /tmp is ever written to.
ENV PATH=/opt/fpj/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    HOME=/tmp
USER 65532:65532
WORKDIR /tmp
CMD ["fpj", "--help"]
