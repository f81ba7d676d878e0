// netbootd's page: all stations in one table, and many flashed by one action.
import {$, el, bytes, rate, duration, when, api, change, changeToo, confirm, live} from "/static/common.js";
import {Run, together} from "/static/run.js";

const stations = new Map(); // by ID
const selected = new Set();
const rows = new Map();
let images = [];

// Stations that do not answer, with when they were last heard of.
const silent = new Map();

function show(id, text) { $(id).hidden = !text; $(id).textContent = text || ""; }
// Stations that run one system have one host name; the ID is what tells them apart.
const nameOf = (s) => [s.hostname, s.id].filter(Boolean).join(" ");
const pathOf = (s, what) => `/api/stations/${encodeURIComponent(s.id)}/${what}`;
const wrote = (s) => s.status && !["idle", "complete", "error"].includes(s.status.stage); // when last heard of
const lost = (s) => wrote(s) && (!s.online || silent.get(s.id) === s.last_seen || run.misses(s.id));
const busy = (s) => s.online && wrote(s);
const disksOf = (s) => (s.disks || []).filter((d) => d.present);
const free = (d) => !d.in_use && !d.error;
const canFlash = (s) => s.online && !busy(s) && disksOf(s).some(free);
const diskOf = (s, device) => disksOf(s).find((d) => device === "" ? free(d) : d.device === device);
const named = (d) => `${d.device}: ${d.model || "unknown model"}, ${bytes(d.size)}, ${d.serial ? `serial ${d.serial}` : "no serial number"}${d.in_use ? `, in use: ${d.in_use}` : ""}`;
const host = (s) => s.address?.includes(":") ? `[${s.address}]` : s.address;
const urlOf = (s) => s.address && s.port ? `http://${host(s)}:${s.port}/` : "";
const fileOf = (r) => { try { return decodeURIComponent(r.image_url.split("/").pop()); } catch { return r.image_url; } };

const labels = {
  unknown: ["Not enrolled", "off"], enrolled: ["Not seen yet", "off"], offline: ["Offline", "off"], idle: ["Idle", "good"], retired: ["Idle, boots its disk", "off"],
  checking: ["Checking", "warn"], wiping: ["Wiping", "warn"], writing: ["Writing", "warn"], syncing: ["Reading back", "warn"],
};
function label(s) {
  if (lost(s)) return ["Lost while it was writing", "bad"];
  if (s.online && s.status?.stage === "error") return ["Failed", "bad"];
  if (s.online && s.status?.stage === "complete") return s.status.receipt?.verified ? ["Good", "good"] : ["Written, not read back", "warn"];
  if (s.state === "retired" && !s.online) return ["Flashed, boots its disk", "off"];
  return labels[s.state] || [s.state, "off"];
}

// what says more about the state.
function what(s) {
  const st = s.status || {};
  if (lost(s)) return "It stopped answering. Unless it comes back and says otherwise, its disk is half written, does not boot, and has to be written again.";
  if (busy(s)) return [rate(st.bytes_per_second), st.eta_seconds === undefined ? "" : `${duration(st.eta_seconds)} left`, st.bottleneck ? `slowest: ${st.bottleneck}` : ""].filter((t) => t && t !== "–").join(" · ");
  return s.note || (s.online ? st.error : s.last_seen ? `last seen ${when(s.last_seen)}` : "") || s.retired_by || "";
}

// row makes a station's row, or changes what is in it: the focus must stay where it is.
function row(s) {
  let r = rows.get(s.id);
  if (!r) {
    const box = el("input", {type: "checkbox", "aria-label": `Select ${nameOf(s)}`});
    box.onchange = () => { if (box.checked) selected.add(s.id); else selected.delete(s.id); update(); };
    const bar = el("progress", {max: "100", value: "0", "aria-label": `Progress of ${nameOf(s)}`});
    const reboot = el("button", {type: "button", class: "small"}, "Reboot…", el("span", {class: "visually-hidden"}, ` ${nameOf(s)}`));
    reboot.onclick = () => rebootStation(s.id);
    const cells = ["name", "state", "disks", "last"].map((c) => el("td", {class: c}));
    const state = el("div"), text = el("p", {class: "hint"});
    cells[1].append(state, bar, text);
    const tr = el("tr", {"data-id": s.id}, el("td", {class: "pick"}, box), ...cells, el("td", {class: "do"}, reboot));
    r = {tr, box, bar, reboot, cells, state, text};
    rows.set(s.id, r);
  }
  const [name, , disks, last] = r.cells, st = s.status || {}, running = busy(s) && !lost(s);
  const link = urlOf(s) ? el("a", {href: urlOf(s), rel: "noreferrer"}, nameOf(s)) : nameOf(s);
  const identity = el("div", {}, el("strong", {}, link), el("p", {class: "hint"}, [s.model, s.serial, s.address].filter(Boolean).join(" · ")));
  if (name.textContent !== identity.textContent) name.replaceChildren(identity);
  const [text, kind] = label(s);
  r.state.replaceChildren(el("span", {class: `badge ${kind}`}, running ? `${text} ${st.percent} %` : text));
  r.bar.hidden = !running;
  r.bar.value = st.percent || 0;
  r.text.textContent = what(s);
  disks.replaceChildren(...disksOf(s).map((d) => el("p", {class: "hint"}, named(d))));
  const receipt = s.last_receipt;
  last.replaceChildren(...(receipt ? [el("p", {}, fileOf(receipt)), el("p", {class: "hint"}, `${receipt.verified ? "read back" : "NOT read back"}, ${when(receipt.received)}`)] : []));
  r.box.disabled = !canFlash(s);
  if (r.box.disabled) selected.delete(s.id);
  if (r.box.getAttribute("aria-label") !== `Select ${nameOf(s)}`) r.box.setAttribute("aria-label", `Select ${nameOf(s)}`);
  r.box.checked = selected.has(s.id);
  r.reboot.disabled = !s.online || running;
  return r;
}

function update() {
  const words = $("filter").value.toLowerCase().split(/\s+/).filter(Boolean);
  const body = document.querySelector("#stations tbody");
  const list = [...stations.values()].sort((a, b) => nameOf(a).localeCompare(nameOf(b), undefined, {numeric: true}) || a.id.localeCompare(b.id));
  list.forEach((s, i) => {
    const r = row(s);
    const hay = [nameOf(s), s.serial, s.model, s.address, s.state, label(s)[0]].join(" ").toLowerCase();
    r.tr.hidden = !words.every((w) => hay.includes(w));
    if (body.children[i] !== r.tr) body.insertBefore(r.tr, body.children[i] || null);
  });
  for (const [id, r] of rows) if (!stations.has(id)) { r.tr.remove(); rows.delete(id); selected.delete(id); }
  $("empty").hidden = list.length > 0;
  $("stations").hidden = list.length === 0;
  const count = (f) => list.filter(f).length;
  $("counts").textContent = [`${list.length} in all`, `${count((s) => s.online && !lost(s))} online`, `${count((s) => busy(s) && !lost(s))} writing`, count(lost) && `${count(lost)} lost`, `${selected.size} selected`].filter(Boolean).join(" · ");
  const devices = [...new Set(list.flatMap((s) => (s.disks || []).map((d) => d.device)))].sort();
  if ($("device").length !== devices.length + 1) {
    const before = $("device").value;
    $("device").replaceChildren(el("option", {value: ""}, "The first free one"), ...devices.map((d) => el("option", {value: d}, d)));
    $("device").value = devices.includes(before) ? before : "";
  }
  $("start").disabled = selected.size === 0 || run.open;
  $("start").textContent = ["Erase and write…", "Erase and write 1 station…"][selected.size] || `Erase and write ${selected.size} stations…`;
}

const run = new Run({
  askFirst: (item, body) => change("POST", pathOf(item, "write"), body),
  ask: (item, body) => changeToo("POST", pathOf(item, "write"), body),
  status: (item) => api("GET", pathOf(item, "status"), {timeout: 20000}),
  receipt: (item) => stations.get(item.id)?.last_receipt,
  changed: () => { update(); },
});

// The connection counts as live if the stream is open and the last question was answered.
const link = {stream: false, answers: true};
function linked(change) {
  Object.assign(link, change);
  const box = $("link"), state = link.stream && link.answers ? "live" : "lost";
  if (box.dataset.link === state) return;
  box.dataset.link = state;
  box.className = `pill ${state === "live" ? "good" : "bad"}`;
  $("link-text").textContent = state === "live" ? "Live" : "Connection to netbootd lost, trying again";
  document.body.classList.toggle("stale", state !== "live");
  if (state === "live") { load(); loadImages(); }
}

async function load() {
  let list;
  try { list = await api("GET", "/api/stations", {timeout: 20000}); } catch { linked({answers: false}); return; }
  linked({answers: true});
  stations.clear();
  for (const s of list.stations) stations.set(s.id, s);
  $("tree").textContent = list.tree ? ` · serves the system built ${when(list.tree.build)}` : " · serves no system yet";
  update();
}

async function loadImages() {
  try { ({images} = await api("GET", "/api/images")); } catch (e) { show("form-error", e.message); return; }
  const before = $("image").value;
  const good = images.filter((i) => !i.error);
  $("image").replaceChildren(el("option", {value: ""}, good.length ? "Choose an image" : "There is no image yet"), ...good.map((i) => el("option", {value: i.name}, `${i.name} (${i.format}, ${bytes(i.size)})`)));
  $("image").value = good.some((i) => i.name === before) ? before : "";
}

// While stations write, they are asked how it goes: they announce themselves less often.
async function follow() {
  await together([...stations.values()].filter((s) => busy(s) && !run.follows(s.id)), async (s) => {
    try {
      const status = await api("GET", pathOf(s, "status"), {timeout: 20000});
      silent.delete(s.id);
      if (stations.has(s.id)) stations.get(s.id).status = status;
    } catch (e) {
      if (e.status === 502) silent.set(s.id, s.last_seen); // netbootd got no answer of it
    }
  });
  update();
  setTimeout(follow, 2000);
}

$("flash").onsubmit = async (e) => {
  e.preventDefault();
  show("form-error", "");
  const image = $("image").value, device = $("device").value;
  if (!image) { show("form-error", "Choose an image."); $("image").focus(); return; }
  const chosen = [...selected].map((id) => stations.get(id)).filter(Boolean);
  // The dialog must name the disks that are there now.
  const dead = [];
  await together(chosen, async (s) => {
    try { s.disks = (await api("GET", pathOf(s, "disks"), {timeout: 20000})).disks; } catch { dead.push(s); }
  });
  const names = (list) => list.map(nameOf).join(", ");
  if (dead.length) { show("form-error", `No answer from ${names(dead)}, so nothing was asked for. Take ${dead.length === 1 ? "it" : "them"} out of the selection, or try again.`); return; }
  const lacking = chosen.filter((s) => !diskOf(s, device));
  if (lacking.length) { show("form-error", `${names(lacking)} ${lacking.length === 1 ? "has" : "have"} no ${device || "free disk"}, so nothing was asked for. Choose another disk, or take ${lacking.length === 1 ? "it" : "them"} out of the selection.`); return; }
  if (!chosen.length) { show("form-error", "Select stations that are idle."); return; }
  const items = chosen.map((s) => ({id: s.id, name: nameOf(s), url: urlOf(s), device: diskOf(s, device).device, disk: named(diskOf(s, device))}));
  const n = chosen.length === 1 ? "1 station" : `${chosen.length} stations`;
  if (!await confirm({
    title: `Erase a disk in ${n}?`, yes: `Erase and write ${n}`, no: "Leave them as they are",
    body: [el("p", {}, "Everything on these disks will be lost. They will get ", el("strong", {}, image), "."),
      el("ul", {class: "scroll", tabindex: "0", "aria-label": "Disks to erase"}, ...items.map((i) => el("li", {}, el("strong", {}, i.name), ` ${i.disk}`)))],
  })) return;
  selected.clear();
  show("run-error", "");
  run.start(image, items, {image, verify: true, reboot: $("reboot-after").checked, respond: "started"});
  $("main").scrollIntoView();
};

$("run-retry").onclick = () => {
  const names = [];
  for (const id of run.bad()) {
    const s = stations.get(id);
    if (s && canFlash(s)) selected.add(id); else names.push(s ? nameOf(s) : id);
  }
  if ([...$("image").options].some((o) => o.value === run.image)) $("image").value = run.image;
  show("form-error", names.length ? `${names.join(", ")}: not to be selected now. See what the table says of ${names.length === 1 ? "it" : "them"}.` : "");
  update();
  ($("start").disabled ? $("filter") : $("start")).focus();
};

$("run-cancel").onclick = async () => {
  const items = run.items.filter((i) => i.state === "running");
  if (!await confirm({title: `Cancel ${items.length === 1 ? "1 write" : `${items.length} writes`}?`, yes: "Cancel what still runs", no: "Let them go on",
    body: [el("p", {}, "These disks are then left not bootable and have to be written again. Stations that were not asked yet are left as they are."),
      el("ul", {class: "scroll", tabindex: "0", "aria-label": "Writes to cancel"}, ...items.map((i) => el("li", {}, el("strong", {}, i.name), ` ${i.disk}`)))]})) return;
  run.skip("the run was cancelled");
  show("run-error", "");
  const problems = [];
  const cancel = async (i, ask) => { try { await ask("POST", pathOf(i, "cancel")); } catch (e) { problems.push(`${i.name}: ${e.message}`); } };
  const [first, ...rest] = items;
  if (first) await cancel(first, change); // the token is asked for once
  await together(rest, (i) => cancel(i, changeToo));
  show("run-error", problems.join(" "));
};

async function rebootStation(id) {
  const s = stations.get(id);
  if (!await confirm({title: `Reboot ${nameOf(s)}?`, yes: "Reboot", no: "Leave it on", body: [el("p", {}, "It boots from what its boot order says.")]})) return;
  show("list-error", "");
  try { await change("POST", pathOf(s, "reboot")); } catch (e) { show("list-error", `${nameOf(s)}: ${e.message}`); }
}

$("filter").oninput = update;
$("none").onclick = () => { selected.clear(); update(); };
$("all-idle").onclick = () => {
  for (const s of stations.values()) if (canFlash(s) && !rows.get(s.id).tr.hidden) selected.add(s.id);
  update();
};

live("/api/events", {event: "station"}, (s) => { stations.set(s.id, s); update(); }, (state) => linked({stream: state === "live"}));
setInterval(() => { load(); if (!document.hidden) loadImages(); }, 10000);
follow();
run.resume();
