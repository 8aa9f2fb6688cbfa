"""Works in a folder that is gone."""

import os
import tempfile

from small import Small


def before(call: int) -> None:
    folder = tempfile.mkdtemp()
    os.chdir(folder)
    os.rmdir(folder)


def removes_its_folder() -> Small:
    return Small(before)
