"""The vendor's own client: `captchaai`, blocking. It takes a base URL; plain HTTP will do."""

from captchaai import CaptchaAI

import captchaai_methods
import driver


class Client:
    METHODS = list(captchaai_methods.METHODS)

    def __init__(self, base_url, key):
        self.client = CaptchaAI(api_key=key, base_url=base_url)

    def solve(self, method, page):
        name, arguments = captchaai_methods.METHODS[method](page)
        result = getattr(self.client, name)(**arguments)
        return result.task_id, result.solution

    def balance(self):
        # It asks for no balance; what its account can do is its threads.
        return self.client.threads_info()["threads"]


driver.main(Client)
