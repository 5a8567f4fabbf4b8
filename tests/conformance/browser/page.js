// On the page of a shop: makes the calls, waits until each has an answer that the SDK does not come back from, and
// returns what the SDK told its user.

const QUIET_MS = 5_000;
const PATIENCE_MS = 60_000;

async function drive(settings, calls) {
  const report = { refused: 0, failed: 0, reasons: [] };
  const settled = settling(calls.length);
  const analytics = AnalyticsNext.AnalyticsBrowser.load({ writeKey: settings.write_key, cdnURL: settings.host });
  try {
    await analytics; // it asks the server for its settings first
  } catch (error) {
    return { refused: 0, failed: calls.length, reasons: [error.message] };
  }
  analytics.on("error", ({ code, reason }) => {
    if (code !== "delivery_failure") return;
    report.failed += 1;
    if (!report.reasons.includes(reason.message)) report.reasons.push(reason.message);
  });
  for (const call of calls) await speak(analytics, native(call));
  await Promise.race([settled, new Promise((resolve) => setTimeout(resolve, PATIENCE_MS))]);
  return report;
}

function speak(analytics, { type, userId, anonymousId, timestamp, properties, traits, ...call }) {
  if (anonymousId) analytics.setAnonymousId(anonymousId);
  const options = { ...(timestamp ? { timestamp: new Date(timestamp) } : {}), ...(call.context ? { context: call.context } : {}) };
  switch (type) {
    case "identify": return analytics.identify(userId, traits, options);
    case "track": return analytics.track(call.event, properties, { userId, ...options });
    case "page": return analytics.page(call.category, call.name, properties, options);
    case "screen": return analytics.screen(call.category, call.name, properties, options);
    case "group": return analytics.group(call.groupId, traits, options);
    case "alias": return analytics.alias(userId, call.previousId, options);
  }
}

// Resolves when the last answer to each message is one that nobody comes back from, or when the SDK has been quiet for so
// long that it will not come back.
function settling(messages) {
  const answers = new Map();
  const { fetch } = window;
  return new Promise((resolve) => {
    let quiet;
    window.fetch = async (url, request) => {
      if (request?.method?.toLowerCase() !== "post") return fetch(url, request);
      clearTimeout(quiet);
      try {
        const answer = await fetch(url, request);
        answers.set(JSON.parse(request.body).messageId, answer.status);
        return answer;
      } finally {
        const isOver = answers.size === messages && [...answers.values()].every(isFinal);
        quiet = setTimeout(resolve, isOver ? 50 : QUIET_MS);
      }
    };
  });
}

function isFinal(status) {
  return status < 500 && status !== 429;
}

// JSON has no word for these numbers.
function native(value) {
  if (value === null || typeof value !== "object") return value;
  if (Array.isArray(value)) return value.map(native);
  if ("$number" in value) return Number(value.$number);
  return Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, native(inner)]));
}
