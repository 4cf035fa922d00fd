"""Not a module: train.py runs this text among its own names. Words are a configuration file or --key=value."""

import sys
from ast import literal_eval
from pathlib import Path

for word in sys.argv[1:]:
    if "=" not in word:
        print(f"reading {word}")
        exec(Path(word).read_text())
        continue
    key, _, text = word.removeprefix("--").partition("=")
    if key not in globals():
        raise ValueError(f"there is no setting {key}")
    try:
        given = literal_eval(text)
    except (SyntaxError, ValueError):
        given = text
    if type(given) is not type(globals()[key]):
        raise TypeError(f"{key} is {type(globals()[key]).__name__}, not {text}")
    globals()[key] = given
