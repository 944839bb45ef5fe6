"use strict";
// Shows the page in the reader's language, and looks one row up in the data of this page.
const data = JSON.parse(document.getElementById("data").textContent);
const at = Object.fromEntries(data.columns.map((name, place) => [name, place]));
const root = document.documentElement, out = document.getElementById("found");

function speak(language) {
  root.dataset.language = root.lang = language;
  document.querySelectorAll("nav button").forEach(one => one.classList.toggle("on", one.dataset.to === language));
}
function el(tag, content, cls) {
  const made = document.createElement(tag);
  if (cls) made.className = cls;
  if (content && typeof content === "object" && !(content instanceof Node))
    for (const [language, text] of Object.entries(content)) { const one = el("span", text); one.lang = language; made.append(one); }
  else made.append(content ?? "");
  return made;
}
const say = name => data.words.report[name] ?? name;
const state = word => data.words.states[word] ?? word;
function table(heads, rows, cls) {
  const made = el("table", null, cls);
  if (heads.length) { const head = el("tr"); heads.forEach(name => head.append(el("th", say(name)))); made.append(el("thead", head)); }
  for (const cells of rows) { const tr = el("tr"); cells.forEach(([content, kind]) => tr.append(el("td", content, kind))); made.append(tr); }
  return made;
}

function lookUp(text) {
  const is = (row, names) => names.some(name => String(row[at[name]] ?? "") === text);
  return data.rows.find(row => is(row, ["line"])) ?? data.rows.find(row => is(row, ["order_number", "order_id", "payment_id", "mail_id"]));
}
function facts(row) {
  const made = el("table", null, "facts");
  data.columns.forEach((name, place) => {
    const value = row[place];
    if (value === null || value === "") return;
    const told = name.endsWith("state") || name === "order_status" ? el("td", state(value)) : el("td", String(value), "m");
    for (const code of String(value).split(/[ :]/)) if (data.words.codes[code]) told.append(el("br"), el("span", data.words.codes[code]));
    const tr = el("tr"); tr.append(el("th", say(name)), told); made.append(tr);
  });
  for (const [batch, own, parent, parentRow, rootBatch, rootRow] of data.repairs) {
    const number = row[at.row];
    const told = batch === data.batch && own === number ? ["repair_of", `${parent} · ${parentRow}`]
      : rootBatch === data.batch && rootRow === number ? ["repaired_with", `${batch} · ${own}`] : null;
    if (told) { const tr = el("tr"); tr.append(el("th", say(told[0])), el("td", told[1], "m")); made.append(tr); }
  }
  return made;
}
function show(text) {
  out.replaceChildren();
  root.toggleAttribute("data-asked", Boolean(text));
  const row = text && lookUp(text);
  out.className = row ? { succeeded: "good", failed: "bad" }[row.at(-1)] ?? "wait" : "";
  if (!text) return;
  if (!row) { out.append(el("span", say("not_found")), ` ${text}`); return; }
  const order = row[at.order_id], has = (ranges, id) => id !== null && ranges.some(([from, to]) => from <= id && id <= to);
  const title = el("b", say("line")); title.append(` ${row[at.line]}`);
  const allowed = data.allowed.filter(one => one[4] === null || one[4] === order);
  const calls = data.calls.filter(one => one[0] === order);
  const events = data.events.filter(one => has(one[5], one[3].startsWith("row:") ? row[at.row] : order));
  out.append(title, facts(row), el("h3", say("who_allowed")),
    table([], allowed.map(([time, what, who, why]) => [[time, "t"], [what], [who, "m"], [why]])));
  if (calls.length) out.append(el("h3", say("calls")), table(["time", "purpose", "outcome_of_call", "http_status", "request_id"],
    calls.map(([, time, kind, purpose, outcome, status, id]) => {
      const what = el("span", state(kind)); what.append(": ", el("span", state(purpose)));
      return [[time, "t"], [what], [state(outcome)], [String(status ?? "-"), "n"], [id ?? "-", "m"]];
    })));
  out.append(el("h3", say("events")), table(["number", "time", "event", "reason", "actor"],
    events.map(([seq, time, actor, event, why]) => [[String(seq), "n"], [time, "t"], [data.words.events[event]], [why || "-", "m"], [actor, "m"]])),
    el("p", say("proved"), "note"));
}

document.querySelectorAll("nav button").forEach(one => one.addEventListener("click", () => speak(one.dataset.to)));
const asked = new URLSearchParams(location.search).get("lang") ?? navigator.language.slice(0, 2);
const known = [...document.querySelectorAll("nav button")].map(one => one.dataset.to);
speak(known.includes(asked) ? asked : "en");
document.getElementById("find").addEventListener("submit", event => { event.preventDefault(); show(document.getElementById("what").value.trim()); });
addEventListener("hashchange", () => show(decodeURIComponent(location.hash.slice(1))));
if (location.hash.length > 1) show(decodeURIComponent(location.hash.slice(1)));
