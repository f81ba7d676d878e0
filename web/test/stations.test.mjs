// netbootd's page in a browser. internal/browsertest starts netbootd and four stations, all
// of them the real programs: the disk of the fourth is too small for every image.
import {after, afterEach, before, test} from "node:test";
import assert from "node:assert/strict";
import {accessible, fits, guarded, launch, open} from "./browser.mjs";

const {NETBOOTD, CONTROL, SHOTS} = process.env;
const refused = "the server responded with a status of"; // Chromium's note of every 4xx and 5xx
let browser;
before(async () => { browser = await launch(); });
after(async () => { await browser.close(); });
// What a test leaves running must not meet the next one.
afterEach(async () => {
  await control("release");
  for (const n of [1, 2, 3, 4]) await control(`thaw/${n}`);
});

const control = async (what) => { const r = await fetch(`${CONTROL}/${what}`); assert.equal(r.status, 200); return r.text(); };
const disks = () => Promise.all([1, 2, 3, 4].map((n) => control(`disk/${n}`)));
const text = (page, id) => page.locator(`#${id}`).innerText();
const shot = (page, name) => page.screenshot({path: `${SHOTS}/${name}.png`, fullPage: true});
const row = (page, n) => page.locator(`#stations tbody tr[data-id=abcd000${n}]`);
const item = (page, n) => page.locator(`#run-list article[data-station=abcd000${n}]`);
const title = (page, want) => page.locator("#run-title", {hasText: want}).waitFor();
const writing = (page, n) => item(page, n).locator(".badge", {hasText: /^[1-9]\d* %$/}).waitFor();
const ended = (page) => page.locator("#run-close").waitFor();

// idle waits until the stations can be selected.
async function idle(page, ...numbers) {
  for (const n of numbers) await row(page, n).locator("input:enabled").waitFor();
}

async function select(page, ...numbers) {
  await idle(page, ...numbers);
  for (const n of numbers) await row(page, n).locator("input").check();
}

async function ask(page, image) {
  await page.locator(`#image option[value="${image}"]`).waitFor({state: "attached"});
  await page.locator("#image").selectOption(image);
  await page.locator("#start").click();
  await page.locator("#ask[open]").waitFor();
}

async function giveToken(page, token = "fake-token") {
  await page.locator("#token-dialog[open]").waitFor();
  await page.locator("#token").fill(token);
  await page.locator("#token-yes").click();
}

async function flash(page, image, ...numbers) {
  await select(page, ...numbers);
  await ask(page, image);
  await page.locator("#ask-yes").click();
  await giveToken(page);
}

test("four stations in a table, at every size, in light and dark", async () => {
  const {page, close} = await open(browser, NETBOOTD);
  await idle(page, 1, 2, 3, 4);
  assert.match(await text(page, "counts"), /4 in all · 4 online · 0 writing · 0 selected/);
  assert.match(await row(page, 1).innerText(), /pi-01[^]*Raspberry Pi 4 Model B Rev 1\.4[^]*10000000abcd0001[^]*Idle[^]*\/dev\/mmcblk0[^]*64\.0 MiB/);
  for (const [width, height] of [[320, 640], [1280, 900], [3840, 2160]]) {
    await page.setViewportSize({width, height});
    for (const colorScheme of ["light", "dark"]) {
      await page.emulateMedia({colorScheme, reducedMotion: "reduce"});
      await fits(page);
      await shot(page, `stations-${width}-${colorScheme}`);
      await accessible(page);
    }
  }
  await page.locator("#filter").fill("pi-03 raspberry");
  assert.equal(await page.locator("#stations tbody tr:visible").count(), 1);
  await page.locator("#all-idle").click();
  assert.match(await text(page, "counts"), /1 selected/); // only what is to be seen
  await close();
});

test("nothing changes before the answer to the question, the right token, and an image", async () => {
  const {page, close} = await open(browser, NETBOOTD, {expected: [refused]});
  const before = await disks();
  await select(page, 3);
  await page.locator("#start").click();
  await page.locator("#form-error", {hasText: "Choose an image"}).waitFor();
  assert.equal(await page.evaluate(() => document.activeElement.id), "image");
  await ask(page, "raspios-lite");
  await page.locator("#ask-no").click();
  await ask(page, "raspios-lite");
  await page.locator("#ask-yes").click();
  await giveToken(page, "wrong");
  await page.locator("#token-error", {hasText: "does not accept this token"}).waitFor();
  await accessible(page);
  await page.locator("#token-no").click();
  await title(page, "The station is NOT good: 1 FAILED");
  assert.match(await item(page, 3).innerText(), /Not asked, because no token was given\. Its disk was not changed/);
  // Another site's page has no say, not even with the token.
  for (const what of ["write", "cancel", "reboot"]) {
    const r = await fetch(`${NETBOOTD}/api/stations/abcd0003/${what}`, {method: "POST", headers: {"X-Netboot-Token": "fake-token", "Sec-Fetch-Site": "cross-site"}, body: JSON.stringify({image: "raspios-lite"})});
    assert.equal(r.status, 403);
    assert.match((await r.json()).error, /another site's page/);
  }
  assert.deepEqual(await disks(), before);
  await close();
});

test("all by one action: three good, one failed, and the summary says so", async () => {
  const {page, close} = await open(browser, NETBOOTD, {expected: [refused]});
  const [, , , fourth] = await disks();
  await idle(page, 1, 2, 3, 4);
  await page.locator("#all-idle").click();
  await control("hold");
  await ask(page, "raspios-lite");
  const asked = await text(page, "ask");
  assert.match(asked, /Erase a disk in 4 stations\?[^]*raspios-lite/);
  for (const n of [1, 2, 3]) assert.match(asked, new RegExp(`pi-0${n} abcd000${n} /dev/mmcblk0: .*64\\.0 MiB`));
  assert.match(asked, /pi-04 abcd0004 \/dev\/mmcblk0: .*16\.0 MiB/);
  assert.equal(await page.evaluate(() => document.activeElement.id), "ask-no");
  await accessible(page);
  await shot(page, "stations-question");
  await page.locator("#ask-yes").click();
  await giveToken(page);
  for (const n of [1, 2, 3]) await writing(page, n);
  await title(page, /Flashing 4 stations: 0 good, 1 FAILED, 3 to go/);
  assert.ok(await page.locator("#start").isDisabled()); // one run at a time
  await shot(page, "stations-writing");
  await accessible(page);
  await control("release");
  await ended(page);
  assert.equal(await text(page, "run-title"), "NOT all stations are good: 1 FAILED, 3 of 4 good");
  assert.equal(await page.locator("#run").getAttribute("data-state"), "error");
  for (const [id, want] of [["good", "3"], ["failed", "1"], ["unknown", "0"], ["open", "0"]]) assert.equal(await text(page, `run-${id}`), want, id);
  // What is not good comes first, with why and what to do.
  assert.match(await page.locator("#run-list article").first().innerText(), /pi-04[^]*FAILED[^]*larger than the disk[^]*was not changed/);
  for (const n of [1, 2, 3]) assert.match(await item(page, n).innerText(), /Good[^]*Written and read back/);
  assert.deepEqual(await disks(), ["raspios-lite", "raspios-lite", "raspios-lite", fourth]);
  assert.match(await page.title(), /NOT all stations are good/);
  for (const [width, height] of [[320, 640], [1280, 900], [3840, 2160]]) {
    await page.setViewportSize({width, height});
    await fits(page);
    await accessible(page);
    await shot(page, `summary-${width}`);
  }
  await row(page, 1).locator(".last", {hasText: "raspios-lite"}).waitFor();
  // The summary is there again after a reload, and the failed one is selected by one click.
  await page.reload();
  await title(page, "NOT all stations are good: 1 FAILED, 3 of 4 good");
  await idle(page, 1, 2, 3, 4);
  await page.locator("#run-retry").click();
  assert.match(await text(page, "counts"), /1 selected/);
  assert.ok(await row(page, 4).locator("input").isChecked());
  await page.locator("#run-close").click();
  assert.ok(await page.locator("#run").isHidden());
  await close();
});

test("stations that stop answering in mid-write are never good, until they say so", async () => {
  const {page, close} = await open(browser, NETBOOTD, {expected: [refused]});
  await control("hold");
  await flash(page, "second", 1, 2, 3);
  for (const n of [1, 2, 3]) await writing(page, n);
  await control("freeze/2");
  await control("kill/3");
  for (const n of [2, 3]) await item(page, n).locator(".badge", {hasText: "NO ANSWER"}).waitFor();
  for (const n of [2, 3]) await row(page, n).locator(".badge", {hasText: "Lost while it was writing"}).waitFor();
  await title(page, "Flashing 3 stations: 0 good, 2 NOT ANSWERING, 1 to go");
  assert.match(await text(page, "counts"), /2 online · 1 writing · 2 lost/);
  await shot(page, "stations-silent");
  await accessible(page);
  await control("release");
  await item(page, 1).locator(".badge", {hasText: "Good"}).waitFor();
  await page.locator("#run-stop").click();
  await title(page, "NOT all stations are good: 2 NOT KNOWN, 1 of 3 good");
  assert.equal(await page.locator("#run").getAttribute("data-state"), "error");
  for (const n of [2, 3]) assert.match(await item(page, n).innerText(), /NOT KNOWN[^]*has reported no success[^]*has to be written again/);
  await shot(page, "summary-unknown");
  await accessible(page);
  assert.equal(await control("disk/3"), "zeros"); // it does not boot
  // One comes back and ends its write; the other one was restarted in between.
  await control("thaw/2");
  await item(page, 2).locator(".badge", {hasText: "Good"}).waitFor();
  assert.equal(await control("disk/2"), "second");
  await control("start/3");
  await item(page, 3).locator(".badge", {hasText: "FAILED"}).waitFor();
  assert.match(await item(page, 3).innerText(), /service (ended|stopped|was)|interrupted|restart/i);
  await title(page, "NOT all stations are good: 1 FAILED, 2 of 3 good");
  await close();
});

test("a lost netbootd is said, and the run goes on when it is back", async () => {
  const {page, close} = await open(browser, NETBOOTD, {expected: [refused, "net::ERR_"]});
  await control("hold");
  await flash(page, "second", 1);
  await writing(page, 1);
  await control("kill");
  await page.locator("#link.bad", {hasText: "Connection to netbootd lost"}).waitFor();
  await item(page, 1).locator(".badge", {hasText: "NO ANSWER"}).waitFor();
  assert.match(await item(page, 1).innerText(), /No connection to netbootd/);
  await control("start");
  await page.locator("#link.good", {hasText: "Live"}).waitFor();
  await control("release");
  await ended(page);
  assert.equal(await text(page, "run-title"), "The station is good");
  assert.equal(await page.locator("#run").getAttribute("data-state"), "complete");
  assert.equal(await control("disk/1"), "second");
  await shot(page, "summary-good");
  await accessible(page);
  await close();
});

test("a cancel, and keyboard only", async () => {
  const {page, close} = await open(browser, NETBOOTD, {expected: [refused]});
  await control("hold");
  await idle(page, 1, 2);
  const focused = () => page.evaluate(() => document.activeElement.id || document.activeElement.getAttribute("aria-label") || document.activeElement.className);
  const tabTo = async (id, key = "Tab") => {
    for (let i = 0; i < 60; i++) { await page.keyboard.press(key); if (await focused() === id) return; }
    assert.fail(`${key} never gets to ${id}`);
  };
  await page.keyboard.press("Tab");
  assert.equal(await focused(), "skip");
  await tabTo("Select pi-01 abcd0001");
  await page.keyboard.press("Space");
  await tabTo("Select pi-02 abcd0002");
  await page.keyboard.press("Space");
  assert.match(await text(page, "counts"), /2 selected/);
  await tabTo("image", "Shift+Tab");
  await page.keyboard.type("second");
  await tabTo("start");
  await page.keyboard.press("Enter");
  await page.locator("#ask[open]").waitFor();
  await page.keyboard.press("Escape"); // the safe answer
  await page.locator("#ask:not([open])").waitFor({state: "attached"});
  assert.equal(await focused(), "start");
  await page.keyboard.press("Enter");
  await page.locator("#ask[open]").waitFor();
  await tabTo("ask-yes");
  await page.keyboard.press("Enter");
  await page.locator("#token-dialog[open]").waitFor();
  await page.keyboard.type("fake-token");
  await page.keyboard.press("Enter");
  for (const n of [1, 2]) await writing(page, n);
  await tabTo("run-cancel");
  await page.keyboard.press("Enter");
  await page.locator("#ask[open]").waitFor();
  assert.match(await text(page, "ask"), /Cancel 2 writes\?[^]*not bootable[^]*pi-01[^]*pi-02/);
  await tabTo("ask-yes");
  await page.keyboard.press("Enter");
  await title(page, "NOT all stations are good: 2 FAILED, 0 of 2 good");
  for (const n of [1, 2]) assert.match(await item(page, n).innerText(), /cancelled[^]*left not bootable/);
  for (const n of [1, 2]) assert.equal(await control(`disk/${n}`), "zeros");
  await close();
});

test("an image that is none fails everywhere, and changes no disk", async () => {
  const {page, close} = await open(browser, NETBOOTD, {expected: [refused]});
  const before = await disks();
  await flash(page, "broken", 1, 2);
  await title(page, "NOT all stations are good: 2 FAILED, 0 of 2 good");
  for (const n of [1, 2]) assert.match(await item(page, n).innerText(), /FAILED[^]*was not changed/);
  assert.deepEqual(await disks(), before);
  await close();
});

test("nothing inline, no frame, and the policy holds", () => guarded(browser, NETBOOTD));
