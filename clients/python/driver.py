"""What every Python driver shares: asks come in, verdicts go out, and time runs faster.

A driver is started with a pace as its argument. Each line of its standard input is an ask:

    {"run": "flaky", "ask": "solve", "base_url": "http://127.0.0.1:1", "key": "...",
     "method": "recaptcha_v2", "count": 12, "every_ms": 0}

All asks begin together. `method` may be "all": one solve by each method that the client knows.
`ask` may also be "balance", and "report": a solve, reported good, and another, reported bad.
Each solve, balance or report is answered by one line, as soon as it is over:

    {"run": "flaky", "method": "recaptcha_v2", "n": 3, "ok": true, "id": "...", "answer": ..., "ms": 37000}

with "error" in place of "answer" where it failed. All times are as the client sees them.

Clients wait for seconds by design. Nothing in a client is changed, but the clock around it: here
`time.sleep`, `asyncio.sleep` and `time.time` are replaced, so that a second of the client's lasts
1/pace seconds. Time-outs of the network are not: they stay as long as they are.
"""

import asyncio
import concurrent.futures
import inspect
import json
import os
import sys
import time

PACE = float(sys.argv[1])
# More solves at once than any ask wants.
THREADS = 256

# Verdicts alone: what a client prints goes to standard error.
_verdicts = os.fdopen(os.dup(1), "w")
os.dup2(2, 1)

_real_sleep, _real_async_sleep, _real_time = time.sleep, asyncio.sleep, time.time
_began_at = _real_time()


async def _sleep(delay, result=None):
    return await _real_async_sleep(delay / PACE, result)


time.sleep = lambda seconds: _real_sleep(seconds / PACE)
time.time = lambda: _began_at + (_real_time() - _began_at) * PACE
asyncio.sleep = _sleep


def _say(ask, method, n, began_at, verdict):
    ms = round((time.time() - began_at) * 1000)
    line = {"run": ask["run"], "method": method, "n": n, **verdict, "ms": ms}
    print(json.dumps(line), file=_verdicts, flush=True)


async def _call(pool, act, *arguments):
    """Awaits what is asynchronous; anything else blocks a thread, as it does in a script."""
    if inspect.iscoroutinefunction(act):
        return await act(*arguments)
    return await asyncio.get_running_loop().run_in_executor(pool, act, *arguments)


async def _attempt(pool, ask, method, n, act):
    began_at = time.time()
    try:
        id_, answer = await act(lambda call, *arguments: _call(pool, call, *arguments))
        verdict = {"ok": True, "id": id_, "answer": answer}
    except Exception as error:  # whatever a client raises is its verdict
        verdict = {"ok": False, "id": None, "error": f"{type(error).__name__}: {error}"}
    _say(ask, method, n, began_at, verdict)


async def _solves(pool, ask, client, methods):
    solves = []
    for method in methods:
        for n in range(ask.get("count", 1)):
            page = f"https://{ask['run']}.example/{method}/{n}"

            async def act(call, method=method, page=page):
                return await call(client.solve, method, page)

            solves.append(asyncio.create_task(_attempt(pool, ask, method, n, act)))
            if ask.get("every_ms"):
                await asyncio.sleep(ask["every_ms"] / 1000)
    await asyncio.gather(*solves)


async def _reports(pool, ask, client, method):
    for n, is_good in enumerate([True, False]):

        async def act(call, n=n, is_good=is_good):
            id_, _ = await call(client.solve, method, f"https://{ask['run']}.example/report/{n}")
            return id_, await call(client.report, id_, is_good)

        await _attempt(pool, ask, "report", n, act)


async def _run(pool, ask, make):
    try:
        client = await _call(pool, make, ask["base_url"], ask["key"])
    except Exception as error:
        verdict = {"ok": False, "id": None, "error": f"{type(error).__name__}: {error}"}
        _say(ask, "start", 0, time.time(), verdict)
        return
    methods = client.METHODS if ask.get("method") == "all" else [ask.get("method")]
    if ask["ask"] == "solve":
        await _solves(pool, ask, client, methods)
    elif ask["ask"] == "report":
        await _reports(pool, ask, client, ask["method"])
    else:

        async def act(call):
            return None, await call(client.balance)

        await _attempt(pool, ask, "balance", 0, act)


def main(make):
    """Runs every ask of the standard input on clients that `make(base_url, key)` makes."""
    asks = [json.loads(line) for line in sys.stdin if line.strip()]
    pool = concurrent.futures.ThreadPoolExecutor(THREADS)

    async def all_runs():
        await asyncio.gather(*(_run(pool, ask, make) for ask in asks))

    asyncio.run(all_runs())
