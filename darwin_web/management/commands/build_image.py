from typing import Any

from darwin_web.management.base import Code, DarwinCommand
from sandbox.drivers.docker import build_image


class Command(DarwinCommand):
    help = (
        "Build the trainer image from trainer/docker/. Experiments created afterwards run on it; existing ones keep\n"
        "the image they were pinned to. Needs a Docker engine that reaches a registry; takes some minutes."
    )
    examples = ("manage.py build_image",)
    codes = (Code.DONE, Code.INFRASTRUCTURE, Code.INTERRUPTED)
    migrates = False

    def handle(self, *args: Any, **options: Any) -> None:
        self.stdout.write(f"{build_image()} is built; new experiments run on it.")
