// While a rule is typed, how many it selects comes by itself: a moment after the last key, and never the answer to a text
// that is no longer there.
"use strict";

(() => {
  const QUIET_MILLISECONDS = 400;
  const rule = document.getElementById("id_definition");
  const place = document.getElementById("previewed");
  const button = document.getElementById("preview");
  if (!rule || !place || !button) return;
  const at = document.getElementById("at");
  const token = document.querySelector("[name=csrfmiddlewaretoken]").value;
  let waiting = null;
  let asked = null;

  async function count() {
    asked?.abort();
    const mine = (asked = new AbortController());
    const body = new FormData();
    body.append("definition", rule.value);
    body.append("at", at.value);
    const headers = { "X-CSRFToken": token, "X-Part": "preview" };
    place.setAttribute("aria-busy", "true");
    try {
      const answer = await fetch(button.formAction, { method: "POST", body, headers, signal: mine.signal });
      const text = await answer.text();
      if (asked === mine) place.innerHTML = answer.ok ? text : place.dataset.failed;
    } catch (error) {
      if (error.name !== "AbortError") place.textContent = place.dataset.failed;
    }
    if (asked === mine) place.removeAttribute("aria-busy");
  }

  function later() {
    clearTimeout(waiting);
    asked?.abort();
    if (rule.value.trim()) waiting = setTimeout(count, QUIET_MILLISECONDS);
  }

  rule.addEventListener("input", later);
  at.addEventListener("change", later);
  button.addEventListener("click", (event) => {
    event.preventDefault();
    clearTimeout(waiting);
    count();
  });
})();
