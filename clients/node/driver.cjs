// What every Node driver shares: asks come in, verdicts go out, and time runs faster.
//
// The contract is that of ../python/driver.py. Nothing in a client is changed, but the timer around
// it: `setTimeout` is replaced, so that a second of the client's lasts 1/pace seconds. Time-outs of
// Node's own network code are not: they stay as long as they are.

'use strict';

const readline = require('node:readline');

const PACE = Number(process.argv[2]);
const realTimeout = globalThis.setTimeout;
globalThis.setTimeout = (act, ms, ...rest) => realTimeout(act, ms / PACE, ...rest);

// Verdicts alone: what a client prints goes to standard error.
const told = process.stdout.write.bind(process.stdout);
process.stdout.write = process.stderr.write.bind(process.stderr);

const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
const now = () => performance.now() * PACE;

async function attempt(ask, method, n, act) {
  const beganAt = now();
  let verdict;
  try {
    const [id, answer] = await act();
    verdict = { ok: true, id, answer };
  } catch (error) {
    const text = error instanceof Error ? `${error.name}: ${error.message}` : String(error);
    verdict = { ok: false, id: null, error: text };
  }
  const line = { run: ask.run, method, n, ...verdict, ms: Math.round(now() - beganAt) };
  told(`${JSON.stringify(line)}\n`);
}

async function solves(ask, client) {
  const methods = ask.method === 'all' ? client.methods : [ask.method];
  const begun = [];
  for (const method of methods) {
    for (let n = 0; n < (ask.count ?? 1); n += 1) {
      const page = `https://${ask.run}.example/${method}/${n}`;
      begun.push(attempt(ask, method, n, () => client.solve(method, page)));
      if (ask.every_ms) await sleep(ask.every_ms);
    }
  }
  await Promise.all(begun);
}

async function reports(ask, client) {
  for (const [n, isGood] of [true, false].entries()) {
    await attempt(ask, 'report', n, async () => {
      const [id] = await client.solve(ask.method, `https://${ask.run}.example/report/${n}`);
      return [id, await client.report(id, isGood)];
    });
  }
}

async function run(ask, make) {
  const client = make(ask.base_url, ask.key);
  if (ask.ask === 'solve') await solves(ask, client);
  else if (ask.ask === 'report') await reports(ask, client);
  else await attempt(ask, 'balance', 0, async () => [null, await client.balance()]);
}

/** Runs every ask of the standard input on clients that `make(baseUrl, key)` makes. */
exports.main = async (make) => {
  const asks = [];
  for await (const line of readline.createInterface({ input: process.stdin })) {
    if (line.trim()) asks.push(JSON.parse(line));
  }
  await Promise.all(asks.map((ask) => run(ask, make)));
};
