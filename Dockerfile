# One image for the parts that ragquake brings itself: service, vector DB, model server simulator, journeys.
# The packages come from the same hash lock as on a developer's machine, by the same script.
FROM python:3.11-slim-bookworm

# Empty means torch's default build (about 6 GB with CUDA); `cpu` makes it 0.2 GB, see README.
ARG UV_TORCH_BACKEND=""
ENV UV_TORCH_BACKEND=${UV_TORCH_BACKEND} UV_NO_CACHE=1 PIP_NO_CACHE_DIR=1 PYTHONUNBUFFERED=1 HF_HUB_OFFLINE=1 \
    PATH=/app/.venv/bin:$PATH
WORKDIR /app

# Packages first: they change rarely and are most of the image.
COPY pyproject.toml README.md LICENSE ./
COPY requirements requirements
COPY scripts scripts
RUN sh scripts/setup --no-index --no-toxiproxy

COPY rag_service rag_service
COPY journeys journeys
COPY slo slo
COPY chaos chaos
RUN python -m rag_service.ingest --out /app/index

RUN useradd --uid 10001 --no-create-home ragquake
USER ragquake
CMD ["python", "-m", "rag_service"]
