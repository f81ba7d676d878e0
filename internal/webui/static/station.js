// The station's page: what GET /events says, shown; and what may be asked for.
import {$, el, bytes, rate, duration, when, api, change, confirm, live} from "/static/common.js";
import {RateChart} from "/static/chart.js";

const titles = {
  idle: "Ready", checking: "Checking the image", wiping: "Wiping the old system", writing: "Writing",
  syncing: "Reading back", complete: "Written and verified", error: "Failed",
};
const bottlenecks = {
  network: ["Network", "The disk and the processor wait for the download. A faster image server or cable would help."],
  decompress: ["Decompression", "The processor is busy unpacking. An image packed as BGZF, zstd or raw is faster on this station."],
  disk: ["Disk", "The disk takes the data no faster. A faster card or an NVMe disk would help."],
};
const busyStages = ["checking", "wiping", "writing", "syncing"];
const holdRate = 5000; // ms
const order = [...busyStages, "complete"];

const state = {job: undefined, stage: undefined, busy: false, disks: [], images: [], announced: -1};
const chart = new RateChart($("chart"));

function say(text) { $("announce").textContent = text; }
function show(id, text) { $(id).hidden = !text; $(id).textContent = text || ""; }
const isBusy = (stage) => stage !== "idle" && stage !== "complete" && stage !== "error";

function onStatus(st) {
  const busy = isBusy(st.stage), newJob = st.job !== state.job;
  if (newJob) { chart.clear(); state.announced = -1; }
  const ended = !busy && (state.busy || newJob) && state.stage !== undefined;
  const changed = st.stage !== state.stage || newJob;
  Object.assign(state, {job: st.job, stage: st.stage, busy});

  $("job").dataset.state = busy ? "busy" : st.stage;
  $("job-id").textContent = st.job || "";
  $("job-line").hidden = !st.job;
  const verified = st.receipt ? st.receipt.verified : true;
  const title = st.stage === "complete" && !verified ? "Written, not read back" : titles[st.stage] || st.stage;
  $("stage").textContent = title;
  document.title = `${busy ? `${st.percent} % · ` : st.stage === "error" ? "Failed · " : st.stage === "complete" ? "Done · " : ""}${$("name").textContent} · netboot-imager`;
  const shown = st.stage !== "idle";
  for (const id of ["percent", "bar", "steps"]) $(id).hidden = !shown;
  $("percent-value").textContent = st.percent;
  $("bar").value = st.percent;
  const at = order.indexOf(st.stage);
  for (const li of $("steps").children) {
    const i = order.indexOf(li.dataset.stage);
    li.className = st.stage === "error" ? "" : i < at || st.stage === "complete" ? "past" : i === at ? "now" : "";
    if (i === at && busy) li.setAttribute("aria-current", "step"); else li.removeAttribute("aria-current");
  }
  show("message", st.stage === "idle" && st.message === "Ready" ? "No write since this station was started. Choose an image and a disk below." : st.error ? "" : st.message);
  state.jobError = st.error;
  show("job-error", st.error);
  settle();
  const r = st.stage === "complete" && st.receipt;
  show("result", r && `${bytes(r.image_size)} in ${duration((new Date(r.finished) - new Date(r.started)) / 1000)}, ` +
    `${r.verified ? "read back from the disk and equal" : "not read back, as asked for"}${(r.repaired || []).length ? ` after ${r.repaired.length} repairs` : ""}. SHA-256 ${r.image_sha256}`);
  if (ended && state.told === "started") show("form-ok", "");
  const target = $("target");
  target.hidden = !st.device || st.stage === "idle";
  target.textContent = st.device ? `${st.image_url} → ${st.device}` : "";
  $("figures").hidden = !busy;
  const current = steady(st, busy);
  $("rate").textContent = rate(current.bytes_per_second);
  $("done").textContent = st.total_bytes ? `${bytes(st.phase_bytes || 0)} of ${bytes(st.total_bytes)}` : bytes(st.phase_bytes || 0);
  $("eta").textContent = current.eta_seconds === undefined ? "–" : duration(current.eta_seconds);
  const [name, hint] = st.stage === "writing" && bottlenecks[st.bottleneck] || ["–", ""]; // of reading back it says nothing
  $("bottleneck").textContent = name;
  show("hint", busy ? hint : "");
  if (newJob) state.begin = undefined;
  if (busy && st.bytes_per_second !== undefined) {
    state.begin ??= performance.now();
    chart.add((performance.now() - state.begin) / 1000, st.bytes_per_second);
  }
  $("chart-figure").hidden = st.stage === "idle" || !chart.drawable;
  $("job-actions").hidden = !busy;
  $("start").disabled = $("dry").disabled = $("reboot").disabled = busy;

  // Not each percent is read out.
  const quarter = Math.floor(st.percent / 25);
  if (changed) say(st.error ? title : `${title}. ${st.message}`); // the error is an alert of its own
  else if (busy && quarter > state.announced) say(`${title}, ${st.percent} percent`);
  if (busy) state.announced = quarter;
  if (changed) loadDisks();
  if (ended || state.receipts === undefined) { loadReceipts(); loadStation(); }
}

// steady is st, but for a rate and a time left that it does not have: between two steps of a
// job there are none for a moment, and the last ones stand for that long.
function steady(st, busy) {
  const now = performance.now(), last = state.measured;
  if (st.bytes_per_second !== undefined) state.measured = {...st, at: now};
  else if (busy && last?.job === st.job && now - last.at < holdRate) return {...last, eta_seconds: last.stage === st.stage ? last.eta_seconds : undefined};
  return st;
}

// named is how a disk is called wherever it might be erased: model, size, serial.
function named(d) {
  return `${d.model || "disk of unknown model"}, ${bytes(d.size)}, ${d.serial ? `serial ${d.serial}` : "no serial number"}`;
}

async function loadDisks() {
  let disks;
  try { ({disks} = await api("GET", "/disks")); } catch { return false; }
  state.disks = disks;
  $("disks").replaceChildren(...disks.map((d) => {
    const badge = !d.present ? ["Not present", "off"] : d.in_use ? ["In use", "warn"] : d.error ? ["Trouble", "bad"] : ["Free", "good"];
    const parts = d.partitions || [];
    return el("article", {class: "item"},
      el("div", {class: "item-head"}, el("h3", {class: "mono"}, d.device), el("span", {class: `badge ${badge[1]}`}, badge[0])),
      d.present ? el("p", {}, named(d), d.removable ? ", removable" : "") : el("p", {class: "hint"}, "Insert or connect the disk."),
      d.in_use ? el("p", {class: "hint"}, d.in_use) : null,
      d.error ? el("p", {class: "hint bad-text"}, d.error) : null,
      parts.length ? el("div", {class: "parts", role: "list", "aria-label": `Partitions of ${d.device}`}, ...parts.map((p) =>
        el("span", {class: "part", role: "listitem"}, el("span", {class: "mono"}, p.name), ` ${bytes(p.size)}`)))
        : d.present ? el("p", {class: "hint"}, "No partitions") : null);
  }));
  const select = $("device"), before = select.value;
  select.replaceChildren(...disks.map((d) => el("option", {value: d.device, disabled: !d.present},
    d.present ? `${d.device} (${named(d)})` : `${d.device} (not present)`)));
  const present = disks.filter((d) => d.present);
  select.value = present.some((d) => d.device === before) ? before : present[0]?.device ?? "";
  return true;
}

async function loadReceipts() {
  let receipts;
  try { ({receipts} = await api("GET", "/receipts")); } catch { return; }
  state.receipts = receipts;
  const list = receipts.map((r) => {
    const seconds = (new Date(r.finished) - new Date(r.started)) / 1000;
    const row = (k, v) => [el("dt", {}, k), el("dd", {class: "mono"}, String(v))];
    return el("details", {class: "item"},
      el("summary", {}, el("span", {class: `badge ${r.verified ? "good" : "warn"}`}, r.verified ? "Verified" : "Not read back"),
        el("span", {class: "what"}, `${decodeURIComponent(r.image_url.split("/").pop()) || r.image_url} → ${r.device}`),
        el("span", {class: "hint"}, `${when(r.finished)}, ${bytes(r.image_size)} in ${duration(seconds)}`)),
      el("dl", {class: "facts"}, ...row("Image", r.image_url), ...row("SHA-256 of the image", r.image_sha256), ...row("Format", r.format),
        ...row("Downloaded", bytes(r.transfer_size)), ...row("Retries", r.retries), ...row("Repaired ranges", (r.repaired || []).length),
        ...row("Disk", [r.device_model, bytes(r.device_size), r.device_serial].filter(Boolean).join(", ")),
        ...row("Job", r.job), ...row("Software", r.version)));
  });
  $("receipts").replaceChildren(...(list.length ? list : [el("p", {class: "hint"}, "No image has been written yet.")]));
}

async function loadStation() {
  let f;
  try { f = await api("GET", "/station"); } catch { return; }
  const rows = [["Name", f.hostname], ["Model", f.model], ["Serial", f.serial], ["MAC", f.mac], ["Version", f.version],
    ["Up for", duration(f.uptime_seconds)], ["Memory free", `${bytes(f.memory_available)} of ${bytes(f.memory_total)}`],
    ["Temperature", f.temperature_celsius === null ? "" : `${f.temperature_celsius.toFixed(1)} °C`], ["Booted from", f.booted_from]];
  $("facts").replaceChildren(...rows.filter(([, v]) => v).flatMap(([k, v]) => [el("dt", {}, k), el("dd", {}, v)]));
}

async function loadImages() {
  const pick = $("pick");
  try {
    const {images, message} = await api("GET", "/images");
    state.images = images;
    pick.replaceChildren(el("option", {value: ""}, images.length ? "Choose, or type a URL below" : message ? "No list; type a URL below" : "The server has no images"),
      ...images.map((i, n) => el("option", {value: String(n)}, i.size ? `${i.name} (${bytes(i.size)})` : i.name)));
    pick.disabled = images.length === 0;
    show("pick-hint", message);
  } catch (e) {
    pick.replaceChildren(el("option", {value: ""}, "No list; type a URL below"));
    show("pick-hint", e.message);
  }
}
$("pick").onchange = () => {
  const image = state.images[Number($("pick").value)];
  if ($("pick").value === "" || !image) return;
  $("url").value = image.url;
  $("sha256").value = image.sha256 || "";
};

function request() {
  const url = $("url").value.trim(), sha256 = $("sha256").value.trim(), device = $("device").value;
  let wrong;
  if (!/^https?:\/\/[^/]/.test(url)) wrong = ["url", "The image URL must begin with http:// or https:// and name a server."];
  else if (sha256 && !/^[0-9a-fA-F]{64}$/.test(sha256)) wrong = ["sha256", "The SHA-256 must be 64 hex digits, or empty."];
  else if (!device) wrong = ["device", "No disk is present. Insert or connect one."];
  for (const id of ["url", "sha256", "device"]) {
    if (wrong?.[0] === id) $(id).setAttribute("aria-invalid", "true"); else $(id).removeAttribute("aria-invalid");
  }
  show("form-ok", "");
  show("form-error", wrong?.[1]);
  if (wrong) {
    $(wrong[0]).closest("details")?.setAttribute("open", "");
    $(wrong[0]).focus();
    return null;
  }
  return {device, image_url: url, ...(sha256 && {sha256}), verify: $("verify").checked, reboot: $("reboot-after").checked};
}

async function disksNow() {
  state.asked = undefined;
  const known = await loadDisks();
  show("form-error", known ? "" : "The station does not say which disks it has, so nothing was asked for. Try again when the connection is back.");
  return known;
}

$("write").onsubmit = async (e) => {
  e.preventDefault();
  if (!await disksNow()) return; // the dialog must name the disk that is there now
  const body = request();
  if (!body) return;
  const disk = state.disks.find((d) => d.device === body.device);
  if (!disk?.present) { show("form-error", `${body.device} is not there any more. Insert or connect it.`); return; }
  const parts = (disk.partitions || []).map((p) => `${p.name} (${bytes(p.size)})`).join(", ");
  const row = (k, v) => [el("dt", {}, k), el("dd", {}, v)];
  if (!await confirm({
    title: `Erase ${disk.device}?`, yes: "Erase and write", no: "Leave it as it is",
    body: [el("p", {}, "Everything on this disk will be lost:"),
      el("dl", {class: "facts"}, ...row("Model", disk.model || "unknown"), ...row("Size", bytes(disk.size)), ...row("Serial", disk.serial || "none"),
        ...row("Holds now", parts || "no partitions"), ...row("Will get", el("span", {class: "mono"}, body.image_url)))],
  })) return;
  await ask({...body, respond: "started"});
};
$("dry").onclick = async () => {
  if (!await disksNow()) return;
  const body = request();
  if (body) await ask({...body, dry_run: true});
};

// settle takes the error away from the form once the job's card says it: a job that fails is
// told of by the answer to the request and by its status, in either order.
function settle() {
  if (!state.asked || state.asked !== state.jobError) return;
  state.asked = undefined;
  show("form-error", "");
  $("main").scrollIntoView();
}

async function ask(body) {
  $("write").setAttribute("aria-busy", "true");
  try {
    const a = await change("POST", "/write-image", body);
    if (a) state.told = a.dry_run ? "checked" : "started";
    if (a) show("form-ok", a.dry_run ? a.message : `${a.message.split(";")[0]}.`);
    if (a && !a.dry_run) $("main").scrollIntoView();
  } catch (e) {
    show("form-error", e.message);
    if (!body.dry_run) state.asked = e.message; // of a dry run the job's card says nothing
    settle();
  } finally {
    $("write").removeAttribute("aria-busy");
  }
}

$("cancel").onclick = async () => {
  if (!await confirm({title: "Cancel the write?", yes: "Cancel the write", no: "Let it go on",
    body: [el("p", {}, "The disk is then left not bootable and has to be written again.")]})) return;
  try { await change("DELETE", "/write-image"); } catch (e) { show("job-error", e.message); }
};

$("reboot").onclick = async () => {
  show("station-error", ""); show("station-ok", "");
  if (!await confirm({title: `Reboot ${$("name").textContent}?`, yes: "Reboot", no: "Leave it on",
    body: [el("p", {}, "The station boots from what its boot order says: from its disk if that holds a system.")]})) return;
  try {
    const a = await change("POST", "/reboot");
    if (a) show("station-ok", `${a.message}. This page connects again when it is back.`);
  } catch (e) { show("station-error", e.message); }
};

live("/events", {silence: 40000}, onStatus, (link) => {
  const box = $("link");
  if (box.dataset.link === link) return;
  const back = box.dataset.link === "lost";
  box.dataset.link = link;
  box.className = `pill ${link === "live" ? "good" : "bad"}`;
  $("link-text").textContent = link === "live" ? "Live" : "Connection lost, trying again";
  document.body.classList.toggle("stale", link !== "live");
  if (back) { loadDisks(); loadReceipts(); loadImages(); }
  if (link === "live") { show("station-ok", ""); loadStation(); }
});
loadImages();
setInterval(() => { if (!document.hidden) loadStation(); }, 15000);
setInterval(() => { if (!document.hidden && !state.busy) loadDisks(); }, 10000);
