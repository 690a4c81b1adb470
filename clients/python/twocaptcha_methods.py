"""Every method that `2captcha-python` knows, and arguments for a page.

The list is the client's own: whatever of it solves something. Arguments are found by their names.
"""

import inspect
import os
import tempfile

from twocaptcha import TwoCaptcha

from samples import IMAGE, PNG, PROXY, SITE_KEY, USER_AGENT

# What solves nothing by itself, and `text`: a question in words is nothing that CaptchaAI takes.
NO_METHODS = {
    "balance", "check_hint_img", "default_params", "extract_files", "get_method", "get_result",
    "rename_params", "report", "send", "solve", "text", "wait_result",
}  # fmt: skip


def _file():
    handle, path = tempfile.mkstemp(suffix=".png")
    with os.fdopen(handle, "wb") as file:
        file.write(PNG)
    return path


SAMPLES = {
    "file": IMAGE, "body": IMAGE, "part1": IMAGE, "part2": IMAGE, "part3": IMAGE,
    "images": [IMAGE, IMAGE], "steps": "[1,2]",
    "proxy": {"type": "HTTP", "uri": PROXY}, "userAgent": USER_AGENT, "lang": "en",
    "sitekey": SITE_KEY,
}  # fmt: skip


def _arguments(name):
    parameters = inspect.signature(getattr(TwoCaptcha, name)).parameters.values()
    wanted = [
        parameter.name
        for parameter in parameters
        if parameter.default is inspect.Parameter.empty
        and parameter.kind is inspect.Parameter.POSITIONAL_OR_KEYWORD
        and parameter.name != "self"
    ]

    def arguments(page):
        pages = {"url": page, "pageurl": page, "redirect_uri": page}
        values = {**SAMPLES, **pages}
        filled = {wanted_name: values.get(wanted_name, "sample") for wanted_name in wanted}
        if "files" in filled:
            filled["files"] = [_file()]
        return filled

    return arguments


METHODS = {
    name: (name, _arguments(name))
    for name, _ in inspect.getmembers(TwoCaptcha, inspect.isfunction)
    if not name.startswith("_") and name not in NO_METHODS
}


def _variant(name, change):
    _, arguments = METHODS[name]
    return name, lambda page: {**arguments(page), **change()}


METHODS |= {
    "canvas": _variant("canvas", lambda: {"hintText": "crosswalks"}),
    "normal_file": _variant("normal", lambda: {"file": _file()}),
    "recaptcha_invisible": _variant("recaptcha", lambda: {"invisible": 1}),
    "recaptcha_v3": _variant("recaptcha", lambda: {"version": "v3", "action": "login", "score": 0.3}),
    "recaptcha_enterprise": _variant("recaptcha", lambda: {"enterprise": 1}),
}
