from django.apps import AppConfig


class DarwinWebConfig(AppConfig):
    name = "darwin_web"
    default_auto_field = "django.db.models.BigAutoField"
