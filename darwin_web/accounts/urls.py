from django.contrib.auth.views import LogoutView
from django.urls import path

from darwin_web.accounts import views

urlpatterns = [
    path("login/", views.PasswordLogin.as_view(), name="login"),
    path("login/<str:token>/", views.login_link, name="login_link"),
    path("logout/", LogoutView.as_view(next_page="login"), name="logout"),
]
