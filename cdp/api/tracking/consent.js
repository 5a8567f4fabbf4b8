// Tells Tessera what a person chose in the consent banner of this page. ES2017, without dependencies.
//
//   <script async src="https://HOST/v1/consent.js" data-write-key="wk_…" data-from="klaro"></script>
//
// Nothing is stored and nothing is sent before there is an answer: silence is no answer, and neither is a default.
(function () {
  "use strict";

  const LIBRARY = { name: "tessera-consent", version: "1" };
  const SAID = "tessera_consent"; // what was told last, so that a page that is loaded again does not tell it again
  const WAITS = "tessera_consent."; // and what waits to be sent: each message under a key of its own, as tabs share them
  const ANONYMOUS = "ajs_anonymous_id"; // as analytics.js names it
  const FIRST_PAUSE_MS = 1000;
  const LONGEST_PAUSE_MS = 60000;

  const script = document.currentScript;
  const writeKey = script.dataset.writeKey;
  const host = script.dataset.host || new URL(script.src).origin;

  // -- what is told --------------------------------------------------------------------------------------------------

  function tell(from, consent) {
    const subject = anonymousId();
    const last = read(SAID) || {};
    const said = last.subject === subject ? last.said : {};
    const known = said[from] || {};
    const isNews = (name) => JSON.stringify(known[name]) !== JSON.stringify(consent[name]);
    if (!Object.keys(consent).some(isNews)) return;
    const message = messageOf(subject, from, consent);
    write(WAITS + message.messageId, message);
    write(SAID, { subject, said: Object.assign({}, said, { [from]: Object.assign({}, known, consent) }) });
    send();
  }

  function messageOf(subject, from, consent) {
    const isString = from === "tcf" || from === "gpp";
    const context = {
      consent: isString ? consent : { categoryPreferences: consent },
      page: { url: location.origin + location.pathname },
      library: LIBRARY,
    };
    if (navigator.globalPrivacyControl === true) context.secGpc = true;
    return {
      type: "track",
      event: "Consent Preference Updated",
      messageId: unique(),
      anonymousId: subject,
      timestamp: new Date().toISOString(),
      properties: { from },
      context,
    };
  }

  // A text such as "false" is no answer.
  function answersIn(choices) {
    const answers = {};
    for (const name of Object.keys(choices || {})) {
      if (typeof choices[name] === "boolean") answers[name] = choices[name];
    }
    return answers;
  }

  // The id that analytics.js has or will have, so that what is permitted is permitted to its events.
  function anonymousId() {
    const cookie = new RegExp("(?:^|; )" + ANONYMOUS + "=([^;]+)").exec(document.cookie);
    const kept = cookie ? decodeURIComponent(cookie[1]).replace(/"/g, "") : read(ANONYMOUS);
    if (kept) return kept;
    const made = unique();
    write(ANONYMOUS, made);
    return made;
  }

  // `crypto.randomUUID` is missing on pages without TLS.
  function unique() {
    const bytes = crypto.getRandomValues(new Uint8Array(16));
    bytes[6] = (bytes[6] & 0x0f) | 0x40;
    bytes[8] = (bytes[8] & 0x3f) | 0x80;
    const hex = Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
    return hex.replace(/^(.{8})(.{4})(.{4})(.{4})/, "$1-$2-$3-$4-");
  }

  // -- sending -------------------------------------------------------------------------------------------------------

  let isSending = false;
  let pause = FIRST_PAUSE_MS;
  let timer;

  // One after another, oldest first. What fails waits here, and over the end of the page: the server knows each message
  // by its id and counts it once.
  async function send() {
    if (isSending) return;
    isSending = true;
    clearTimeout(timer);
    try {
      for (let waiting = all(); waiting.length; waiting = all()) await post(waiting[0]);
      pause = FIRST_PAUSE_MS;
    } catch (error) {
      timer = setTimeout(send, Math.max(pause * (0.5 + Math.random()), error.after || 0));
      pause = Math.min(2 * pause, LONGEST_PAUSE_MS);
    } finally {
      isSending = false;
    }
  }

  async function post(message) {
    const answer = await fetch(host + "/v1/batch", {
      method: "POST",
      body: bodyOf([message]),
      headers: { "Content-Type": "text/plain" }, // so that the browser asks no question first
      credentials: "omit",
      keepalive: true,
    });
    if (answer.status === 429 || answer.status >= 500) {
      throw Object.assign(new Error(), { after: 1000 * Number(answer.headers.get("Retry-After")) });
    }
    remove(WAITS + message.messageId);
    if (!answer.ok) {
      remove(SAID); // the next page tells it anew
      console.error("Tessera refused the consent with " + answer.status + ": is the write key right?");
    }
  }

  // Whoever leaves while something waits may not come back.
  function sendAtLast() {
    const waiting = all();
    if (waiting.length && !isSending && navigator.sendBeacon) navigator.sendBeacon(host + "/v1/batch", bodyOf(waiting));
  }

  function bodyOf(batch) {
    return JSON.stringify({ writeKey, batch, sentAt: new Date().toISOString() });
  }

  // -- what is kept --------------------------------------------------------------------------------------------------

  const memory = new Map(); // where the browser keeps nothing

  function read(key) {
    if (memory.has(key)) return memory.get(key);
    try {
      return JSON.parse(localStorage.getItem(key));
    } catch (error) {
      return null;
    }
  }

  function write(key, value) {
    try {
      localStorage.setItem(key, JSON.stringify(value));
    } catch (error) {
      memory.set(key, value);
    }
  }

  function remove(key) {
    memory.delete(key);
    try {
      localStorage.removeItem(key);
    } catch (error) {
      // it was in memory alone
    }
  }

  function all() {
    const keys = new Set(memory.keys());
    try {
      Object.keys(localStorage).forEach((key) => keys.add(key));
    } catch (error) {
      // likewise
    }
    const waiting = Array.from(keys).filter((key) => key.startsWith(WAITS)).map(read);
    return waiting.filter(Boolean).sort((one, other) => (one.timestamp < other.timestamp ? -1 : 1));
  }

  // -- who answers ---------------------------------------------------------------------------------------------------

  // Each returns whether it was there to be listened to.
  const LISTENERS = { klaro: listenToKlaro, google: listenToGoogle, tcf: listenToTcf, gpp: listenToGpp };

  // Not before the page is there: a manager that is made sooner would switch on only what is there already.
  function listenToKlaro() {
    if (document.readyState !== "complete") return false;
    let manager;
    try {
      manager = window.klaro.getManager(window[script.dataset.klaroConfig]);
    } catch (error) {
      return false; // it has no configuration yet
    }
    const tellChoices = () => tell("klaro", chosenIn(manager));
    manager.watch({ update: (_, what) => what === "saveConsents" && tellChoices() });
    if (manager.confirmed) tellChoices();
    return true;
  }

  // What is required was not chosen.
  function chosenIn(manager) {
    const answers = answersIn(manager.consents);
    for (const service of manager.config.services) {
      if (service.required || (service.required === undefined && manager.config.required)) delete answers[service.name];
    }
    return answers;
  }

  // Consent Mode: an update is an answer, a default is none.
  function listenToGoogle() {
    const layer = (window.dataLayer = window.dataLayer || []);
    const push = layer.push;
    layer.push = function () {
      Array.from(arguments).forEach(hear);
      return push.apply(layer, arguments);
    };
    layer.slice().forEach(hear);
    return true;
  }

  function hear(entry) {
    if (!entry || entry[0] !== "consent" || entry[1] !== "update" || !entry[2]) return;
    const answers = {};
    for (const type of Object.keys(entry[2])) {
      if (entry[2][type] === "granted" || entry[2][type] === "denied") answers[type] = entry[2][type] === "granted";
    }
    tell("google", answers);
  }

  function listenToTcf() {
    if (typeof window.__tcfapi !== "function") return false;
    window.__tcfapi("addEventListener", 2, (said, isGood) => {
      const isAnswer = isGood && (said.eventStatus === "tcloaded" || said.eventStatus === "useractioncomplete");
      if (isAnswer && said.gdprApplies !== false && said.tcString) tell("tcf", { tcString: said.tcString });
    });
    return true;
  }

  function listenToGpp() {
    if (typeof window.__gpp !== "function") return false;
    window.__gpp("addEventListener", (event, isGood) => {
      const ping = (isGood && event && event.pingData) || {};
      if (ping.signalStatus !== "ready" || !ping.gppString) return;
      tell("gpp", { gppString: ping.gppString, applicableSections: ping.applicableSections });
    });
    return true;
  }

  function listenWhenThere(listen, pauseMs) {
    if (!listen()) setTimeout(listenWhenThere, pauseMs, listen, Math.min(1.5 * pauseMs, 2000));
  }

  // -- beginning -----------------------------------------------------------------------------------------------------

  const early = (window.tessera && window.tessera.choices) || [];
  window.tessera = { consent: (choices) => tell("page", answersIn(choices)) };
  early.forEach(window.tessera.consent);
  for (const name of (script.dataset.from || "").split(/[\s,]+/).filter(Boolean)) {
    if (LISTENERS[name]) listenWhenThere(LISTENERS[name], 100);
    else console.error("Tessera knows no banner named " + name);
  }
  window.addEventListener("online", send);
  window.addEventListener("pagehide", sendAtLast);
  send();
})();
