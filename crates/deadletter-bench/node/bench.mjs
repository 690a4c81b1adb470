// What BullMQ does on the same server: add a job, work on it, acknowledge it with its result.
//
//   node bench.mjs redis://... QUEUE JOBS WARM_UP_JOBS WORKED_ON
//
// As many jobs are under way at once as the store has lives, and each is added by a call of its own;
// WORKED_ON of them are worked on at once. Prints how many jobs a second went through all of it.

import { Queue, Worker } from "bullmq";

const AT_ONCE = 256;
const [url, name, jobs, warmUp, workedOn] = process.argv.slice(2);
const { hostname, port, password, username, pathname } = new URL(url);
const connection = {
  host: hostname,
  port: Number(port || 6379),
  username: decodeURIComponent(username) || undefined,
  password: decodeURIComponent(password) || undefined,
  db: Number(pathname.slice(1) || 0),
  maxRetriesPerRequest: null,
};

// As large as what a task asks for, and as what it is answered.
const job = {
  method: "userrecaptcha",
  googlekey: "6Le-wvkSAAAAAPBMRTvw0Q4Muexq9bi0DJwx0001",
  pageurl: "https://shop-1.example/account/login?return=%2Forders%2F12345",
};
const answer = "03AGdBq2" + "5kPvL9_xT".repeat(60);

const queue = new Queue(name, { connection });
const worker = new Worker(name, async () => answer, { connection, concurrency: Number(workedOn) });
await Promise.all([queue.waitUntilReady(), worker.waitUntilReady()]);

// Adds `count` jobs, a new one whenever one has ended; answers when all have.
function live(count) {
  return new Promise((resolve, reject) => {
    let added = 0;
    let ended = 0;
    const add = () => {
      if (added < count) {
        added += 1;
        queue.add("task", job).catch(reject);
      }
    };
    worker.removeAllListeners("completed");
    worker.on("completed", () => {
      ended += 1;
      if (ended === count) resolve();
      add();
    });
    worker.on("failed", (_, error) => reject(error));
    worker.on("error", reject);
    for (let n = 0; n < AT_ONCE; n += 1) add();
  });
}

await live(Number(warmUp));
const begun = process.hrtime.bigint();
await live(Number(jobs));
const seconds = Number(process.hrtime.bigint() - begun) / 1e9;
process.stdout.write(`${Number(jobs) / seconds}\n`);
await worker.close();
await queue.obliterate({ force: true });
await queue.close();
