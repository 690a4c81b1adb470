#!/usr/bin/env node
// Solves the reCAPTCHAs of a CSV file (sitekey,url) over in.php and res.php, as many scripts do.
//
//     CAPTCHAAI_API_KEY=... node examples/solve.mjs examples/tasks.csv
//
// Needs Node.js from 18 on. What fails after some retries is kept in captcha-dlq.json.

import { readFileSync, writeFileSync } from 'node:fs';
import { argv, env } from 'node:process';
import { fileURLToPath } from 'node:url';

const BASE_URL = 'https://ocr.captchaai.com'; // the one line to change: anything that speaks the same
const KEY = env.CAPTCHAAI_API_KEY ?? '';
// 24 polls, 5 s apart, are the two minutes for which an answer may be worth waiting.
const POLLS = 24;
const POLL_EVERY_MS = 5000;
const RETRIES = 3;

const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

async function attempt(sitekey, pageurl, key) {
  const job = new URLSearchParams({ key, method: 'userrecaptcha', googlekey: sitekey, pageurl, json: 1 });
  const submitted = await (await fetch(`${BASE_URL}/in.php?${job}`, { method: 'POST' })).json();
  if (submitted.status !== 1) throw new Error(submitted.request);
  const id = submitted.request;
  const poll = new URLSearchParams({ key, action: 'get', id, json: 1 });
  for (let n = 0; n < POLLS; n += 1) {
    await sleep(POLL_EVERY_MS);
    const result = await (await fetch(`${BASE_URL}/res.php?${poll}`)).json();
    if (result.status === 1) return [id, result.request];
    if (result.request !== 'CAPCHA_NOT_READY') throw new Error(result.request);
  }
  throw new Error('no answer in time');
}

/** The id and the token; throws what the last of the attempts died of. */
export async function solve(sitekey, pageurl, key = KEY) {
  for (let retry = 0; ; retry += 1) {
    try {
      return await attempt(sitekey, pageurl, key);
    } catch (error) {
      if (retry === RETRIES) throw error;
    }
    await sleep(2 ** retry * 1000);
  }
}

async function main(path) {
  const rows = readFileSync(path, 'utf8').trim().split('\n').slice(1);
  const failed = [];
  for (const [sitekey, pageurl] of rows.map((row) => row.trim().split(','))) {
    try {
      const [, token] = await solve(sitekey, pageurl);
      console.log(pageurl, token);
    } catch (error) {
      const { message } = error;
      failed.push({ sitekey, pageurl, error: message, attempts: RETRIES + 1, timestamp: Date.now() });
    }
  }
  writeFileSync('captcha-dlq.json', JSON.stringify(failed, null, 2));
  console.error(failed.length, 'failed');
}

if (argv[1] === fileURLToPath(import.meta.url)) await main(argv[2]);
