#!/usr/bin/env python3
"""Solves the reCAPTCHAs of a CSV file (sitekey,url) over in.php and res.php, as many scripts do.

    CAPTCHAAI_API_KEY=... python3 examples/solve.py examples/tasks.csv

Needs `requests`. What fails after some retries is kept in captcha-dlq.json.
"""

import csv
import json
import os
import sys
import time

import requests

BASE_URL = "https://ocr.captchaai.com"  # the one line to change: anything that speaks the same
KEY = os.environ.get("CAPTCHAAI_API_KEY", "")
# 24 polls, 5 s apart, are the two minutes for which an answer may be worth waiting.
POLLS, POLL_EVERY_S, TIMEOUT_S, RETRIES = 24, 5, 15, 3


def attempt(sitekey, pageurl, key):
    form = {"key": key, "method": "userrecaptcha", "googlekey": sitekey, "pageurl": pageurl, "json": 1}
    submitted = requests.post(f"{BASE_URL}/in.php", data=form, timeout=TIMEOUT_S).json()
    if submitted["status"] != 1:
        raise RuntimeError(submitted["request"])
    id_ = submitted["request"]
    query = {"key": key, "action": "get", "id": id_, "json": 1}
    for _ in range(POLLS):
        time.sleep(POLL_EVERY_S)
        result = requests.get(f"{BASE_URL}/res.php", params=query, timeout=TIMEOUT_S).json()
        if result["status"] == 1:
            return id_, result["request"]
        if result["request"] != "CAPCHA_NOT_READY":
            raise RuntimeError(result["request"])
    raise TimeoutError("no answer in time")


def solve(sitekey, pageurl, key=KEY):
    """The id and the token; raises what the last of the attempts died of."""
    for retry in range(RETRIES + 1):
        try:
            return attempt(sitekey, pageurl, key)
        except Exception:
            if retry == RETRIES:
                raise
        time.sleep(2**retry)


def main(path):
    failed = []
    with open(path, newline="") as file:
        for row in csv.DictReader(file):
            try:
                _, token = solve(row["sitekey"], row["url"])
                print(row["url"], token)
            except Exception as error:
                # Not its text: that of `requests` holds the whole URL, with the key in it.
                cause = str(error) if type(error) is RuntimeError else type(error).__name__
                failed.append({
                    "sitekey": row["sitekey"], "page_url": row["url"], "error": cause,
                    "attempts": RETRIES + 1, "timestamp": time.time(),
                })  # fmt: skip
    with open("captcha-dlq.json", "w") as file:
        json.dump(failed, file, indent=2)
    print(len(failed), "failed", file=sys.stderr)


if __name__ == "__main__":
    main(sys.argv[1])
