// The desk by keyboard. The next pair is fetched while one is looked at, so that an answer shows it at once; answers are
// sent one after the other behind the steward's back, and one that is refused brings its pair back with the reason.
"use strict";

(() => {
  const desk = document.getElementById("desk");
  const place = document.getElementById("shown");
  const help = document.getElementById("help");
  const token = desk.querySelector("[name=csrfmiddlewaretoken]").value;
  const seen = []; // articles in the order in which they were shown
  const judged = new Set();
  let at = -1;
  let ahead = null; // a promise of the next article, or of null
  let sent = Promise.resolve(); // the end of the line of answers
  const unsent = new Set(); // answers that wait for those before them

  const idOf = (article) => article.dataset.pair;
  const current = () => seen[at] ?? null;
  const tell = (text, isWrong) => {
    const told = document.getElementById("told");
    told.textContent = text;
    told.classList.toggle("is-wrong", Boolean(isWrong));
  };

  async function post(address, fields) {
    const body = new FormData();
    for (const [name, value] of Object.entries(fields)) body.append(name, value);
    const headers = { "X-CSRFToken": token, "X-Requested-With": "desk" };
    const answer = await fetch(address, { method: "POST", body, headers, keepalive: true }); // whoever leaves has answered
    if (answer.status === 409) throw new Error((await answer.json()).message);
    if (!answer.ok) throw new Error(desk.dataset.failed);
    return answer;
  }

  function articleIn(text) {
    const template = document.createElement("template");
    template.innerHTML = text;
    return template.content.querySelector("article");
  }

  async function fetchNext() {
    const besides = [...seen.map(idOf), ...judged].join(",");
    const answer = await post(desk.dataset.next, { besides });
    return answer.status === 204 ? null : articleIn(await answer.text());
  }

  // One at a time: while the server is at it, a second question would be answered with the pair after that.
  function lookAhead() {
    ahead ??= fetchNext().catch(() => null);
  }

  function show(index) {
    at = index;
    place.replaceChildren(current());
    if (at === seen.length - 1) lookAhead();
  }

  async function next() {
    if (at < seen.length - 1) return show(at + 1);
    const article = await (ahead ?? fetchNext());
    ahead = null;
    if (article) {
      seen.push(article);
      return show(seen.length - 1);
    }
    const nothing = document.createElement("p");
    nothing.id = "nothing";
    nothing.className = "console-empty";
    nothing.textContent = desk.dataset.nothing;
    if (!current() || judged.has(idOf(current()))) place.replaceChildren(nothing);
    tell(desk.dataset.nothing);
  }

  function previous() {
    if (at > 0) show(at - 1);
  }

  function count(by) {
    const done = document.getElementById("done");
    done.textContent = Number(done.textContent) + by;
  }

  async function judge(answer) {
    const article = current();
    if (!article || judged.has(idOf(article)) || !("open" in article.dataset)) return;
    judged.add(idOf(article));
    count(1);
    const waiting = { address: article.dataset.judge, answer };
    unsent.add(waiting);
    sent = sent
      .then(() => unsent.delete(waiting))
      .then(() => post(waiting.address, { answer }))
      .then((reply) => reply.json())
      .then((reply) => tell(reply.message))
      .catch((error) => bringBack(article, error.message));
    await next();
  }

  function bringBack(article, message) {
    judged.delete(idOf(article));
    count(-1);
    if (!seen.includes(article)) seen.push(article);
    show(seen.indexOf(article));
    tell(message, true);
  }

  async function undo() {
    await sent;
    try {
      const reply = await (await post(desk.dataset.undo, {})).json();
      const pair = String(reply.pair);
      if (judged.delete(pair)) count(-1);
      await showAnew(pair);
      tell(reply.message);
    } catch (error) {
      tell(error.message, true);
    }
  }

  async function showAnew(pair) {
    const answer = await fetch(desk.dataset.shown.replace("/0/", `/${pair}/`));
    if (!answer.ok) throw new Error(desk.dataset.failed);
    const article = articleIn(await answer.text());
    const before = seen.findIndex((one) => idOf(one) === pair);
    if (before >= 0) seen[before] = article;
    else seen.push(article);
    show(before >= 0 ? before : seen.length - 1);
  }

  function chooseSplit() {
    const details = current()?.querySelector(".review-split");
    if (!details) return;
    details.open = true;
    details.querySelector("input[type=radio]").focus();
  }

  async function split(form) {
    try {
      const reply = await (await post(form.action, { edge: new FormData(form).get("edge") })).json();
      await showAnew(idOf(current()));
      tell(reply.message);
    } catch (error) {
      tell(error.message, true);
    }
  }

  const KEYS = {
    s: () => judge("SAME"), n: () => judge("NOT_SAME"), u: () => judge("UNSURE"), x: chooseSplit, z: undo, j: next,
    k: previous, "?": () => help.showModal(),
  };
  let busy = Promise.resolve(); // keys that are pressed faster than pairs arrive wait for their turn

  function inTurn(act) {
    busy = busy.then(act).catch((error) => tell(error.message, true));
  }

  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.repeat || help.open) return;
    const field = event.target.closest("input, textarea, select");
    if (field && field.type !== "radio") return;
    if (event.key === "Escape" && field) return field.blur();
    const act = KEYS[event.key.toLowerCase()];
    if (!act) return;
    event.preventDefault();
    inTurn(act);
  });
  document.getElementById("ask-help").addEventListener("click", () => help.showModal());
  place.addEventListener("submit", (event) => {
    event.preventDefault();
    if (event.target.closest(".review-split")) return split(event.target);
    inTurn(() => judge(event.submitter.value));
  });
  function sendOnLeaving(address, fields) {
    const body = new FormData();
    for (const [name, value] of Object.entries({ ...fields, csrfmiddlewaretoken: token })) body.append(name, value);
    navigator.sendBeacon(address, body);
  }

  window.addEventListener("pagehide", () => {
    for (const { address, answer } of unsent) sendOnLeaving(address, { answer });
    unsent.clear();
    sendOnLeaving(desk.dataset.release, {});
  });

  const first = place.querySelector("article");
  if (first) {
    seen.push(first);
    at = 0;
    lookAhead();
  }
})();
