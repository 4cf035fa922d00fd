"""HTTP and websockets in one ASGI application."""

import os

from channels.auth import AuthMiddlewareStack
from channels.routing import ProtocolTypeRouter, URLRouter
from channels.security.websocket import AllowedHostsOriginValidator
from django.core.asgi import get_asgi_application
from django.urls import path

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "darwin_web.settings")

http = get_asgi_application()  # sets Django up: models can be imported from here on

from darwin_web.consumers import News  # noqa: E402

sockets = URLRouter([path("ws/news/", News.as_asgi()), path("ws/news/<slug:slug>/", News.as_asgi())])

application = ProtocolTypeRouter({
    "http": http,
    "websocket": AllowedHostsOriginValidator(AuthMiddlewareStack(sockets)),
})
