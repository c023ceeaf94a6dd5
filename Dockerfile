# One image for worker, Flower and sandbox; docker-compose.yml says which command each of them runs.

FROM python:3.13-slim-trixie AS build

ENV PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PIP_NO_CACHE_DIR=1

RUN python -m venv /opt/build \
    && python -m venv /opt/call-transfer

# Every package by its hash, as wheels alone. What builds ours stays out of its environment.
WORKDIR /src
COPY constraints/image constraints
RUN /opt/build/bin/pip install --require-hashes --only-binary :all: --requirement constraints/build.txt \
    && /opt/call-transfer/bin/pip install --require-hashes --only-binary :all: \
        --requirement "constraints/python3.13-$(uname -m).txt"

COPY pyproject.toml LICENSE README.md ./
COPY tasks tasks
COPY worker worker
RUN /opt/build/bin/hatchling build --target wheel --directory /dist \
    && /opt/call-transfer/bin/pip install --no-deps --no-index /dist/call_transfer-*.whl


FROM python:3.13-slim-trixie

# What is kept over restarts is mounted there; a fresh named volume takes over the owner.
RUN useradd --system --uid 10001 --user-group --home-dir /app --shell /usr/sbin/nologin transfer \
    && install --directory --owner transfer --group transfer --mode 0700 /var/lib/call-transfer /var/lib/flower

COPY --from=build /opt/call-transfer /opt/call-transfer
COPY worker/flowerconfig.py /app/flowerconfig.py

ENV PATH=/opt/call-transfer/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1

WORKDIR /app
USER 10001:10001

# SIGTERM drains: transfers in flight finish, fetched ones go back to the queue.
STOPSIGNAL SIGTERM
CMD ["call-transfer", "worker"]
