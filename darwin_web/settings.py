"""Every setting, read from the environment with a default that needs no set-up. docs/operations.md lists them."""

import hashlib
import os
import secrets
import tempfile
from pathlib import Path
from typing import Any

import dj_database_url
from csp.constants import NONCE

BASE_DIR = Path(__file__).resolve().parent.parent
DARWIN_VAR = Path(os.environ.get("DARWIN_VAR") or BASE_DIR / "var").resolve()
DARWIN_VAR.mkdir(parents=True, exist_ok=True)


def _secret_key() -> str:
    """The key from the environment, or one made on the first start and kept with mode 0600."""
    if key := os.environ.get("DARWIN_SECRET_KEY"):
        return key
    path = DARWIN_VAR / "secret_key"
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        if text := path.read_text():
            return text
        descriptor = os.open(path, os.O_WRONLY)  # a start that was killed before it wrote
    with os.fdopen(descriptor, "w") as file:
        file.write(secrets.token_urlsafe(50))
    return path.read_text()


def _short_socket(path: Path) -> Path:
    """A Unix socket's path has at most 107 bytes; a deep DARWIN_VAR gets a private directory under /tmp instead."""
    if len(os.fsencode(path)) <= 100:
        return path
    folder = Path(tempfile.gettempdir()) / f"darwin-{os.getuid()}-{hashlib.sha256(bytes(path)).hexdigest()[:12]}"
    folder.mkdir(mode=0o700, exist_ok=True)
    return folder / path.name


def _port(text: str) -> int:
    if not text.isdecimal() or not 0 < int(text) < 65536:
        raise ValueError(f"PORT={text} is no port: give a number from 1 to 65535")
    return int(text)


HOST = os.environ.get("HOST") or "127.0.0.1"
PORT = _port(os.environ.get("PORT") or "8000")
SECRET_KEY = _secret_key()
DEBUG = False
ALLOWED_HOSTS = [h for h in os.environ.get("DARWIN_ALLOWED_HOSTS", "").split(",") if h] or [
    "127.0.0.1", "localhost", "[::1]", *([HOST] if HOST not in ("0.0.0.0", "::") else ["*"]),  # noqa: S104
]
DARWIN_HTTPS = os.environ.get("DARWIN_HTTPS", "") == "1"  # behind a proxy that speaks TLS
CSRF_TRUSTED_ORIGINS = [o for o in os.environ.get("DARWIN_ORIGINS", "").split(",") if o]

INSTALLED_APPS = [
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "csp",
    "channels",
    "evolution",
    "review",
    "sandbox",
    "darwin_web",
]

MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "csp.middleware.CSPMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.auth.middleware.LoginRequiredMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]

ROOT_URLCONF = "darwin_web.urls"
ASGI_APPLICATION = "darwin_web.asgi.application"
LOGIN_URL = "login"
LOGIN_REDIRECT_URL = "overview"

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": False,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
                "darwin_web.context.rail",
            ],
            "builtins": ["darwin_web.templatetags.darwin"],
        },
    }
]

DATABASES: dict[str, Any] = {
    "default": dj_database_url.parse(os.environ["DATABASE_URL"], conn_max_age=60)
    if os.environ.get("DATABASE_URL")
    else {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": DARWIN_VAR / "db.sqlite3",
        "OPTIONS": {
            "transaction_mode": "IMMEDIATE",
            "timeout": 20,
            "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; PRAGMA foreign_keys=ON;",
        },
    }
}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

# Redis: broker and channel layer. Without REDIS_URL the supervisor starts one of its own on this socket.
REDIS_SOCKET = _short_socket(DARWIN_VAR / "redis.sock")
REDIS_URL = os.environ.get("REDIS_URL") or f"unix://{REDIS_SOCKET}"
DARWIN_OWN_REDIS = not os.environ.get("REDIS_URL")
DARWIN_WAKE = True  # ring the stations' bells; tests without a broker switch it off

CHANNEL_LAYERS: dict[str, Any] = {
    "default": {
        "BACKEND": "channels_redis.pubsub.RedisPubSubChannelLayer",
        "CONFIG": {"hosts": [{"address": REDIS_URL}]},
    }
}

CELERY_BROKER_URL = f"redis+socket://{REDIS_SOCKET}" if DARWIN_OWN_REDIS else REDIS_URL
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
CELERY_BROKER_TRANSPORT_OPTIONS = {"socket_connect_timeout": 2, "visibility_timeout": 3600}
CELERY_TASK_IGNORE_RESULT = True
CELERY_TASK_ACKS_LATE = True
CELERY_WORKER_PREFETCH_MULTIPLIER = 1
CELERY_WORKER_HIJACK_ROOT_LOGGER = False
CELERY_TASK_SERIALIZER = "json"
CELERY_ACCEPT_CONTENT = ["json"]
CELERY_TASK_DEFAULT_QUEUE = "agents"
CELERY_TASK_ROUTES = {"sandbox.*": {"queue": "sandbox"}}
CELERY_BEAT_SCHEDULE = {
    station: {"task": station, "schedule": 3.0, "options": {"expires": 3.0}}
    for station in ("evolution.station", "review.station", "sandbox.station")
}

LANGUAGE_CODE = "en"
TIME_ZONE = "UTC"
USE_TZ = True
USE_I18N = False

STATIC_URL = "static/"
STATICFILES_DIRS = [BASE_DIR / "static"]
WHITENOISE_USE_FINDERS = True
WHITENOISE_AUTOREFRESH = False

SESSION_COOKIE_HTTPONLY = True
SESSION_COOKIE_SAMESITE = "Lax"
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = DARWIN_HTTPS
SECURE_SSL_REDIRECT = DARWIN_HTTPS
SECURE_HSTS_SECONDS = 31_536_000 if DARWIN_HTTPS else 0
SECURE_HSTS_INCLUDE_SUBDOMAINS = SECURE_HSTS_PRELOAD = DARWIN_HTTPS
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https") if DARWIN_HTTPS else None
SECURE_REFERRER_POLICY = "same-origin"
X_FRAME_OPTIONS = "DENY"

# Everything from this host. Styles: CodeMirror and plotly write style elements and attributes while they run.
CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": ["'none'"],
        "script-src": ["'self'"],
        "style-src": ["'self'"],
        "style-src-elem": ["'self'", NONCE],
        "style-src-attr": ["'unsafe-inline'"],
        "img-src": ["'self'", "data:", "blob:"],
        "font-src": ["'self'"],
        "connect-src": ["'self'"],
        "form-action": ["'self'"],
        "base-uri": ["'none'"],
        "frame-ancestors": ["'none'"],
    }
}

AUTH_PASSWORD_VALIDATORS = [
    {"NAME": f"django.contrib.auth.password_validation.{name}"}
    for name in ("MinimumLengthValidator", "CommonPasswordValidator")
]

# The undo window: how long a person's decision waits before the next station hears of it.
DARWIN_UNDO_SECONDS = float(os.environ.get("DARWIN_UNDO_SECONDS") or "10")

# What of an agent's brief may come from the memory. A model reads it before every proposal, and pays for it.
DARWIN_MEMORY_CHARACTERS = int(os.environ.get("DARWIN_MEMORY_CHARACTERS") or "6000")

DARWIN_DEMO = os.environ.get("DARWIN_DEMO", "1") != "0"  # the demonstration experiment on the first start

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"line": {"format": "%(asctime)s %(levelname)s %(name)s: %(message)s"}},
    "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "line"}},
    "root": {"handlers": ["stderr"], "level": os.environ.get("DARWIN_LOG", "WARNING")},
    # Every station looks every three seconds: a line for each look would bury what matters. And addresses of models'
    # servers may hold a password.
    "loggers": {
        name: {"level": "WARNING"} for name in ("celery.beat", "celery.worker.strategy", "celery.app.trace", "httpx2")
    },
}
