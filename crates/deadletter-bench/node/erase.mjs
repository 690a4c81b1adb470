// Deletes every key that begins so, and says nothing.
//
//   node erase.mjs redis://... PREFIX

import Redis from "ioredis";

const [url, prefix] = process.argv.slice(2);
const redis = new Redis(url, { maxRetriesPerRequest: null });
for await (const keys of redis.scanStream({ match: `${prefix}*`, count: 5000 })) {
  if (keys.length > 0) await redis.unlink(keys);
}
await redis.quit();
