// Drives one SDK for Node, in a process of its own:
//
//     node driver.mjs DIRECTORY PACKAGE < calls
//
// Standard input has JSON, one object a line: first the settings, then the calls. Standard output gets one JSON object:
// what the SDK told its user about them.

import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import path from "node:path";

const [directory, name] = process.argv.slice(2);
const require = createRequire(path.join(path.resolve(directory), "here.js"));
const [settings, ...calls] = readFileSync(0, "utf8").trim().split("\n").map((line) => JSON.parse(line));
const report = { refused: 0, failed: 0, reasons: [] };

console.log = console.info = console.warn = console.error = () => {};
setClock(settings.clock_ahead_seconds * 1000);
await (name.startsWith("rudder") ? driveRudder(require(name)) : driveSegment(require(name)));
process.stdout.write(JSON.stringify(report), () => process.exit());

async function driveSegment({ Analytics }) {
  const { host, write_key: writeKey, retries: maxRetries } = settings;
  const analytics = new Analytics({ host, writeKey, maxRetries });
  await analytics.ready;
  for (const call of calls) {
    analytics[call.type](spoken(call), heard);
  }
  await analytics.closeAndFlush({ timeout: 60_000 });
}

async function driveRudder(Analytics) {
  const gzip = settings.gzip ?? undefined;
  const analytics = new Analytics(settings.write_key, {
    dataPlaneUrl: settings.host, retryCount: settings.retries, gzip, logLevel: "silent", errorHandler: () => {},
  });
  const answers = calls.map((call) => new Promise((resolve) => {
    analytics[call.type](spoken(call), (error) => { heard(error); resolve(); });
  }));
  for (let heardOf = 0; heardOf < calls.length; ) {
    await analytics.flush().catch(() => {}); // one batch at a time
    heardOf = await howManyAreDone(answers);
  }
}

async function howManyAreDone(promises) {
  const waiting = Symbol("waiting");
  await new Promise((resolve) => setTimeout(resolve, 5));
  const states = await Promise.all(promises.map((one) => Promise.race([one, Promise.resolve(waiting)])));
  return states.filter((state) => state !== waiting).length;
}

function heard(error) {
  if (error) {
    report.failed += 1;
    const reason = error.reason ?? error; // Segment's SDK wraps it
    const text = String(reason?.message ?? reason);
    if (!report.reasons.includes(text)) report.reasons.push(text);
  }
}

function spoken({ type, timestamp, ...call }) {
  return { ...native(call), ...(timestamp ? { timestamp: new Date(timestamp) } : {}) };
}

// JSON has no word for these numbers.
function native(value) {
  if (value === null || typeof value !== "object") return value;
  if (Array.isArray(value)) return value.map(native);
  if ("$number" in value) return Number(value.$number);
  return Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, native(inner)]));
}

function setClock(ahead) {
  const Real = Date;
  class Clock extends Real {
    constructor(...given) {
      if (given.length) super(...given);
      else super(Real.now() + ahead);
    }
    static now() {
      return Real.now() + ahead;
    }
  }
  if (ahead) globalThis.Date = Clock;
}
