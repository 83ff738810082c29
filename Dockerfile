# syntax=docker/dockerfile:1
# The gateway. Mount a configuration at /etc/ecr-proxy/config.toml.

FROM python:3.13-slim-bookworm AS build
WORKDIR /src
COPY pyproject.toml README.md LICENSE ./
COPY proxy ./proxy
COPY policies ./policies
# An environment without pip: what installs stays in this stage.
RUN python -m venv --without-pip /opt/ecr-proxy && \
    pip --python /opt/ecr-proxy/bin/python install --no-cache-dir .
RUN mkdir -p /var/lib/ecr-proxy

FROM python:3.13-slim-bookworm
RUN pip uninstall --yes pip
COPY --from=build /opt/ecr-proxy /opt/ecr-proxy
COPY policies /etc/ecr-proxy/policies
# Keys and audit lie here; nothing else of the image is writable for the process.
COPY --from=build --chown=10001:10001 /var/lib/ecr-proxy /var/lib/ecr-proxy
ENV PATH=/opt/ecr-proxy/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    ECR_PROXY_SERVER_HOST=0.0.0.0 \
    ECR_PROXY_SERVER_PORT=8000 \
    ECR_PROXY_KEYS_FILE=/var/lib/ecr-proxy/keys.json \
    ECR_PROXY_AUDIT_FILE=/var/lib/ecr-proxy/audit.ndjson
WORKDIR /var/lib/ecr-proxy
USER 10001:10001
EXPOSE 8000
HEALTHCHECK --interval=10s --timeout=3s --start-period=15s --retries=3 \
    CMD ["python", "-c", "import os, urllib.request as r; r.urlopen('http://127.0.0.1:' + os.environ['ECR_PROXY_SERVER_PORT'] + '/healthz', timeout=2)"]
ENTRYPOINT ["ecr-proxy"]
CMD ["serve", "--config", "/etc/ecr-proxy/config.toml"]
