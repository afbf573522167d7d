# The image of `helios serve`:
#   docker build --tag helios-serve .
#   docker run --publish 127.0.0.1:8001:8001 --volume helios:/data helios-serve
# No container engine has built it here. tests/unit/test_dockerfile.py checks it without one.
ARG PYTHON_IMAGE=python:3.11.13-slim-bookworm
ARG NODE_IMAGE=node:22.18.0-bookworm-slim

FROM ${NODE_IMAGE} AS dashboard
WORKDIR /source/dashboard
COPY dashboard/package.json dashboard/package-lock.json dashboard/.npmrc ./
RUN npm ci --no-audit --no-fund
COPY dashboard/ ./
RUN npm run build

FROM ${PYTHON_IMAGE} AS wheel
WORKDIR /source
RUN python -m venv /opt/helios
COPY serve.lock ./
RUN /opt/helios/bin/pip install --no-cache-dir --no-deps --require-hashes --requirement serve.lock
COPY scripts/build/wheel.lock ./
RUN pip install --no-cache-dir --no-deps --require-hashes --requirement wheel.lock
COPY pyproject.toml hatch_build.py README.md LICENSE ./
COPY shared/ shared/
COPY --from=dashboard /source/dashboard/dist dashboard/dist
RUN pip wheel --no-cache-dir --no-deps --no-build-isolation --wheel-dir /wheels . \
  && /opt/helios/bin/pip install --no-cache-dir --no-deps /wheels/*.whl

FROM ${PYTHON_IMAGE}
# A number, so that Kubernetes can see that the user is not root (runAsNonRoot).
RUN useradd --uid 10001 --create-home helios && install --directory --mode 0700 --owner helios /data
COPY --from=wheel /opt/helios /opt/helios
ENV PATH=/opt/helios/bin:$PATH PYTHONUNBUFFERED=1
USER 10001
WORKDIR /data
VOLUME /data
EXPOSE 8001
# 503, and so unhealthy, while events can't be stored.
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s \
  CMD ["python", "-c", "import urllib.request as r; r.urlopen('http://127.0.0.1:8001/api/v1/health/detailed', timeout=4)"]
ENTRYPOINT ["helios"]
CMD ["serve", "--host", "0.0.0.0", "--data", "/data", "--log-to", "stderr"]
