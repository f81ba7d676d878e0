// The station page in a browser. internal/browsertest starts what it acts on.
import {after, before, beforeEach, test} from "node:test";
import assert from "node:assert/strict";
import {createServer} from "node:http";
import {accessible, fits, guarded, launch, open} from "./browser.mjs";

const {STATION, CONTROL, SHOTS, DEVICE, ENDLESS, HTML, IMAGE_SHA256} = process.env;
const refused = "the server responded with a status of"; // Chromium's note of every 4xx
let browser;
before(async () => { browser = await launch(); });
after(async () => { await browser.close(); });
// A test that fails must not leave its job to the next one.
beforeEach(async () => { await fetch(`${STATION}/write-image`, {method: "DELETE", headers: {"X-Netboot-Token": "fake-token"}}); });

const control = async (what) => { const r = await fetch(`${CONTROL}/${what}`); assert.equal(r.status, 200); return r.text(); };
const text = (page, id) => page.locator(`#${id}`).innerText();
const shot = (page, name) => page.screenshot({path: `${SHOTS}/${name}.png`, fullPage: true});
const stage = (page, name) => page.locator("#stage", {hasText: name}).waitFor();

// canned is the station, but that send makes its events.
async function canned() {
  let client, connected, last, slowest = 0;
  const ready = new Promise((resolve) => { connected = resolve; });
  const server = createServer(async (q, a) => {
    if (q.url === "/events") {
      a.writeHead(200, {"Content-Type": "text/event-stream"});
      client = a;
      a.flushHeaders();
      return connected();
    }
    const r = await fetch(STATION + q.url);
    a.writeHead(r.status, {"Content-Type": r.headers.get("content-type"), "Content-Security-Policy": r.headers.get("content-security-policy") || ""});
    a.end(Buffer.from(await r.arrayBuffer()));
  });
  await new Promise((resolve) => { server.listen(0, "127.0.0.1", resolve); });
  return {
    url: `http://127.0.0.1:${server.address().port}`,
    async send(st) {
      await ready;
      if (last) slowest = Math.max(slowest, performance.now() - last);
      last = performance.now();
      client.write(`data: ${JSON.stringify(st)}\n\n`);
    },
    slowest: () => Math.max(slowest, performance.now() - last),
    close() { server.closeAllConnections(); server.close(); },
  };
}

async function giveToken(page, token = "fake-token") {
  await page.locator("#token-dialog[open]").waitFor();
  await page.locator("#token").fill(token);
  await page.locator("#token-yes").click();
}

// advances waits until the page shows more percent than now.
async function advances(page) {
  const now = Number(await text(page, "percent-value"));
  await page.waitForFunction((n) => Number(document.getElementById("percent-value").textContent) > n, now);
}

async function start(page, url) {
  await page.locator("#url").fill(url);
  await page.locator("#start").click();
  await page.locator("#ask[open]").waitFor();
  await page.locator("#ask-yes").click();
}

async function cancel(page) {
  await page.locator("#cancel").click();
  await page.locator("#ask-yes").click();
  await stage(page, "Failed");
}

test("an idle station says what it is, and is accessible in light and dark", async () => {
  for (const colorScheme of ["light", "dark"]) {
    const {page, close} = await open(browser, STATION, {colorScheme});
    await page.locator("#facts dt").first().waitFor();
    assert.match(await text(page, "facts"), /Version\s+1\.0\.0-test/);
    await page.locator("#disks", {hasText: "file-backed disk, 64.0 MiB, no serial number"}).waitFor();
    await page.locator("#disks", {hasText: /nvme9n1[^]*Not present/}).waitFor();
    await accessible(page);
    await page.locator("details summary").first().click();
    await accessible(page);
    await shot(page, `idle-${colorScheme}`);
    await close();
  }
});

test("a whole write, from the server's list to the receipt", async () => {
  const {page, close} = await open(browser, STATION, {expected: [refused]});
  // An image that the station may not fetch is not offered.
  await page.locator("#pick option", {hasText: "raspios-lite"}).waitFor({state: "attached"});
  assert.equal(await page.locator("#pick option").count(), 2);
  await page.locator("#pick").selectOption({index: 1});
  assert.equal(await page.locator("#sha256").inputValue(), ""); // the list's is of the compressed file
  const before = await control("disk");
  await page.locator("#start").click();
  await page.locator("#ask[open]").waitFor();
  const asked = await text(page, "ask");
  for (const want of [DEVICE, "file-backed disk", "64.0 MiB", "Serial", "none"]) assert.ok(asked.includes(want), `${asked} lacks ${want}`);
  assert.equal(await page.evaluate(() => document.activeElement.id), "ask-no");
  await accessible(page);
  await shot(page, "confirm");
  await page.locator("#ask-no").click();
  assert.equal(await control("disk"), before);

  // The page itself keeps what it shows: this process may get to look too late.
  await page.evaluate(() => {
    const seen = globalThis.seen = {percents: [], stages: []};
    const watch = (id, f) => new MutationObserver(() => f(document.getElementById(id).textContent)).observe(document.getElementById(id), {childList: true});
    watch("percent-value", (s) => seen.percents.push(Number(s)));
    watch("stage", (s) => seen.stages.push(s));
  });
  await page.locator("#start").click();
  await page.locator("#ask-yes").click();
  await page.locator("#token-dialog[open]").waitFor();
  await accessible(page);
  await giveToken(page, "wrong");
  await page.locator("#token-error", {hasText: "does not accept this token"}).waitFor();
  assert.equal(await control("disk"), before);
  await giveToken(page);
  await stage(page, "Written and verified");
  const {percents, stages} = await page.evaluate(() => globalThis.seen);
  assert.ok(new Set(percents).size > 3, `percents shown: ${percents}`);
  assert.deepEqual(percents, percents.toSorted((a, b) => a - b));
  assert.ok(stages.includes("Writing"), `stages shown: ${stages}`);
  await page.locator("#chart canvas").waitFor();
  await fits(page);
  assert.equal(await text(page, "percent-value"), "100");
  assert.equal(await control("disk"), IMAGE_SHA256);
  await page.locator("#receipts details", {hasText: IMAGE_SHA256}).locator("summary").click();
  await page.locator("#receipts details[open]", {hasText: IMAGE_SHA256}).waitFor();
  await accessible(page);
  await shot(page, "complete");
  await close();
});

test("an image that is none is an error that says why, and the token is asked for once", async () => {
  const {page, close} = await open(browser, STATION, {expected: [refused]});
  const before = await control("disk");
  await start(page, HTML);
  await giveToken(page);
  await page.locator("#job-error", {hasText: "not a disk image"}).waitFor();
  await stage(page, "Failed");
  assert.match(await text(page, "job-error"), /HTML page[\s\S]*was not changed/);
  await page.locator("#write:not([aria-busy])").waitFor();
  await page.locator("#form-error").waitFor({state: "hidden"}); // said once
  assert.equal(await control("disk"), before);
  await accessible(page);
  await shot(page, "error");
  await start(page, "http://192.0.2.1/x");
  await page.locator("#form-error", {hasText: "image host not allowed"}).waitFor();
  await page.locator("#url").fill("raspios");
  await page.locator("#start").click();
  await page.locator("#form-error", {hasText: "must begin with http"}).waitFor();
  assert.equal(await page.evaluate(() => document.activeElement.id), "url");
  // A dry run changes nothing and asks nothing.
  await page.locator("#pick").selectOption({index: 1});
  await page.locator("#dry").click();
  await page.locator("#form-ok", {hasText: "nothing was written"}).waitFor();
  assert.equal(await control("disk"), before);
  await close();
});

test("a cancel", async () => {
  const {page, close} = await open(browser, STATION);
  await start(page, ENDLESS);
  await giveToken(page);
  await stage(page, "Writing");
  await page.locator("#cancel").click();
  await page.locator("#ask-no").click(); // changed their mind
  await advances(page);
  assert.equal(await text(page, "stage"), "Writing");
  await cancel(page);
  assert.match(await text(page, "job-error"), /cancelled by a request from 127\.0\.0\.1[\s\S]*left not bootable/);
  await close();
});

test("a lost connection is said, and recovers into the running job", async () => {
  const {page, close} = await open(browser, STATION, {expected: ["net::ERR_"]});
  await start(page, ENDLESS);
  await giveToken(page);
  await stage(page, "Writing");
  const before = Number(await text(page, "percent-value"));
  await control("down");
  await page.locator("#link.bad", {hasText: "Connection lost"}).waitFor();
  await shot(page, "lost");
  await accessible(page);
  await control("up");
  await page.locator("#link.good", {hasText: "Live"}).waitFor();
  assert.equal(await text(page, "stage"), "Writing");
  assert.ok(Number(await text(page, "percent-value")) >= before);
  // A second page sees the same job, and another cannot start one.
  const second = await open(browser, STATION);
  await stage(second.page, "Writing");
  assert.ok(await second.page.locator("#start").isDisabled());
  await second.close();
  await cancel(page);
  await close();
});

test("keyboard only", async () => {
  const {page, close} = await open(browser, STATION);
  const focused = () => page.evaluate(() => document.activeElement.id || document.activeElement.className);
  const tabTo = async (id) => {
    for (let i = 0; i < 40; i++) { await page.keyboard.press("Tab"); if (await focused() === id) return; }
    assert.fail(`Tab never gets to ${id}`);
  };
  await page.keyboard.press("Tab");
  assert.equal(await focused(), "skip");
  await tabTo("url");
  await page.keyboard.type(ENDLESS);
  await page.keyboard.press("Enter");
  await page.locator("#ask[open]").waitFor();
  await page.keyboard.press("Escape"); // the safe answer
  await page.locator("#ask:not([open])").waitFor({state: "attached"});
  assert.equal(await focused(), "url");
  await page.keyboard.press("Enter");
  await page.locator("#ask[open]").waitFor();
  await page.keyboard.press("Tab");
  assert.equal(await focused(), "ask-yes");
  await page.keyboard.press("Enter");
  await page.locator("#token-dialog[open]").waitFor();
  await page.keyboard.type("fake-token");
  await page.keyboard.press("Enter");
  await stage(page, "Writing");
  await page.keyboard.press("Home");
  await tabTo("cancel");
  await page.keyboard.press("Enter");
  await page.locator("#ask[open]").waitFor();
  await page.keyboard.press("Tab");
  await page.keyboard.press("Enter");
  await stage(page, "Failed");
  await close();
});

test("it fits from 320 px to 4K, also while a write runs", async () => {
  const {page, close} = await open(browser, STATION);
  await start(page, ENDLESS);
  await giveToken(page);
  await stage(page, "Writing");
  await page.locator("#chart canvas").waitFor();
  for (const [width, height] of [[320, 640], [768, 1024], [1280, 900], [3840, 2160]]) {
    await page.setViewportSize({width, height});
    for (const colorScheme of ["light", "dark"]) {
      await page.emulateMedia({colorScheme, reducedMotion: "reduce"});
      await page.waitForFunction(() => Math.abs(document.querySelector("#chart .uplot").clientWidth - document.getElementById("chart").clientWidth) < 2);
      await fits(page);
      await shot(page, `writing-${width}-${colorScheme}`);
    }
    await accessible(page);
  }
  await cancel(page);
  await close();
});

test("between two steps of a job the rate stays; a chart begins with a line", async () => {
  const station = await canned();
  const {page, close} = await open(browser, station.url);
  const job = {stage: "writing", percent: 20, message: "Wrote 1 MiB", error: null, job: "j", device: DEVICE, image_url: "http://x/y"};
  await station.send({...job, bytes_per_second: 5e6, eta_seconds: 9});
  await page.locator("#rate", {hasText: "5.0 MB/s"}).waitFor();
  assert.ok(await page.locator("#chart-figure").isHidden(), "one point makes no chart");
  await page.evaluate(() => {
    const rates = globalThis.rates = [];
    new MutationObserver(() => rates.push(document.getElementById("rate").textContent)).observe(document.getElementById("rate"), {childList: true});
  });
  await station.send({...job, percent: 95, stage: "syncing", message: "Flushing"});
  await page.locator("#message", {hasText: "Flushing"}).waitFor();
  await station.send({...job, percent: 96, stage: "syncing", message: "Read back 1 MiB", bytes_per_second: 7e6});
  await page.locator("#rate", {hasText: "7.0 MB/s"}).waitFor();
  const rates = await page.evaluate(() => globalThis.rates);
  // A test that the machine held up for longer than the page keeps a rate sees a dash, and rightly.
  assert.ok(station.slowest() > 5000 || !rates.includes("–"), `rates shown: ${rates}`);
  await page.locator("#chart canvas").waitFor();
  await page.setViewportSize({width: 320, height: 640});
  const heights = await page.locator("#steps li").evaluateAll((all) => all.map((li) => li.clientHeight));
  assert.equal(new Set(heights).size, 1, `the steps have the heights ${heights}`);
  await close();
  station.close();
});

test("a reboot asks first", async () => {
  const {page, close} = await open(browser, STATION);
  await page.locator("#reboot").click();
  await page.locator("#ask-no").click();
  await page.locator("#reboot").click();
  await page.locator("#ask-yes").click();
  await giveToken(page);
  await page.locator("#station-ok", {hasText: "reboots in"}).waitFor();
  await close();
});

test("nothing inline, no frame, and the policy holds", () => guarded(browser, STATION));
