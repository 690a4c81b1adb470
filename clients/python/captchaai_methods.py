"""Every method that `captchaai` knows: its function's name and arguments for a page."""

from samples import IMAGE, PROXY, SITE_KEY


# Stands for the page in arguments.
PAGE = object()


def _call(name, **arguments):
    return lambda page: (name, {key: page if value is PAGE else value for key, value in arguments.items()})


WITH_PROXY = {"proxy": PROXY, "proxytype": "HTTP"}
AT = {"sitekey": SITE_KEY, "url": PAGE}

METHODS = {
    "normal": _call("normal", image=IMAGE, numeric=1, case_sensitive=1),
    "grid": _call("grid", image=IMAGE, instructions="crosswalks", grid_size="3x3"),
    "bls": _call("bls", images=[IMAGE] * 9, instructions="664"),
    "recaptcha_v2": _call("recaptcha_v2", **AT),
    "recaptcha_v2_invisible": _call("recaptcha_v2", invisible=True, **AT),
    "recaptcha_v2_enterprise": _call("recaptcha_v2", enterprise=True, **AT),
    "recaptcha_v3": _call("recaptcha_v3", action="login", min_score=0.3, **AT),
    "recaptcha_v3_enterprise": _call("recaptcha_v3", action="login", enterprise=True, **AT),
    "turnstile": _call("turnstile", **AT),
    "cloudflare_challenge": _call("cloudflare_challenge", url=PAGE, **WITH_PROXY),
    "geetest": _call("geetest", gt="f2ae6cadcf7886856696502e1d55e00c", challenge="12345678abc90123d45678ef90123a45", url=PAGE),
    "captchafox": _call("captchafox", **AT, **WITH_PROXY),
    "friendly_captcha": _call("friendly_captcha", **AT),
    "lemin": _call("lemin", captcha_id="CROPPED_3dfdd5c_d1872b526b794d83ba3b365eb15a200b", div_id="lemin", url=PAGE),
}
