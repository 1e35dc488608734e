# The relay: applies the migrations that are missing, then runs. Settings come from the environment; see .env.example.

FROM python:3.12-slim AS build
WORKDIR /src
COPY . .
RUN pip install --no-cache-dir --require-hashes -r requirements/build.txt \
    && pip wheel --no-cache-dir --no-deps --no-build-isolation --wheel-dir /wheels .

FROM python:3.12-slim
COPY --from=build /wheels /wheels
COPY requirements/run.txt /wheels/
RUN pip install --no-cache-dir --require-hashes -r /wheels/run.txt \
    && pip install --no-cache-dir --no-deps /wheels/*.whl \
    && rm -r /wheels \
    && useradd --system --uid 10001 --no-create-home --shell /usr/sbin/nologin rowhook
ENV PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
WORKDIR /tmp
USER 10001

# The admin API listens on the container's own loopback until ROWHOOK_API_LISTEN says otherwise (0.0.0.0:8080).
EXPOSE 8080
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s --retries=3 \
    CMD ["python", "-c", "import http.client, os, sys; port = os.environ.get('ROWHOOK_API_LISTEN', ':8080').rpartition(':')[2]; api = http.client.HTTPConnection('127.0.0.1', int(port), timeout=3); api.request('GET', '/health/live'); sys.exit(api.getresponse().status != 200)"]

STOPSIGNAL SIGTERM
CMD ["sh", "-c", "rowhook migrate && exec rowhook run"]
