# One image for every process of the suite; docker-compose.yml says which one a container runs.
FROM python:3.11-slim-bookworm

ENV PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1 PYTHONUTF8=1 PYTHONPATH=/huimin HUIMIN_ROOT=/huimin \
    HUIMIN_HOME=/var/lib/huimin HUIMIN_MODE=separate HUIMIN_HOST=0.0.0.0 MALLOC_ARENA_MAX=2
WORKDIR /huimin

COPY services/stack/installer.lock requirements.lock ./
RUN pip install --no-cache-dir --require-hashes -r installer.lock \
    && uv pip install --system --no-cache --require-hashes -r requirements.lock

RUN useradd --system --uid 10001 --home-dir /var/lib/huimin --create-home huimin
COPY services services
COPY gateway gateway
COPY health health
COPY social_security social_security
COPY education education
COPY transport transport

USER huimin
ENTRYPOINT ["python", "-P", "-m", "services.stack"]
CMD ["--help"]
