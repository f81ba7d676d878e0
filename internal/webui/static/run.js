// One action on many stations, followed to the end of each. A station is good only if it
// says of the very job that this page has asked for that it was written and read back.
import {$, el, duration} from "/static/common.js";

const key = "netbootd-run";
const most = 4; // requests at once: browsers have six connections to a server
const patience = 5 * 60000; // ms without an answer until a station counts as lost

// together does f for all items, some at once.
export async function together(items, f) {
  const queue = [...items];
  await Promise.all(Array.from({length: most}, async () => { for (let i; (i = queue.shift());) await f(i); }));
}

const badges = {
  good: ["Good", "good"], failed: ["FAILED", "bad"], unknown: ["NOT KNOWN", "bad"], silent: ["NO ANSWER", "bad"],
  running: ["Running", "warn"], waiting: ["Waiting", "off"],
};
const order = ["failed", "unknown", "silent", "running", "waiting", "good"];

export class Run {
  constructor(calls) {
    this.calls = calls; // askFirst, ask, status, receipt, cancel, changed
    this.items = [];
    this.image = "";
    this.rows = new Map();
    $("run-close").onclick = () => { this.items = []; this.show(); };
    $("run-stop").onclick = () => { for (const i of this.items) if (this.stateOf(i) === "silent") this.lose(i); this.show(); };
    addEventListener("beforeunload", (e) => { if (this.count("waiting")) e.preventDefault(); });
  }

  // stateOf an item is waiting, running, good, failed or unknown, or silent: it should be
  // running and does not answer.
  stateOf(i) { return i.state === "running" && i.silent && Date.now() - i.silent > 5000 ? "silent" : i.state; }
  count(state) { return this.items.filter((i) => this.stateOf(i) === state).length; }
  get open() { return this.items.some((i) => i.state === "waiting" || i.state === "running"); }
  // misses says that a station does not answer that should be writing.
  misses(id) { return this.items.some((i) => i.id === id && (i.lost || this.stateOf(i) === "silent")); }
  follows(id) { return this.items.some((i) => i.id === id && i.state === "running"); }
  bad() { return this.items.filter((i) => i.state === "failed" || i.state === "unknown").map((i) => i.id); }

  async start(image, items, body) {
    this.image = image;
    this.items = items.map((i) => ({...i, state: "waiting", percent: 0, text: "Waiting to be asked"}));
    this.said = false;
    this.rows.clear();
    this.show();
    // The token is asked for once, not by all of them.
    const [first, ...rest] = this.items;
    if (!await this.askOne(first, body, this.calls.askFirst)) {
      this.skip("no token was given");
      return;
    }
    this.follow();
    await together(rest, (i) => i.state === "waiting" ? this.askOne(i, body, this.calls.ask) : undefined);
  }

  // skip ends those that have not been asked yet.
  skip(why) {
    for (const i of this.items) if (i.state === "waiting") this.end(i, "failed", `Not asked, because ${why}. Its disk was not changed.`);
    this.show();
  }

  async askOne(item, body, ask) {
    item.text = "Checking the image and the disk";
    this.show();
    try {
      const answer = await ask(item, {...body, device: item.device});
      if (answer === null) return false;
      if (answer.job) Object.assign(item, {job: answer.job, state: "running", text: "Started"});
      else this.end(item, "unknown", "It answered without naming a job. Look at its page before you trust its disk.");
    } catch (e) {
      if (e.status === 0 || !e.relayed && (e.status === 502 || e.status === 504)) this.end(item, "unknown", `${e.message} Whether it writes is not known: look at its page.`);
      else this.end(item, "failed", e.message);
    }
    this.show();
    return true;
  }

  end(item, state, text) { Object.assign(item, {state, text, silent: undefined, lost: false}); }

  // lose ends the wait for one that does not answer. It is asked on: it may come back.
  lose(item) {
    this.end(item, "unknown", "It stopped answering and has reported no success. Look at it. Unless it comes back and says otherwise, its disk has to be written again.");
    item.lost = true;
  }

  // follow asks each job how it goes, as long as it may still end otherwise.
  async follow() {
    if (this.following) return;
    this.following = true;
    for (let round = 0; this.open || this.items.some((i) => i.lost); round++) {
      await together(this.items.filter((i) => i.state === "running" || i.lost && round % 5 === 0), (i) => this.look(i));
      this.show();
      await new Promise((r) => setTimeout(r, 1000));
    }
    this.following = false;
    this.show();
  }

  async look(item) {
    let st;
    try {
      st = await this.calls.status(item);
    } catch (e) {
      // It may have rebooted after its success; then netbootd has its receipt.
      if (this.receipt(item) || item.lost) return;
      item.silent ??= Date.now();
      item.text = `${e.status === 0 ? "No connection to netbootd" : "No answer"} for ${duration((Date.now() - item.silent) / 1000)}. It may still be writing.`;
      if (Date.now() - item.silent > patience) this.lose(item);
      return;
    }
    if (st.job !== item.job) {
      if (this.receipt(item)) return;
      this.end(item, "unknown", "It knows nothing of this job any more: it was restarted, or somebody else had it write. Look at its page; write it again if in doubt.");
    } else if (st.stage === "complete") this.good(item, st.receipt);
    else if (st.stage === "error") this.end(item, "failed", st.error || st.message);
    else Object.assign(item, {state: "running", silent: undefined, lost: false, percent: st.percent, text: `${st.message}${st.eta_seconds === undefined ? "" : `, ${duration(st.eta_seconds)} left`}`});
  }

  // receipt ends an item by the receipt that netbootd has of its job, if there is one.
  receipt(item) {
    const receipt = this.calls.receipt(item);
    if (!item.job || receipt?.job !== item.job) return false;
    this.good(item, receipt);
    return true;
  }

  good(item, receipt) {
    item.percent = 100;
    if (receipt?.verified && receipt.device === item.device) this.end(item, "good", "Written and read back");
    else this.end(item, "unknown", "Written, but not read back. Write it again if in doubt.");
  }

  // A page that is loaded again goes on following; what it did not get to ask is not asked.
  resume() {
    let saved;
    try { saved = JSON.parse(sessionStorage.getItem(key)); } catch { /* somebody else's */ }
    if (!saved?.items?.length) return;
    Object.assign(this, {image: saved.image, items: saved.items});
    for (const i of this.items) if (i.state === "waiting") this.end(i, "unknown", "The page was closed before it had an answer. Look at the station's page.");
    this.said = !this.open;
    this.show();
    this.follow();
  }

  title() {
    const n = this.items.length, [good, failed, unknown, silent] = ["good", "failed", "unknown", "silent"].map((s) => this.count(s));
    const parts = [failed && `${failed} FAILED`, unknown && `${unknown} NOT KNOWN`, silent && `${silent} NOT ANSWERING`].filter(Boolean);
    if (this.open) return [`Flashing ${n === 1 ? "1 station" : `${n} stations`}: ${good} good`, ...parts, `${n - good - failed - unknown - silent} to go`].join(", ");
    if (good === n) return n === 1 ? "The station is good" : `All ${n} stations are good`;
    return `${n === 1 ? "The station is NOT good" : "NOT all stations are good"}: ${[...parts, `${good} of ${n} good`].join(", ")}`;
  }

  // row is the item's entry in the summary: made once, then changed, so that the focus stays.
  row(i) {
    let r = this.rows.get(i.id);
    if (!r) {
      const badge = el("span"), text = el("p"), bar = el("progress", {max: "100", "aria-label": `Progress of ${i.name}`});
      r = {badge, text, bar, box: el("article", {class: "item", "data-station": i.id},
        el("div", {class: "item-head"}, el("h3", {}, i.url ? el("a", {href: i.url, rel: "noreferrer"}, i.name) : i.name), badge), text, bar, el("p", {class: "hint"}, i.disk))};
      this.rows.set(i.id, r);
    }
    const state = this.stateOf(i), [label, kind] = badges[state];
    r.box.dataset.state = state;
    r.badge.className = `badge ${kind}`;
    r.badge.textContent = state === "running" ? `${i.percent} %` : label;
    r.text.textContent = i.text;
    r.bar.hidden = state !== "running";
    r.bar.value = i.percent;
    return r.box;
  }

  show() {
    const n = this.items.length, ended = this.items.filter((i) => i.state !== "running" && i.state !== "waiting").length;
    $("run").hidden = n === 0;
    if (n) sessionStorage.setItem(key, JSON.stringify({image: this.image, items: this.items}));
    else { sessionStorage.removeItem(key); this.rows.clear(); }
    const title = this.title(), good = this.count("good"), notKnown = this.count("unknown") + this.count("silent");
    $("run").dataset.state = this.open ? "busy" : good === n ? "complete" : "error";
    $("run-title").textContent = title;
    $("run-image").textContent = this.image;
    $("run-bar").value = n ? this.items.reduce((sum, i) => sum + (i.state === "running" || i.state === "waiting" ? i.percent : 100), 0) / n : 0;
    for (const [id, v] of [["good", good], ["failed", this.count("failed")], ["unknown", notKnown], ["open", this.count("running") + this.count("waiting")]]) $(`run-${id}`).textContent = v;
    const list = $("run-list"), boxes = [...this.items].sort((a, b) => order.indexOf(this.stateOf(a)) - order.indexOf(this.stateOf(b))).map((i) => this.row(i));
    if (boxes.length !== list.children.length || boxes.some((b, i) => list.children[i] !== b)) list.replaceChildren(...boxes);
    $("run-cancel").hidden = !this.open;
    $("run-stop").hidden = this.count("silent") === 0;
    $("run-retry").hidden = this.open || this.bad().length === 0;
    $("run-close").hidden = this.open;
    document.title = `${n ? `${title} · ` : ""}Stations · netbootd`;
    // The end is read out, and each quarter of the way there.
    const quarter = n ? Math.floor(4 * ended / n) : 0;
    if (n && (!this.open && !this.said || this.open && quarter > (this.quarter ?? 0))) $("announce").textContent = title;
    this.said = n > 0 && !this.open;
    this.quarter = this.open ? quarter : 0;
    this.calls.changed();
  }
}
