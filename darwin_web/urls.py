"""Where every address leads."""

from django.urls import include, path

urlpatterns = [
    path("", include("darwin_web.pages.urls")),
    path("", include("darwin_web.accounts.urls")),
    path("review/", include("review.urls")),
]
