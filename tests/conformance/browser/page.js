// On the page of a shop: makes the calls, waits until each has an answer that the SDK does not come back from, and
// returns what the SDK told its user.

async function drive(settings, calls) {
  const report = { refused: 0, failed: 0, reasons: [] };
  const settled = settling(calls.length);
  const host = settings.host.replace("http://", "");
  const analytics = AnalyticsNext.AnalyticsBrowser.load(
    { writeKey: settings.write_key, cdnURL: settings.host },
    { integrations: { "Segment.io": { apiHost: `${host}/v1`, protocol: "http" } } },
  );
  analytics.on("error", ({ code, reason }) => {
    if (code !== "delivery_failure") return;
    report.failed += 1;
    if (!report.reasons.includes(reason.message)) report.reasons.push(reason.message);
  });
  for (const call of calls) await speak(analytics, native(call));
  await settled;
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

// Resolves when so many messages have an answer that ends it: anything but a failure of the server or a 429, after which
// the newer SDK comes again. The older one does not look at its answers and never comes again.
function settling(messages) {
  const comesAgain = !AnalyticsNext.isLastWord;
  const done = new Set();
  const fetch = window.fetch;
  return new Promise((resolve) => {
    window.fetch = async (url, request) => {
      const answer = await fetch(url, request);
      if (request?.method?.toLowerCase() === "post") {
        const isFinal = answer.status !== 429 && answer.status < 500;
        if (isFinal || !comesAgain) done.add(JSON.parse(request.body).messageId);
        if (done.size === messages) setTimeout(resolve, 50);
      }
      return answer;
    };
  });
}

// JSON has no word for these numbers.
function native(value) {
  if (value === null || typeof value !== "object") return value;
  if (Array.isArray(value)) return value.map(native);
  if ("$number" in value) return Number(value.$number);
  return Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, native(inner)]));
}
