# One image for worker, Flower and sandbox; docker-compose.yml says which command each of them runs.

FROM python:3.11-slim-bookworm AS build

ENV PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PIP_NO_CACHE_DIR=1

RUN python -m venv /opt/call-transfer

WORKDIR /src
COPY pyproject.toml LICENSE README.md ./
COPY constraints constraints
COPY tasks tasks
COPY worker worker
RUN /opt/call-transfer/bin/pip install --constraint constraints/worker.txt '.[worker]'


FROM python:3.11-slim-bookworm

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
