// What the pages share: figures for people, elements, the token, dialogs.

export const $ = (id) => document.getElementById(id);

// el makes an element; text children are text, never HTML.
export function el(tag, attrs = {}, ...children) {
  const e = document.createElement(tag);
  for (const [k, v] of Object.entries(attrs)) {
    if (v === undefined || v === null || v === false) continue;
    if (k === "class") e.className = v;
    else e.setAttribute(k, v === true ? "" : v);
  }
  e.append(...children.filter((c) => c !== null && c !== undefined && c !== ""));
  return e;
}

export function bytes(n) {
  if (!(n > 0)) return n === 0 ? "0 B" : "–";
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let i = 0;
  while (n >= 1024 && i < units.length - 1) { n /= 1024; i++; }
  return `${i === 0 ? n : n >= 100 ? n.toFixed(0) : n.toFixed(1)} ${units[i]}`;
}

export function rate(n) {
  if (!(n > 0)) return "–";
  const mb = n / 1e6;
  return `${mb >= 100 ? mb.toFixed(0) : mb.toFixed(1)} MB/s`;
}

export function duration(s) {
  if (!(s >= 0)) return "–";
  s = Math.round(s);
  if (s < 60) return `${s} s`;
  if (s < 3600) return `${Math.floor(s / 60)} min ${String(s % 60).padStart(2, "0")} s`;
  const h = Math.floor(s / 3600), d = Math.floor(h / 24);
  if (d > 0) return `${d} d ${h % 24} h`;
  return `${h} h ${String(Math.floor(s % 3600 / 60)).padStart(2, "0")} min`;
}

// when shows a time, or that the station's clock was not set: it has none of its own.
export function when(text) {
  const t = new Date(text);
  if (isNaN(t) || t.getFullYear() < 2020) return "clock not set";
  return t.toLocaleString(undefined, {dateStyle: "medium", timeStyle: "short"});
}

export class HTTPError extends Error {
  // relayed says that netbootd passed on what a station answered.
  constructor(status, message, relayed = false) { super(message); Object.assign(this, {status, relayed}); }
}

// api asks the server; its errors are sentences of the server's.
export async function api(method, path, {body, token, timeout} = {}) {
  const headers = {};
  if (token !== undefined) headers["X-Netboot-Token"] = token;
  if (body !== undefined) headers["Content-Type"] = "application/json";
  let resp, json;
  try {
    const signal = timeout ? AbortSignal.timeout(timeout) : undefined;
    resp = await fetch(path, {method, headers, body: body === undefined ? undefined : JSON.stringify(body), cache: "no-store", signal});
    json = await resp.json();
  } catch (e) {
    throw new HTTPError(resp ? resp.status : 0, "No answer: the connection is broken, or the answer is not what it should be. Look at the job above before you try again.");
  }
  if (!resp.ok) throw new HTTPError(resp.status, json.error || `The answer was ${resp.status}.`, resp.headers.has("X-Netboot-Station"));
  return json;
}

const tokenKey = "netboot-token";

// askToken shows the dialog and returns the token, or null if the user would rather not.
function askToken(complaint) {
  const dialog = $("token-dialog"), input = $("token"), error = $("token-error");
  error.hidden = !complaint;
  error.textContent = complaint || "";
  input.value = "";
  return new Promise((resolve) => {
    dialog.returnValue = "";
    $("token-no").onclick = () => dialog.close("no");
    dialog.onclose = () => {
      const value = input.value;
      input.value = "";
      resolve(dialog.returnValue === "yes" && value !== "" ? value : null);
    };
    dialog.showModal();
    input.focus();
  });
}

// change asks for something that needs the token. It is kept in this tab only, and asked
// for again when it turns out to be wrong. null means that the user changed their mind.
export async function change(method, path, body) {
  for (let complaint; ;) {
    let token = sessionStorage.getItem(tokenKey);
    if (token === null) {
      token = await askToken(complaint);
      if (token === null) return null;
      sessionStorage.setItem(tokenKey, token);
    }
    try {
      return await api(method, path, {body, token});
    } catch (e) {
      if (e.status !== 403 || e.relayed || !e.message.startsWith("Invalid token")) throw e;
      sessionStorage.removeItem(tokenKey);
      complaint = "The station does not accept this token. Nothing was changed.";
    }
  }
}

// changeToo asks for something more with the token that change has got.
export const changeToo = (method, path, body) => api(method, path, {body, token: sessionStorage.getItem(tokenKey) ?? ""});

// confirm asks before something that cannot be undone. The safe answer has the focus.
export function confirm({title, body, yes, no}) {
  const dialog = $("ask");
  $("ask-title").textContent = title;
  $("ask-body").replaceChildren(...body);
  $("ask-yes").textContent = yes;
  $("ask-no").textContent = no;
  return new Promise((resolve) => {
    dialog.returnValue = "";
    dialog.onclose = () => resolve(dialog.returnValue === "yes");
    dialog.showModal();
    $("ask-no").focus();
  });
}

// live keeps a stream of events open. onState gets "live" or "lost". A stream that is
// silent for longer than silence (in ms, if given) is taken for dead.
export function live(path, {silence, event = "message"}, onEvent, onState) {
  let source, timer;
  const watch = (f, ms) => { clearTimeout(timer); if (ms) timer = setTimeout(f, ms); };
  const lost = () => {
    onState("lost");
    source.close();
    watch(open, 2000);
  };
  function open() {
    source = new EventSource(path);
    watch(lost, silence);
    source.onopen = () => onState("live");
    source.addEventListener(event, (e) => { watch(lost, silence); onEvent(JSON.parse(e.data)); });
    source.onerror = lost;
  }
  open();
}
